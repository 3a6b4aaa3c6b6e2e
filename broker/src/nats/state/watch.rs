//! Watching: what is there, then every change as the stream has it.

use std::collections::{HashMap, VecDeque};

use super::document;
use crate::BoxFuture;
use crate::error::Result;
use crate::nats::tail::Tail;
use crate::payload::Payload;
use crate::state::{Change, Key, StateEntry, Watch};

/// A place in the stream, and the value of each key at that place, which the next change of it names as the one before.
pub(super) struct Watching {
    first: VecDeque<Change>,
    standing: HashMap<Key, Payload>,
    prefix: String,
    tail: Tail,
}

impl Watching {
    /// `entries` is what stands before what `tail` reads.
    pub(super) fn new(prefix: String, entries: Vec<StateEntry>, tail: Tail) -> Self {
        let standing = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let first = entries.into_iter().map(|entry| Change {
            sequence: entry.version,
            key: entry.key,
            value: Some(entry.value),
            previous: None,
            version: entry.version,
            by: entry.updated_by,
            at: entry.updated_at,
            task: None,
        });
        Self { first: first.collect(), standing, prefix, tail }
    }
}

impl Watch for Watching {
    fn next(&mut self) -> BoxFuture<'_, Result<Change>> {
        Box::pin(async move {
            if let Some(change) = self.first.pop_front() {
                return Ok(change);
            }
            loop {
                let raw = self.tail.next().await?;
                let Some(key) = document::key(&raw.subject).filter(|key| key.is_below(&self.prefix)) else { continue };
                let previous = self.standing.remove(&key);
                let Some(change) = document::change(&raw, previous) else { continue };
                if let Some(value) = &change.value {
                    self.standing.insert(key, value.clone());
                }
                return Ok(change);
            }
        })
    }
}
