//! The contract for events: ordered, gapless, replayable.
//!
//! The facts about tasks and state are derived from the records of tasks and state in the same transaction, so the log
//! cannot say less or more than what happened. Agents publish facts of their own.

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::id::RunId;

/// The most events in one page.
pub const MAX_EVENTS: usize = 1_000;

/// Which events. All given conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Of one of these types, or of a group of types (`task` means `task.…`); empty: any.
    pub types: Vec<String>,
    /// Of this run.
    pub run: Option<RunId>,
}

impl EventFilter {
    /// Whether an event passes.
    pub fn passes(&self, event: &Event) -> bool {
        let is_of = |group: &String| {
            event.kind.strip_prefix(group.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        (self.types.is_empty() || self.types.iter().any(is_of))
            && self.run.as_ref().is_none_or(|run| event.run.as_ref() == Some(run))
    }
}

/// Reads events as they are recorded.
pub trait EventStream: Send {
    /// The next event that passes the filter. `Lagged` when some were dropped before they could be read (only where
    /// the log is bounded); it then goes on with the oldest that is there.
    fn next(&mut self) -> BoxFuture<'_, Result<Event>>;
}

/// The log of facts.
pub trait Events: Send + Sync {
    /// Records facts; the number of each, in order.
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>>;

    /// Up to `limit` (at most [`MAX_EVENTS`]) events that pass, from number `from` on.
    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>>;

    /// The number of the newest event; 0: none.
    fn last(&self) -> BoxFuture<'_, Result<u64>>;

    /// What is stored from number `from` on, then what is recorded, without a gap between the two.
    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>>;
}
