//! A fact that happened, in the past tense.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId};
use crate::payload::Payload;
use crate::subject;

/// A task was stored.
pub const TASK_CREATED: &str = "task.created";
/// An attempt of a task began.
pub const TASK_STARTED: &str = "task.started";
/// A task was completed.
pub const TASK_COMPLETED: &str = "task.completed";
/// A task was given up.
pub const TASK_FAILED: &str = "task.failed";
/// A task is no longer wanted.
pub const TASK_CANCELLED: &str = "task.cancelled";
/// A task was not done by its deadline.
pub const TASK_EXPIRED: &str = "task.expired";
/// A task will not be begun, because something it needs failed.
pub const TASK_SKIPPED: &str = "task.skipped";
/// An agent has a free slot: at its start, and when it had none before.
pub const AGENT_AVAILABLE: &str = "agent.available";
/// A result was recorded or shared state was written.
pub const CONTEXT_UPDATED: &str = "context.updated";
/// A plan was changed because a result asked for it.
pub const PLAN_REVISED: &str = "plan.revised";
/// A task that named no capability was given one.
pub const TASK_ROUTED: &str = "task.routed";

/// A capability failed too often and is given a rest.
pub const BREAKER_OPENED: &str = "breaker.opened";
/// A capability that was given a rest is tried.
pub const BREAKER_HALF_OPENED: &str = "breaker.half_opened";
/// A capability that was given a rest is well again.
pub const BREAKER_CLOSED: &str = "breaker.closed";

/// A tool is about to be called: published before it is.
pub const TOOL_CALLED: &str = "tool.called";
/// A tool was not called for an agent, or for the model behind it, that asked for it.
pub const TOOL_REFUSED: &str = "tool.refused";

/// The longest name of a type.
pub const MAX_TYPE: usize = 80;

/// A fact before it has its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// What happened: two or more lowercase words joined by dots, `shop.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who says so: an agent, a node or the runtime.
    pub agent: String,
    /// The run it belongs to, if any.
    pub run: Option<RunId>,
    /// The task it belongs to, if any.
    pub task: Option<TaskId>,
    /// The particulars.
    pub payload: Payload,
}

impl NewEvent {
    /// Checks the type's grammar.
    pub fn check(&self) -> Result<()> {
        let words = self.kind.split('.').count() >= 2;
        let grammar = self.kind.len() <= MAX_TYPE
            && self.kind.split('.').all(|w| subject::token("event type", w).is_ok() && w.to_lowercase() == w);
        if words && grammar {
            return Ok(());
        }
        Err(Error::decode(format!(
            "\"{}\" is not an event type: lowercase words joined by dots, `shop.paid`",
            self.kind
        )))
    }
}

/// A fact that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// When it was recorded.
    pub time: Millis,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who says so.
    pub agent: String,
    /// The run it belongs to, if any.
    pub run: Option<RunId>,
    /// The task it belongs to, if any.
    pub task: Option<TaskId>,
    /// The particulars.
    pub payload: Payload,
}

impl Event {
    /// A fact at its place in the log.
    pub fn new(seq: u64, time: Millis, fact: NewEvent) -> Self {
        let NewEvent { kind, agent, run, task, payload } = fact;
        Self { seq, time, kind, agent, run, task, payload }
    }
}
