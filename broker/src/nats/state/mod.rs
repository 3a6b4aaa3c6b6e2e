//! The room for state: a bucket whose stream is the history.
//!
//! The stream holds every change of every key, so a change's sequence is its number, the version of its key, and a place
//! in the past, all in one; it is never given twice. The server's own tools read and write the same bucket.

use std::sync::Arc;

use super::link::Link;
use super::names;
use super::seen::Seen;
use super::tail::Tail;
use crate::BoxFuture;
use crate::error::Result;
use crate::state::{Change, Key, Moment, Put, StateEntry, States, Watch, Write};

pub(super) mod document;
mod past;
mod watch;
mod write;

use watch::Watching;

/// The room.
#[derive(Debug)]
pub struct StateRoom {
    link: Arc<Link>,
    seen: Arc<Seen>,
}

impl StateRoom {
    /// The room on a connection whose broker has its streams.
    pub fn new(link: Arc<Link>, seen: Arc<Seen>) -> Self {
        Self { link, seen }
    }
}

impl States for StateRoom {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(async move { self.entries_of(&keys).await })
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move {
            let cut = self.cut().await?;
            self.below(&prefix, &cut, cut.seq).await
        })
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(writes.len());
            // One after the other, because a later write may expect what an earlier one of the same key made.
            for write in &writes {
                answers.push(self.write(write).await);
            }
            answers
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move {
            let cut = self.cut().await?;
            let entries = self.below(&prefix, &cut, cut.seq).await?;
            // A prefix that no key can have is watched like one that no key has.
            let filters = past::filters(&prefix).unwrap_or_else(|| vec![names::state("nothing")]);
            let tail = Tail::new(self.link.clone(), names::STATE, filters, cut.seq + 1);
            Ok(Box::new(Watching::new(prefix, entries, tail)) as Box<dyn Watch>)
        })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(async move { self.changes_of(&key).await })
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(async move { self.past(moment, &prefix).await })
    }
}
