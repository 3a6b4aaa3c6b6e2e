//! The room for shared state: entries, every change that led to them, and snapshots between the changes.

use std::sync::Arc;

use super::job::Cost;
use super::store::Store;
use super::tasks::each;
use crate::BoxFuture;
use crate::error::Result;
use crate::state::{Change, Key, Moment, Put, StateEntry, States, Watch, Write};

mod put;
mod room;
mod rows;
mod snapshot;
mod view;

pub(super) use put::or_unknown;
pub(super) use rows::{SCANS, history_scan, is_gapless, newest};
pub(super) use snapshot::Snapshots;

/// The room.
pub(super) struct StateRoom(pub(super) Arc<Store>);

/// About how much writes take, and whether somebody outside of a task does them.
fn cost(writes: &[Write]) -> Cost {
    let size = |write: &Write| write.value.as_ref().map_or(0, |value| value.json().map_or(0, str::len));
    let bytes = writes.iter().map(|write| 3 * size(write) + 512).sum();
    Cost::write(bytes).at_edge(writes.iter().any(|write| write.task.is_none()))
}

impl States for StateRoom {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(self.0.view.get_state(keys))
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.0.view.list_state(prefix))
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        let (count, keys) = (writes.len(), self.0.keys);
        let answer = self
            .0
            .writer
            .call(cost(&writes), move |turn| writes.iter().map(|write| put::put(turn, write, keys)).collect());
        Box::pin(async move { or_unknown(each(count, answer.await)) })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move { Ok(Box::new(self.0.view.watch_state(prefix).await?) as Box<dyn Watch>) })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(self.0.view.history(key))
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.0.view.state_at(moment, prefix))
    }
}
