//! The room for state: entries, their history, snapshots, watchers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{Options, Wing};
use crate::BoxFuture;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::state::spare::{self, Spare};
use crate::state::{Change, Expect, Key, Moment, Put, StateEntry, States, Watch, Write};

mod hub;
mod room;

use hub::{Hub, Watching};

type Entries = BTreeMap<Key, Arc<StateEntry>>;

/// All state, now and in the past.
#[derive(Debug)]
pub(super) struct StateRoom {
    entries: Entries,
    /// The newest changes, without gaps.
    changes: VecDeque<Arc<Change>>,
    /// The number of the newest change of all keys.
    last: u64,
    by_key: HashMap<Key, VecDeque<Arc<Change>>>,
    /// All entries after so many changes; the first is never younger than the oldest change that is kept.
    snapshots: VecDeque<(u64, Entries)>,
    hub: Hub,
    spare: Spare,
    limits: Limits,
}

#[derive(Debug)]
struct Limits {
    changes: usize,
    keys: usize,
    snapshot_every: u64,
}

impl StateRoom {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            entries: Entries::new(),
            changes: VecDeque::new(),
            last: 0,
            by_key: HashMap::new(),
            snapshots: VecDeque::from([(0, Entries::new())]),
            hub: Hub::default(),
            spare: Spare::default(),
            limits: Limits {
                changes: options.changes.max(1),
                keys: options.keys,
                snapshot_every: options.snapshot_every.max(1),
            },
        }
    }

    /// Applies one write, or says why not; the change that it made, if it made one.
    fn put(&mut self, write: Write, now: Millis) -> Result<(Put, Option<Arc<Change>>)> {
        let current = self.entries.get(&write.key);
        let version = current.map_or(0, |entry| entry.version);
        if matches!(write.expect, Expect::Version(expected) if expected != version) {
            return Ok((Put::Conflict(current.map(|entry| entry.as_ref().clone())), None));
        }
        if write.value.is_none() && current.is_none() {
            return Ok((Put::Applied(0), None));
        }
        if current.is_none() && self.entries.len() >= self.limits.keys {
            return Err(spare::full(self.limits.keys as u64));
        }
        self.last += 1;
        let change = Arc::new(Change {
            sequence: self.last,
            previous: current.map(|entry| entry.value.clone()),
            key: write.key,
            value: write.value,
            // The place among all changes increases with every change of a key, and outlives the key.
            version: self.last,
            by: write.by,
            at: now,
            task: write.task,
        });
        apply(&mut self.entries, &change);
        self.by_key.entry(change.key.clone()).or_default().push_back(change.clone());
        self.changes.push_back(change.clone());
        self.hub.tell(&change);
        self.trim();
        Ok((Put::Applied(self.last), Some(change)))
    }

    /// Takes a snapshot when one is due, and forgets what is too old.
    fn trim(&mut self) {
        let since = self.last - self.snapshots.back().map_or(0, |(at, _)| *at);
        if since >= self.limits.snapshot_every.max(self.entries.len() as u64) {
            self.snapshots.push_back((self.last, self.entries.clone()));
        }
        while self.changes.len() > self.limits.changes {
            let Some(oldest) = self.changes.pop_front() else { break };
            if let Some(of_key) = self.by_key.get_mut(&oldest.key) {
                of_key.pop_front();
                if of_key.is_empty() {
                    self.by_key.remove(&oldest.key);
                }
            }
            // The change is forgotten by folding it into the snapshot before it, unless another one covers it.
            match self.snapshots.get(1) {
                Some((next, _)) if *next <= oldest.sequence => drop(self.snapshots.pop_front()),
                _ => {
                    if let Some((at, entries)) = self.snapshots.front_mut() {
                        apply(entries, &oldest);
                        *at = oldest.sequence;
                    }
                }
            }
        }
    }

    fn list(&self, prefix: &str) -> Vec<StateEntry> {
        below(&self.entries, prefix).map(|entry| entry.as_ref().clone()).collect()
    }

    /// All entries after change number `sequence`: the nearest snapshot before it, and the changes since.
    fn at(&self, sequence: u64, prefix: &str) -> Result<Vec<StateEntry>> {
        let nearest = self.snapshots.iter().rev().find(|(at, _)| *at <= sequence);
        let Some((at, snapshot)) = nearest else {
            return Err(Error::not_found(format!("state after change {sequence}: only the newest changes are kept")));
        };
        let mut entries = snapshot.clone();
        let oldest = self.last + 1 - self.changes.len() as u64;
        let skip = usize::try_from(at + 1 - oldest).unwrap_or(usize::MAX).min(self.changes.len());
        for change in self.changes.range(skip..).take_while(|change| change.sequence <= sequence) {
            apply(&mut entries, change);
        }
        Ok(below(&entries, prefix).map(|entry| entry.as_ref().clone()).collect())
    }

    /// How many changes there were up to and including a time.
    fn sequence_at(&self, time: Millis) -> Result<u64> {
        let after = self.changes.partition_point(|change| change.at <= time) as u64;
        let forgotten = self.last - self.changes.len() as u64;
        if after == 0 && forgotten > 0 {
            return Err(Error::not_found("state at that time: only the newest changes are kept"));
        }
        Ok(forgotten + after)
    }

    fn watch(&mut self, prefix: String) -> Watching {
        let current = below(&self.entries, &prefix);
        let first = current.map(|entry| {
            let entry = entry.as_ref().clone();
            Change {
                sequence: entry.version,
                key: entry.key,
                value: Some(entry.value),
                previous: None,
                version: entry.version,
                by: entry.updated_by,
                at: entry.updated_at,
                task: None,
            }
        });
        let first = first.collect();
        self.hub.add(prefix, first)
    }
}

