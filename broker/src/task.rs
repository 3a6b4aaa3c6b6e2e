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
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// When there is nothing else to do.
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
    /// What it and all below it may use.
    #[serde(default, skip_serializing_if = "Budget::is_default")]
    pub budget: Budget,
    /// W3C trace context of whoever submitted it. In a document, what is none is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "TraceContext::read")]
    pub traceparent: Option<TraceContext>,
    /// Who submitted it: an agent, or a client's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
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
            created_at: now,
            deadline: now + DEFAULT_DEADLINE_MS,
            timeout_ms: None,
            retry: Retry::default(),
            ancestors: Vec::new(),
            lineage: Vec::new(),
            budget: Budget::default(),
            traceparent: None,
            from: None,
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
            Status::Expired => Err(Error::Expired),
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

/// Why a claimed task went back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// The agent declined it. Costs no attempt.
    Declined,
    /// The node is going away. Costs no attempt.
    Drained,
    /// The attempt failed and another one is due.
    Retry,
}

/// What is appended to a task's log. The outcome has its own type, because it is always the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A worker took a task that was delivered before, or that has a log. A first delivery leaves no record.
    Claimed {
        /// Counted from 1.
        attempt: u32,
        /// The worker's node.
        node: NodeName,
    },
    /// A worker gave the task back.
    Released {
        /// Why.
        reason: Release,
        /// What went wrong, when something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Remote>,
        /// Not to be delivered before then.
        #[serde(default)]
        not_before: Millis,
        /// Who gave it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    },
    /// The result of a named step.
    Step {
        /// The name.
        name: String,
        /// The result.
        value: Payload,
    },
    /// A child was delegated; its task is stored in the same turn.
    Delegated {
        /// The key.
        key: String,
        /// The child.
        child: TaskId,
        /// The child's capability.
        capability: CapabilityName,
        /// The hash of the child's input, by which a divergence is seen.
        input_hash: String,
    },
    /// A worker laid the task aside until one of these tasks has ended; the next claim goes on with the same attempt.
    Parked {
        /// The tasks that it waits for.
        on: Vec<TaskId>,
    },
    /// An effect is about to be done. Unless an `effect` or `undone` of the same name follows, nobody knows whether it was.
    Intent {
        /// The name.
        name: String,
        /// What tells the other side that a repeat is one: the same in every attempt and generation.
        key: String,
    },
    /// The result of a named effect: it was done.
    Effect {
        /// The name.
        name: String,
        /// The result.
        value: Payload,
    },
    /// A named effect was certainly not done, whatever was intended before.
    Undone {
        /// The name.
        name: String,
    },
}

impl Entry {
    /// The kind's name, as it stands in subjects and columns.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "claimed",
            Self::Released { .. } => "released",
            Self::Step { .. } => "step",
            Self::Delegated { .. } => "delegated",
            Self::Parked { .. } => "parked",
            Self::Intent { .. } => "intent",
            Self::Effect { .. } => "effect",
            Self::Undone { .. } => "undone",
        }
    }
}

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number within the task's log, from 1, without gaps.
    pub n: u64,
    /// When it was appended.
    pub at: Millis,
    /// What happened.
    pub entry: Entry,
}

/// How many attempts of a task with this log failed: what its retry policy counts.
pub fn failures(log: &[Record]) -> u32 {
    let failed = |r: &&Record| matches!(r.entry, Entry::Released { reason: Release::Retry, .. });
    u32::try_from(log.iter().filter(failed).count()).unwrap_or(u32::MAX)
}
