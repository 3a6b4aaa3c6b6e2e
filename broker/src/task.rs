//! A task, the records of its log, and its outcome: the documents that outlive every process.
//!
//! All that happens to a task is a record in its log, and the outcome is the last one. Every append says which record
//! it has seen last, so whoever was replaced can append nothing: that one rule gives outcomes recorded exactly once,
//! fencing, replay and audit.

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::clock::Millis;
use crate::code;
use crate::error::{Class, Error, Remote};
use crate::id::{NodeName, RunId, TaskId};
use crate::lineage::Link;
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::trace::TraceContext;

mod log;
mod version;

pub use log::{Entry, Record, Release, failures, was_begun};
pub use version::{BegunBy, Serving, VERSION_WAIT, Version, may_take};

/// How long a task may take in all, unless it says so: 24 h.
pub const DEFAULT_DEADLINE_MS: Millis = 24 * 3600 * 1000;
/// Failures after which a task is `failed`, unless it says so.
pub const DEFAULT_ATTEMPTS: u32 = 3;
/// Attempts after which a task is given up though none of them came to an end: a bound for work that takes its process
/// down each time.
pub const MAX_CLAIMS: u32 = 50;
/// Claims after which a task is given up, those that were handed back at no cost included: a bound for work that is only
/// ever passed on.
pub const MAX_HANDOUTS: u32 = 1_000;

/// Who goes first within a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others: of 16 tasks that are handed out while all three wait, 12.
    High,
    /// The default: 3 of those 16.
    #[default]
    Normal,
    /// When there is nothing else to do, and 1 of those 16.
    Bulk,
}

/// When a failed attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Failures after which the task is `failed`. Default 3.
    pub attempts: u32,
    /// Wait after the first failure, in milliseconds; doubled after each further one. Default 1,000.
    pub base_ms: Millis,
    /// The longest wait, in milliseconds, before jitter. Default 60,000.
    pub max_ms: Millis,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: DEFAULT_ATTEMPTS, base_ms: 1_000, max_ms: 60_000 }
    }
}

/// Durable work for a capability. Written once; what happens to it is in its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The run it belongs to.
    pub run: RunId,
    /// The capability that can do it.
    pub capability: CapabilityName,
    /// What the agent gets.
    pub input: Payload,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The task that delegated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// The key under which its parent delegated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Siblings (by id) that had to end before it could start; for people, the queue does not look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// Its id in generation 1: what the ids of its children derive from.
    pub base: TaskId,
    /// 1, and one more for each retry by an operator or a parent.
    pub generation: u32,
    /// The generation that this one retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TaskId>,
    /// Who goes first.
    #[serde(default)]
    pub priority: Priority,
    /// The language model that it and all below it ask, `PROVIDER/NAME`, as far as their nodes allow it; none: as their
    /// nodes are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it was submitted.
    pub created_at: Millis,
    /// When all attempts must have ended.
    pub deadline: Millis,
    /// How long one attempt may take, in milliseconds; none: until the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Millis>,
    /// When a failed attempt is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// The ids above it, root first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<TaskId>,
    /// What those above it were asked for, root first: a child that repeats one of them would close a loop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<Link>,
    /// Where what its parent knew came from when it was delegated: tools, documents, other agents, shared state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// What it and all below it may use.
    #[serde(default, skip_serializing_if = "Budget::is_default")]
    pub budget: Budget,
    /// W3C trace context of whoever submitted it. In a document, what is none is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "TraceContext::read")]
    pub traceparent: Option<TraceContext>,
    /// Who submitted it: an agent, or a client's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whose records it begins with, when it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<Forked>,
}

/// Where a fork leaves the log of another task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// The task whose records it begins with.
    pub task: TaskId,
    /// The last record that it has from there; 0: none.
    pub upto: u64,
}

impl Task {
    /// The root task of a new run, with all defaults.
    pub fn root(run: RunId, capability: CapabilityName, input: Payload, now: Millis) -> Self {
        let id = TaskId::root(&run);
        Self {
            base: id.clone(),
            id,
            run,
            capability,
            input,
            description: None,
            parent: None,
            key: None,
            depends_on: Vec::new(),
            generation: 1,
            retry_of: None,
            priority: Priority::Normal,
            model: None,
            created_at: now,
            deadline: now + DEFAULT_DEADLINE_MS,
            timeout_ms: None,
            retry: Retry::default(),
            ancestors: Vec::new(),
            lineage: Vec::new(),
            origins: Vec::new(),
            budget: Budget::default(),
            traceparent: None,
            from: None,
            forked: None,
        }
    }

    /// This root with a budget, whose wall time counts from when it was submitted. Without a deadline of its own it has
    /// all of that time.
    #[must_use]
    pub fn budgeted(self, budget: Budget) -> Self {
        let budget = budget.begun(self.created_at);
        let is_default = self.deadline == self.created_at.saturating_add(DEFAULT_DEADLINE_MS);
        let deadline = match budget.until {
            Some(until) if is_default => until,
            Some(until) => self.deadline.min(until),
            None => self.deadline,
        };
        Self { budget, deadline, ..self }
    }

    /// Whether its deadline is that of the wall time of its run.
    pub fn is_last_call(&self) -> bool {
        self.budget.until.is_some_and(|until| until <= self.deadline)
    }