fn apply(entries: &mut Entries, change: &Change) {
    match &change.value {
        None => drop(entries.remove(&change.key)),
        Some(value) => {
            let entry = StateEntry {
                key: change.key.clone(),
                value: value.clone(),
                version: change.version,
                updated_by: change.by.clone(),
                updated_at: change.at,
            };
            entries.insert(change.key.clone(), Arc::new(entry));
        }
    }
}

/// The entries of a key and of all keys below it, by key.
fn below<'a>(entries: &'a Entries, prefix: &'a str) -> impl Iterator<Item = &'a Arc<StateEntry>> {
    use std::ops::Bound::{Included, Unbounded};
    let from = entries.range::<str, _>((Included(prefix), Unbounded));
    let near = from.take_while(move |(key, _)| key.as_str().starts_with(prefix));
    near.filter(move |(key, _)| key.is_below(prefix)).map(|(_, entry)| entry)
}

impl States for Wing {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(async move {
            self.with(|store, _| {
                Ok(keys.iter().map(|key| store.states.entries.get(key).map(|e| e.as_ref().clone())).collect())
            })
        })
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move { self.with(|store, _| Ok(store.states.list(&prefix))) })
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            // Values are written out before the lock is taken; one that cannot be is refused.
            let writable = |write: Write| write.value.as_ref().map_or(Ok(()), |v| v.json().map(drop)).map(|()| write);
            let writes: Vec<Result<Write>> = writes.into_iter().map(writable).collect();
            self.with(|store, now| {
                writes.into_iter().map(|write| write.and_then(|write| store.put(write, now))).collect()
            })
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move { self.with(|store, _| Ok(Box::new(store.states.watch(prefix)) as Box<dyn Watch>)) })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(async move {
            self.with(|store, _| {
                let changes = store.states.by_key.get(&key);
                Ok(changes.into_iter().flatten().map(|change| change.as_ref().clone()).collect())
            })
        })
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            self.with(|store, _| {
                let sequence = match moment {
                    Moment::Sequence(sequence) => sequence,
                    Moment::Time(time) => store.states.sequence_at(time)?,
                };
                store.states.at(sequence, &prefix)
            })
        })
    }
}
