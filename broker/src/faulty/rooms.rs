//! State, events and dead letters over a bad line.

use std::sync::Arc;

use super::Line;
use crate::BoxFuture;
use crate::dead_letter::{self, DeadLetter};
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::events::{self, EventFilter, EventStream};
use crate::id::TaskId;
use crate::state::{self, Change, Expect, Key, Moment, Put, StateEntry, Watch, Write};

pub(super) struct States {
    pub(super) inner: Arc<dyn state::States>,
    pub(super) line: Line,
}

impl state::States for States {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(self.line.read(self.inner.get(keys)))
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.line.read(self.inner.list(prefix)))
    }

    /// Only a write that expects a version arrives twice: no version comes back, so the second one meets a conflict.
    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let again = matches!(&writes[..], [Write { expect: Expect::Version(1..), .. }]);
            match self.line.write("a write", again, || self.inner.put(writes.clone())).await {
                Ok(answers) => answers,
                Err(_) => writes.iter().map(|_| Ok(Put::Unknown)).collect(),
            }
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(self.line.read(self.inner.watch(prefix)))
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(self.line.read(self.inner.history(key)))
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.line.read(self.inner.at(moment, prefix)))
    }
}

pub(super) struct Events {
    pub(super) inner: Arc<dyn events::Events>,
    pub(super) line: Line,
}

impl events::Events for Events {
    /// Never twice: a fact has no id by which a second one could be told from a repetition.
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        Box::pin(async move {
            self.line.write_each("a fact", facts.len(), false, || self.inner.publish(facts.clone())).await
        })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(self.line.read(self.inner.read(filter, from, limit)))
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.line.read(self.inner.last()))
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        Box::pin(self.line.read(self.inner.follow(filter, from)))
    }
}

pub(super) struct DeadLetters {
    pub(super) inner: Arc<dyn dead_letter::DeadLetters>,
    pub(super) line: Line,
}

impl dead_letter::DeadLetters for DeadLetters {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(self.line.read(self.inner.list(after, limit)))
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        Box::pin(self.line.read(self.inner.get(seq)))
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move { self.line.write("a retry", true, || self.inner.retry(seq)).await? })
    }

    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { self.line.write("a purge", false, || self.inner.purge(seq)).await? })
    }
}