    /// Why it is ended when its deadline has passed: that, or that the wall time of its run is used up.
    pub fn overdue(&self) -> Remote {
        let error = match self.budget.wall_ms {
            Some(wall) if self.is_last_call() => {
                let root = self.ancestors.first().unwrap_or(&self.id).as_str().into();
                let (what, limit) = match wall % 1_000 {
                    0 => ("seconds of wall time", wall / 1_000),
                    _ => ("milliseconds of wall time", wall),
                };
                Error::Exhausted { what: what.into(), limit, root }
            }
            _ => Error::Expired,
        };
        let message = match error {
            Error::Expired => "its deadline passed before it was done".to_owned(),
            ref used_up => used_up.to_string(),
        };
        Remote {
            class: Class::Permanent,
            code: error.code().into(),
            message,
            retry_after_ms: None,
            partial: None,
            fatal: false,
        }
    }

    /// The child of this task under `key`, in its first generation; its deadline and budget can only be shortened. Its
    /// lineage is for the runtime to fill in, which has the hash of this task's input.
    pub fn child(&self, key: &str, capability: CapabilityName, input: Payload, now: Millis) -> Self {
        let id = TaskId::child(&self.run, &self.base, key, 1);
        let mut ancestors = self.ancestors.clone();
        ancestors.push(self.id.clone());
        Self {
            base: id.clone(),
            id,
            parent: Some(self.id.clone()),
            key: Some(key.into()),
            priority: self.priority,
            model: self.model.clone(),
            deadline: self.deadline,
            ancestors,
            budget: self.budget,
            traceparent: self.traceparent,
            ..Self::root(self.run.clone(), capability, input, now)
        }
    }

    /// The next generation of this task, as a child of `parent` (none for a root).
    pub fn next_generation(&self, parent: Option<&Task>, now: Millis) -> Self {
        let generation = self.generation + 1;
        let id = match (&self.key, parent) {
            (Some(key), Some(parent)) => TaskId::child(&self.run, &parent.base, key, generation),
            _ => TaskId::root_generation(&self.run, generation),
        };
        let allowed = self.deadline.saturating_sub(self.created_at);
        let deadline = parent.map_or(now.saturating_add(allowed), |p| p.deadline.min(now.saturating_add(allowed)));
        Self {
            id,
            generation,
            retry_of: Some(self.id.clone()),
            parent: parent.map(|p| p.id.clone()),
            created_at: now,
            deadline,
            budget: match parent {
                Some(parent) => Budget { until: parent.budget.until, ..self.budget },
                None => self.budget.begun(now),
            },
            ..self.clone()
        }
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting in its queue.
    Pending,
    /// Claimed by a worker.
    InProgress,
    /// Done.
    Completed,
    /// Given up.
    Failed,
    /// No longer wanted.
    Cancelled,
    /// Not done by its deadline.
    Expired,
    /// Not begun, because something it needs failed.
    Skipped,
}

impl Status {
    /// Whether nothing will change it any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress)
    }

    /// The word as it stands in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Skipped => "skipped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a task ended: the last record of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The task.
    pub task: TaskId,
    /// Its run.
    pub run: RunId,
    /// Its capability.
    pub capability: CapabilityName,
    /// One of the final statuses.
    pub status: Status,
    /// The agent's response; `null` unless completed.
    #[serde(default)]
    pub output: Payload,
    /// Why not, unless completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Remote>,
    /// How the result came about, when it is not the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// The attempt that ended it; 0 when none had begun.
    pub attempt: u32,
    /// The generation of the task.
    pub generation: u32,
    /// The task that delegated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// The node on which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The agent that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When the last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// When it ended.
    pub finished_at: Millis,
}

impl Outcome {
    /// An outcome of `task` with nothing but its status, error and time.
    pub fn of(task: &Task, status: Status, error: Option<Remote>, now: Millis) -> Self {
        Self {
            task: task.id.clone(),
            run: task.run.clone(),
            capability: task.capability.clone(),
            status,
            output: Payload::null(),
            error,
            degraded: None,
            attempt: 0,
            generation: task.generation,
            parent: task.parent.clone(),
            node: None,
            agent: None,
            started_at: None,
            finished_at: now,
        }
    }

    /// The response, or the error that a caller of the task gets.
    pub fn into_result(self) -> Result<Payload, Error> {
        let why = |r: &Option<Remote>, or: &str| r.as_ref().map_or_else(|| or.to_owned(), |r| r.message.clone());
        match self.status {
            Status::Completed => Ok(self.output),
            Status::Cancelled => Err(Error::Cancelled { by: why(&self.error, "somebody").into() }),
            Status::Expired if self.error.as_ref().is_none_or(|error| error.code != code::EXHAUSTED) => {
                Err(Error::Expired)
            }
            _ => Err(Error::Failed {
                to: self.capability.as_str().into(),
                failure: Box::new(self.error.unwrap_or(Remote {
                    class: Class::Permanent,
                    code: code::FAILED.into(),
                    message: format!("task {} is {}", self.task, self.status),
                    retry_after_ms: None,
                    partial: None,
                    fatal: false,
                })),
            }),
        }
    }
}
