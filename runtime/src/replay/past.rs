//! Shared state as it was when an attempt began, and what the attempt writes to it: for itself alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use callboard_broker::BoxFuture;
use callboard_broker::clock::Millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::state::{Change, Expect, Key, Moment, Put, StateEntry, States, Watch, Write};

/// See the module. The store is only read.
pub(super) struct Past {
    store: Arc<dyn States>,
    task: TaskId,
    /// When the attempt began.
    began: Millis,
    /// What was read or written, by key; none: there is no entry.
    seen: Mutex<HashMap<Key, Option<StateEntry>>>,
    reading: Arc<AtomicUsize>,
}

/// Counts a look into the store while it lasts.
pub(super) struct Reading(Arc<AtomicUsize>);

impl Reading {
    pub(super) fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Past {
    /// `reading` counts the looks into the store that are under way.
    pub(super) fn new(store: Arc<dyn States>, task: TaskId, began: Millis, reading: Arc<AtomicUsize>) -> Self {
        Self { store, task, began, seen: Mutex::default(), reading }
    }

    fn reading(&self) -> Reading {
        Reading::begin(&self.reading)
    }

    fn is_before(&self, change: &Change) -> bool {
        let own = change.task.as_ref().is_some_and(|by| by.task == self.task);
        change.at < self.began || change.at == self.began && !own
    }

    /// The entry of a key as it was.
    async fn entry(&self, key: &Key) -> Result<Option<StateEntry>> {
        if let Some(seen) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(seen.clone());
        }
        let _reading = self.reading();
        let changes = self.store.history(key.clone()).await?;
        let last = changes.into_iter().rfind(|change| self.is_before(change));
        let entry = last.and_then(|change| {
            let (updated_by, updated_at) = (change.by, change.at);
            let value = change.value?;
            Some(StateEntry { key: change.key, value, version: change.version, updated_by, updated_at })
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen.entry(key.clone()).or_insert(entry).clone())
    }

    async fn write(&self, write: Write) -> Result<Put> {
        let there = self.entry(&write.key).await?;
        let version = there.as_ref().map_or(0, |entry| entry.version);
        if let Expect::Version(expected) = write.expect
            && expected != version
        {
            return Ok(Put::Conflict(there));
        }
        let Write { key, value, by, .. } = write;
        let entry = value.map(|value| StateEntry {
            key: key.clone(),
            value,
            version: version + 1,
            updated_by: by,
            updated_at: self.began,
        });
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
        Ok(Put::Applied(version + 1))
    }
}

impl States for Past {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for key in keys {
                found.push(self.entry(&key).await?);
            }
            Ok(found)
        })
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            let then = {
                let _reading = self.reading();
                self.store.at(Moment::Time(self.began), prefix.clone()).await?
            };
            let mut keys: Vec<Key> = then.into_iter().map(|entry| entry.key).collect();
            let written = |seen: &HashMap<Key, _>| seen.keys().filter(|key| key.is_below(&prefix)).cloned().collect();
            let written: Vec<Key> = written(&self.seen.lock().unwrap_or_else(PoisonError::into_inner));
            keys.extend(written);
            keys.sort();
            keys.dedup();
            Ok(self.get(keys).await?.into_iter().flatten().collect())
        })
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for write in writes {
                answers.push(self.write(write).await);
            }
            answers
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        let what = format!("what an agent sees that watches \"{prefix}\" is in no log, so it cannot be replayed");
        Box::pin(async move { Err(Error::decode(what)) })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(async move {
            let _reading = self.reading();
            let changes = self.store.history(key).await?;
            Ok(changes.into_iter().filter(|change| self.is_before(change)).collect())
        })
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            let _reading = self.reading();
            self.store.at(moment, prefix).await
        })
    }
}
