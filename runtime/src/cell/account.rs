//! The account of a run's budget: one entry of the run's state, whose version keeps two nodes from spending the same.

use callboard_agents::host::Spend;
use callboard_broker::Broker;
use callboard_broker::budget::{ACCOUNT, Budget};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::lineage::Purse;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Author, Expect, Key, Put, Scope, Write};
use callboard_broker::task::Task;

use crate::limits::Ledger;

/// What is done after a write of which nobody knows whether it arrived, when the account is another than it was. The
/// sums may come to more than was spent and never to less: what is spent is written again, what is given back is not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsure {
    /// It is changed, perhaps once more.
    Again,
    /// It is left as it is.
    Leave,
}

/// What a task spends from: the account of its root.
#[derive(Debug)]
pub(crate) struct Account {
    root: TaskId,
    key: Key,
    limits: Budget,
    by: TaskId,
}

impl Account {
    /// None for a task whose budget counts nothing.
    pub(crate) fn of(task: &Task) -> Result<Option<Self>> {
        if !task.budget.counts() {
            return Ok(None);
        }
        let root = task.ancestors.first().unwrap_or(&task.id).clone();
        Self::new(&task.run, root, task.budget, task.id.clone()).map(Some)
    }

    /// What whoever answers an ask of a run spends from, in the name of its root.
    pub(crate) fn of_ask(run: &RunId, purse: &Purse) -> Result<Self> {
        Self::new(run, purse.root.clone(), purse.limits, purse.root.clone())
    }

    fn new(run: &RunId, root: TaskId, limits: Budget, by: TaskId) -> Result<Self> {
        let key = Key::new(&Scope::Run(run.clone()), &format!("{ACCOUNT}.{root}"))?;
        Ok(Self { root, key, limits, by })
    }

    /// Spends, before what it is spent on is done. What was spent on something that a crash prevented stays spent.
    ///
    /// # Errors
    /// `Exhausted`, with nothing spent; from then on for all who share the account.
    pub(crate) async fn spend(&self, broker: &Broker, spend: Spend) -> Result<()> {
        self.change(broker, Unsure::Again, |ledger| ledger.book(&self.limits, &spend)).await
    }

    /// Books what was used already, also where that goes over a limit.
    pub(crate) async fn book(&self, broker: &Broker, spend: Spend) -> Result<()> {
        self.change(broker, Unsure::Again, |ledger| Ok(ledger.more(&spend))).await
    }

    /// Gives back what was spent and then not used, never twice: rather not at all. What has run out stays so.
    pub(crate) async fn give_back(&self, broker: &Broker, spend: Spend) -> Result<()> {
        self.change(broker, Unsure::Leave, |ledger| Ok(ledger.less(&spend))).await
    }

    /// Changes the ledger; an `Err` is one in which something has run out.
    async fn change(
        &self,
        broker: &Broker,
        unsure: Unsure,
        next: impl Fn(&Ledger) -> Result<Ledger, Ledger>,
    ) -> Result<()> {
        // What the first write expected whose answer was lost.
        let mut lost: Option<u64> = None;
        loop {
            let (ledger, version) = self.read(broker).await?;
            if unsure == Unsure::Leave && lost.is_some_and(|expected| expected != version) {
                return Ok(());
            }
            let booked = next(&ledger);
            let error = booked.as_ref().err().and_then(|over| self.exhausted(over));
            let next = booked.unwrap_or_else(|over| over);
            if next == ledger {
                return error.map_or(Ok(()), Err);
            }
            let write = Write {
                key: self.key.clone(),
                expect: Expect::Version(version),
                value: Some(Payload::of(next)),
                by: "budget".into(),
                task: Some(Author { task: self.by.clone(), attempt: 1, record: 0 }),
            };
            match broker.states.put(vec![write]).await.pop() {
                Some(Ok(Put::Applied(_))) => return error.map_or(Ok(()), Err),
                // Somebody else changed it in between.
                Some(Ok(Put::Conflict(_)) | Err(Error::Conflict { .. })) => {}
                Some(Ok(Put::Unknown) | Err(Error::Unknown { .. })) | None => {
                    lost.get_or_insert(version);
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Why nothing more may be spent, once something has run out.
    pub(crate) async fn is_exhausted(&self, broker: &Broker) -> Result<Option<Error>> {
        let (ledger, _) = self.read(broker).await?;
        Ok(self.exhausted(&ledger))
    }

    async fn read(&self, broker: &Broker) -> Result<(Ledger, u64)> {
        match broker.states.get(vec![self.key.clone()]).await?.pop().flatten() {
            Some(entry) => Ok((entry.value.read()?, entry.version)),
            None => Ok((Ledger::default(), 0)),
        }
    }

    fn exhausted(&self, ledger: &Ledger) -> Option<Error> {
        let (what, limit) = ledger.exhausted.as_ref()?;
        Some(Error::Exhausted { what: what.as_str().into(), limit: *limit, root: self.root.as_str().into() })
    }
}

#[cfg(test)]
mod tests {
    use callboard_broker::faulty::{self, Faults, Weather};
    use callboard_broker::id::RunId;
    use callboard_broker::memory;
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn tokens(tokens: u64) -> Spend {
        Spend { tokens, ..Spend::default() }
    }

    /// The answers to half of the writes are lost, and half of the reads fail.
    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_given_back_once_whatever_is_lost_and_what_is_spent_is_spent() {
        let limits = Budget { tokens: Some(1_000_000), ..Budget::default() };
        let (run, capability) = (RunId::parse("r").unwrap(), CapabilityName::parse("x").unwrap());
        let task = Task::root(run, capability, Payload::null(), 0).budgeted(limits);
        let account = Account::of(&task).unwrap().unwrap();
        let (mut back, mut lost) = (0, 0);
        for seed in 0..20 {
            let inner = memory::open(memory::Options::default());
            let faults = Faults { lost_answers: 500, ..Faults::reordering(seed) };
            let (broker, line) = faulty::wrap_switched(inner.clone(), faults);
            line.set(Weather::Fair);
            account.spend(&broker, tokens(1_000)).await.unwrap();
            line.set(Weather::Foul);
            for _ in 0..20 {
                let (before, _) = account.read(&inner).await.unwrap();
                let given = account.give_back(&broker, tokens(5)).await;
                let (after, _) = account.read(&inner).await.unwrap();
                let less = before.tokens - after.tokens;
                assert!(less == 5 || (less == 0 && given.is_err()), "seed {seed}: {less} of 5");
                (back, lost) = (back + u32::from(given.is_ok()), lost + u32::from(given.is_err()));
                let spent = account.spend(&broker, tokens(5)).await;
                let (then, _) = account.read(&inner).await.unwrap();
                assert!(then.tokens >= after.tokens + 5 || spent.is_err(), "seed {seed}: {after:?}, {then:?}");
            }
        }
        assert!(back > 50 && lost > 50, "{back} known, {lost} unknown: both are met");
    }
}
