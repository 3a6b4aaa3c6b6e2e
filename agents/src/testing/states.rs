use std::collections::BTreeMap;
use std::sync::Mutex;

use callboard_broker::BoxFuture;
use callboard_broker::clock::Clock;
use callboard_broker::error::{Error, Result};
use callboard_broker::state::{Change, Expect, Key, Moment, Put, StateEntry, States, Watch, Write};
use tokio::sync::broadcast;

use super::world::lock;

/// How many changes a watcher of a test may fall behind.
const BACKLOG: usize = 1_024;

/// Shared state of a test: the list of all changes, and what they add up to.
pub(super) struct TestStates {
    all: Mutex<Vec<Change>>,
    changes: broadcast::Sender<Change>,
}

impl Default for TestStates {
    fn default() -> Self {
        Self { all: Mutex::default(), changes: broadcast::Sender::new(BACKLOG) }
    }
}

fn is_below(key: &Key, prefix: &str) -> bool {
    let rest = key.as_str().strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn entries<'a>(changes: impl Iterator<Item = &'a Change>, prefix: &str) -> BTreeMap<Key, StateEntry> {
    let mut entries = BTreeMap::new();
    for change in changes.filter(|c| is_below(&c.key, prefix)) {
        match change.value.clone() {
            None => drop(entries.remove(&change.key)),
            Some(value) => {
                let (key, updated_by) = (change.key.clone(), change.by.clone());
                let entry = StateEntry { key, value, version: change.version, updated_by, updated_at: change.at };
                entries.insert(change.key.clone(), entry);
            }
        }
    }
    entries
}

impl TestStates {
    fn write(&self, write: Write) -> Put {
        let mut all = lock(&self.all);
        let current = entries(all.iter(), write.key.as_str()).remove(&write.key);
        if let Expect::Version(expected) = write.expect
            && expected != current.as_ref().map_or(0, |e| e.version)
        {
            return Put::Conflict(current);
        }
        let sequence = all.len() as u64 + 1;
        let change = Change {
            sequence,
            key: write.key,
            value: write.value,
            previous: current.map(|e| e.value),
            version: sequence,
            by: write.by,
            at: Clock::system().now(),
            task: write.task,
        };
        all.push(change.clone());
        // Nobody may be watching.
        let _ = self.changes.send(change);
        Put::Applied(sequence)
    }
}

impl States for TestStates {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        let entries = entries(lock(&self.all).iter(), "");
        let found = keys.iter().map(|key| entries.get(key).cloned()).collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        let found = entries(lock(&self.all).iter(), &prefix).into_values().collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        let done = writes.into_iter().map(|write| Ok(self.write(write))).collect();
        Box::pin(std::future::ready(done))
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        let all = lock(&self.all);
        let begun = entries(all.iter(), &prefix);
        let is_current = |c: &&Change| begun.get(&c.key).is_some_and(|e| e.version == c.version);
        let first = all.iter().filter(is_current).map(|c| Change { previous: None, ..c.clone() }).collect();
        let watch: Box<dyn Watch> = Box::new(TestWatch { first, then: self.changes.subscribe(), prefix });
        Box::pin(std::future::ready(Ok(watch)))
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        let of_key = lock(&self.all).iter().filter(|c| c.key == key).cloned().collect();
        Box::pin(std::future::ready(Ok(of_key)))
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        let is_before = |c: &&Change| match moment {
            Moment::Sequence(n) => c.sequence <= n,
            Moment::Time(t) => c.at <= t,
        };
        let then = entries(lock(&self.all).iter().filter(is_before), &prefix).into_values().collect();
        Box::pin(std::future::ready(Ok(then)))
    }
}

struct TestWatch {
    first: std::collections::VecDeque<Change>,
    then: broadcast::Receiver<Change>,
    prefix: String,
}

impl Watch for TestWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Change>> {
        Box::pin(async move {
            if let Some(change) = self.first.pop_front() {
                return Ok(change);
            }
            loop {
                match self.then.recv().await {
                    Ok(change) if is_below(&change.key, &self.prefix) => return Ok(change),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(missed)) => return Err(Error::Lagged { missed }),
                    Err(broadcast::error::RecvError::Closed) => {
                        return Err(Error::unavailable("the world of this test has ended"));
                    }
                }
            }
        })
    }
}
