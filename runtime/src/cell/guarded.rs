//! Shared state as one request may use it: as far as its agent's grants go, and while its claim holds.
//!
//! Before a write it is looked whether the task's claim holds, as the store has it: a process that was frozen while another
//! one took its task over has heard nothing of that. Between the look and the write is one round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callboard_agents::host::Facts;
use callboard_agents::tool::Taint;
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::state::{Author, Change, Expect, Key, Moment, Put, StateEntry, States, Watch, Write};
use callboard_broker::tasks::{Fence, Tasks};
use tokio::sync::watch;

use super::grants::Grants;

/// How often a write that takes whatever is there may meet somebody quicker before it goes unseen.
const TRIES: u32 = 8;

fn lost() -> Result<Put> {
    Err(Error::Unknown { what: "a state write".into() })
}

/// A claim as it stands, for whoever looks whether it holds. It waits for nothing: a handler that is busy with another of
/// its futures would keep the place in a line that it waits in itself.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(super) claim: Fence,
    pub(super) last: Arc<AtomicU64>,
}

impl Hold {
    /// The claim, with the last record that was written under it.
    pub(crate) fn fence(&self) -> Fence {
        Fence { last: self.last.load(Ordering::Acquire), ..self.claim.clone() }
    }

    #[cfg(test)]
    pub(crate) fn of(claim: Fence) -> Self {
        Self { last: Arc::new(AtomicU64::new(claim.last)), claim }
    }
}

/// Shared state, as far as the grants go. Writes are signed with the agent's name and its task, whatever they say.
pub(crate) struct Guarded {
    inner: Arc<dyn States>,
    grants: Grants,
    task: Option<Author>,
    /// The claim of that attempt, and where it can be looked whether it holds.
    claim: Option<(Arc<dyn Tasks>, Hold)>,
    /// Why the request has ended, once it has.
    ended: watch::Receiver<Option<Error>>,
    /// What others have left in state is no instruction.
    taint: Taint,
}

impl Guarded {
    pub(crate) fn new(
        inner: Arc<dyn States>,
        grants: Grants,
        facts: &Facts,
        ended: watch::Receiver<Option<Error>>,
        taint: Taint,
    ) -> Self {
        let task = facts.task.clone().map(|task| Author { task, attempt: facts.attempt, record: 0 });
        Self { inner, grants, task, claim: None, ended, taint }
    }

    /// Writes only while this claim holds.
    pub(crate) fn under(self, tasks: Arc<dyn Tasks>, claim: Hold) -> Self {
        Self { claim: Some((tasks, claim)), ..self }
    }

    /// Writes what is allowed, as long as the claim holds, and names the last record that was written under it. A write that
    /// takes whatever is there is tried again when somebody was quicker, and in the end goes without having seen what it
    /// replaces.
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Put>> {
        let Some((tasks, claim)) = &self.claim else { return self.inner.put(writes).await };
        let mut answers: Vec<_> = writes.iter().map(|_| lost()).collect();
        let mut left: Vec<(usize, Write)> = writes.into_iter().enumerate().collect();
        for is_last in (1..=TRIES).map(|n| n == TRIES) {
            let mut writes: Vec<Write> = left.iter().map(|(_, write)| write.clone()).collect();
            let looked = async {
                if !is_last {
                    self.expect_what_is_there(&mut writes).await?;
                }
                let claim = claim.fence();
                writes.iter_mut().filter_map(|write| write.task.as_mut()).for_each(|by| by.record = claim.last);
                tasks.extend(vec![claim]).await.pop().unwrap_or(Ok(()))
            };
            let put = match looked.await {
                Ok(()) => self.inner.put(writes).await,
                Err(error) => left.iter().map(|_| Err(error.clone())).collect(),
            };
            let is_passed = |write: &Write, answer: &Result<Put>| {
                !is_last && write.expect == Expect::Any && matches!(answer, Ok(Put::Conflict(_)))
            };
            let mut again = Vec::new();
            for ((at, write), answer) in left.into_iter().zip(put) {
                if is_passed(&write, &answer) { again.push((at, write)) } else { answers[at] = answer }
            }
            left = again;
            if left.is_empty() {
                break;
            }
        }
        answers
    }

