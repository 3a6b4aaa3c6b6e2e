//! The account of a run's budget: one entry of the run's state, whose version keeps two nodes from spending the same.

use callboard_agents::host::Spend;
use callboard_broker::Broker;
use callboard_broker::budget::{ACCOUNT, Budget};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, Scope, Write};
use callboard_broker::task::Task;

use crate::limits::Ledger;

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
        let key = Key::new(&Scope::Run(task.run.clone()), &format!("{ACCOUNT}.{root}"))?;
        Ok(Some(Self { root, key, limits: task.budget, by: task.id.clone() }))
    }

    /// Spends, before what it is spent on is done. What was spent on something that a crash prevented stays spent.
    ///
    /// # Errors
    /// `Exhausted`, with nothing spent; from then on for all who share the account.
    pub(crate) async fn spend(&self, broker: &Broker, spend: Spend) -> Result<()> {
        loop {
            let (ledger, version) = self.read(broker).await?;
            let booked = ledger.book(&self.limits, &spend);
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
                task: Some((self.by.clone(), 1)),
            };
            match broker.states.put(vec![write]).await.pop() {
                Some(Ok(Put::Applied(_))) => return error.map_or(Ok(()), Err),
                // Somebody else spent in between; or nobody knows, and then it is spent once more rather than not at all.
                Some(Ok(Put::Conflict(_) | Put::Unknown)) | None => {}
                Some(Err(Error::Unknown { .. } | Error::Conflict { .. })) => {}
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
