//! What is appended to a task's log.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::clock::Millis;
use crate::error::Remote;
use crate::id::{NodeName, TaskId};
use crate::payload::Payload;
use crate::subject::CapabilityName;

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
    /// A worker took a task that was delivered before, or that has a log. A first delivery leaves no record, unless the
    /// worker has a version.
    Claimed {
        /// Counted from 1.
        attempt: u32,
        /// The worker's node.
        node: NodeName,
        /// The version of its agent, if that has one; then a first delivery leaves this record too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
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
        /// Whether a handler may have begun. Default true.
        #[serde(default = "yes", skip_serializing_if = "is_so")]
        begun: bool,
    },
    /// The result of a named step.
    Step {
        /// The name.
        name: String,
        /// The result.
        value: Payload,
        /// The hash of what it was made from, when that was said: by it a replay sees that a prompt has changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
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
        /// Whether the other side is told, so that it is done again in doubt and nobody is asked.
        #[serde(default, skip_serializing_if = "is_not_so")]
        keyed: bool,
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
    /// The process that held the task died.
    Died {
        /// Its node.
        node: NodeName,
        /// How many other tasks the process held; 0: this one ran alone, and the death counts against it.
        beside: u32,
        /// Not to be delivered before then.
        #[serde(default)]
        not_before: Millis,
        /// Whether another process over the same store had died a moment before, so that the task is a suspect at once.
        #[serde(default, skip_serializing_if = "is_not_so")]
        again: bool,
    },
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_so(so: &bool) -> bool {
    *so
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_not_so(so: &bool) -> bool {
    !*so
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
            Self::Died { .. } => "died",
        }
    }

    /// The name or key that the handler gave it; none for what the runtime records by itself.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Step { name, .. } | Self::Intent { name, .. } | Self::Effect { name, .. } | Self::Undone { name } => {
                Some(name)
            }
            Self::Delegated { key, .. } => Some(key),
            Self::Claimed { .. } | Self::Released { .. } | Self::Parked { .. } | Self::Died { .. } => None,
        }
    }

    /// The value that it holds, if it holds one.
    pub fn value(&self) -> Option<&Payload> {
        match self {
            Self::Step { value, .. } | Self::Effect { value, .. } => Some(value),
            _ => None,
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

/// Whether a handler may have begun a task with this log before the claim that is this attempt. The number alone does not
/// tell: what was drained, was parked, or lost its process beside others, goes on with the same one.
pub fn was_begun(attempt: u32, log: &[Record]) -> bool {
    let ended = |entry: &Entry| {
        matches!(entry, Entry::Released { begun: true, .. } | Entry::Parked { .. } | Entry::Died { .. })
    };
    attempt > 1 || log.iter().any(|record| ended(&record.entry))
}