    /// Read before it is looked whether the claim holds: so what somebody who takes the task over writes after that look
    /// is not overwritten.
    async fn expect_what_is_there(&self, writes: &mut [Write]) -> Result<()> {
        let mut any: Vec<&mut Write> = writes.iter_mut().filter(|write| write.expect == Expect::Any).collect();
        if any.is_empty() {
            return Ok(());
        }
        let found = self.inner.get(any.iter().map(|write| write.key.clone()).collect()).await?;
        for (write, found) in any.iter_mut().zip(found) {
            match found {
                // There is nothing to delete, whoever writes.
                None if write.value.is_none() => {}
                found => write.expect = Expect::Version(found.map_or(0, |entry| entry.version)),
            }
        }
        Ok(())
    }

    /// Notes where what was read comes from.
    fn read<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        keys.into_iter().for_each(|key| self.taint.add(&format!("state {key}")));
    }

    fn live(&self) -> Result<()> {
        self.ended.borrow().as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }
}

impl States for Guarded {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(async move {
            self.live()?;
            keys.iter().try_for_each(|key| self.grants.read(key))?;
            let found = self.inner.get(keys).await?;
            self.read(found.iter().flatten().map(|entry| &entry.key));
            Ok(found)
        })
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            self.live()?;
            self.grants.read_below(&prefix)?;
            let found = self.inner.list(prefix).await?;
            self.read(found.iter().map(|entry| &entry.key));
            Ok(found)
        })
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let refused: Vec<Option<Error>> =
                writes.iter().map(|w| self.live().and_then(|()| self.grants.write(&w.key)).err()).collect();
            let sign = |w: Write| Write { by: self.grants.agent.to_string(), task: self.task.clone(), ..w };
            let allowed =
                writes.into_iter().zip(&refused).filter(|(_, no)| no.is_none()).map(|(w, _)| sign(w)).collect();
            let mut answers = self.write(allowed).await.into_iter();
            refused.into_iter().map(|no| no.map_or_else(|| answers.next().unwrap_or_else(lost), Err)).collect()
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move {
            self.live()?;
            self.grants.read_below(&prefix)?;
            self.taint.add(&format!("state {prefix}"));
            self.inner.watch(prefix).await
        })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(async move {
            self.live()?;
            self.grants.read(&key)?;
            self.read([&key]);
            self.inner.history(key).await
        })
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            self.live()?;
            self.grants.read_below(&prefix)?;
            let found = self.inner.at(moment, prefix).await?;
            self.read(found.iter().map(|entry| &entry.key));
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callboard_agents::Grant;
    use callboard_broker::clock::Clock;
    use callboard_broker::id::{NodeName, RunId};
    use callboard_broker::payload::Payload;
    use callboard_broker::state::Scope;
    use callboard_broker::subject::CapabilityName;
    use callboard_broker::task::Task;
    use callboard_broker::tasks::{Claim, LEASE, Lease};
    use callboard_broker::{Broker, memory};

    use super::*;

    async fn claimed(broker: &Broker) -> Lease {
        let (capability, node) = (CapabilityName::parse("x").unwrap(), NodeName::parse("n").unwrap());
        let wait = Duration::ZERO;
        let claim = Claim { capability, slots: 1, bulk: 1, node, wait, declined: Vec::new(), serving: None };
        broker.tasks.claim(claim).await.unwrap().remove(0)
    }

    async fn of(broker: &Broker, lease: &Lease) -> Guarded {
        let facts = Facts {
            agent: "a".into(),
            capability: lease.task.capability.clone(),
            task: Some(lease.task.id.clone()),
            run: Some(lease.task.run.clone()),
            team: "t".into(),
            attempt: lease.attempt,
            again: false,
            attempts: 3,
            deadline: tokio::time::Instant::now() + LEASE,
            model: None,
        };
        let grants = Grants::new(&facts, [Grant::OwnRun].into());
        let ended = watch::Sender::new(None).subscribe();
        Guarded::new(broker.states.clone(), grants, &facts, ended, Taint::default())
            .under(broker.tasks.clone(), Hold::of(lease.fence.clone()))
    }

    fn key() -> Key {
        Key::new(&Scope::Run(RunId::parse("r").unwrap()), "x").unwrap()
    }

    fn write(expect: Expect, value: &str) -> Write {
        Write { key: key(), expect, value: Some(Payload::of(value.to_owned())), by: String::new(), task: None }
    }

    async fn put(states: &Guarded, expect: Expect, value: &str) -> Result<Put> {
        states.put(vec![write(expect, value)]).await.remove(0)
    }

    async fn stored(broker: &Broker) -> StateEntry {
        broker.states.get(vec![key()]).await.unwrap().remove(0).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_replaced_writes_no_state_though_nobody_told_it() {
        let clock = Clock::following_tokio();
        let broker = memory::open(memory::Options { clock, ..memory::Options::default() });
        let capability = CapabilityName::parse("x").unwrap();
        let task = Task::root(RunId::parse("r").unwrap(), capability, Payload::null(), broker.clock.now());
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        let old = claimed(&broker).await;
        let before = of(&broker, &old).await;
        assert_eq!(put(&before, Expect::Any, "old").await.unwrap(), Put::Applied(1));
        tokio::time::sleep(LEASE).await;
        let new = claimed(&broker).await;
        for expect in [Expect::Any, Expect::Version(1)] {
            assert!(matches!(put(&before, expect, "late").await, Err(Error::Replaced)), "{expect:?}");
        }
        let after = of(&broker, &new).await;
        assert_eq!(put(&after, Expect::Any, "new").await.unwrap(), Put::Applied(2));
        assert!(matches!(put(&after, Expect::Version(1), "x").await, Ok(Put::Conflict(Some(_)))));
        assert_eq!(put(&after, Expect::Version(2), "newer").await.unwrap(), Put::Applied(3));
        let entry = stored(&broker).await;
        assert_eq!((entry.value, entry.version), (Payload::of("newer"), 3));
        let history = broker.states.history(key()).await.unwrap();
        let by: Vec<_> =
            history.into_iter().map(|change| change.task.unwrap()).map(|by| (by.attempt, by.record)).collect();
        assert!(new.fence.last > old.fence.last, "the second claim is a record too");
        assert_eq!(by, [(1, old.fence.last), (2, new.fence.last), (2, new.fence.last)]);
        let gone = Write { value: None, ..write(Expect::Any, "") };
        let none = Key::new(&Scope::Run(RunId::parse("r").unwrap()), "none").unwrap();
        for answer in after.put(vec![gone.clone(), Write { key: none, ..gone }]).await {
            assert!(matches!(answer, Ok(Put::Applied(_))), "{answer:?}");
        }
    }

    /// State of which another writer is always a moment quicker.
    struct Quicker(Arc<dyn States>);

    impl States for Quicker {
        fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
            Box::pin(async move {
                let found = self.0.get(keys).await;
                self.0.put(vec![write(Expect::Any, "theirs")]).await.remove(0)?;
                found
            })
        }

        fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
            self.0.list(prefix)
        }

        fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
            self.0.put(writes)
        }

        fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
            self.0.watch(prefix)
        }

        fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
            self.0.history(key)
        }

        fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
            self.0.at(moment, prefix)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_takes_whatever_is_there_is_written_though_others_are_quicker() {
        let broker = memory::open(memory::Options::default());
        let capability = CapabilityName::parse("x").unwrap();
        let task = Task::root(RunId::parse("r").unwrap(), capability, Payload::null(), broker.clock.now());
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        let lease = claimed(&broker).await;
        let states = of(&broker, &lease).await;
        let states = Guarded { inner: Arc::new(Quicker(broker.states.clone())), ..states };
        let version = u64::from(TRIES);
        assert_eq!(put(&states, Expect::Any, "mine").await.unwrap(), Put::Applied(version));
        assert_eq!(stored(&broker).await.value, Payload::of("mine"));
    }
}
