//! What could not be delivered or done, kept with its reason.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::clock::Millis;
use crate::error::Result;
use crate::id::TaskId;
use crate::payload::Payload;

/// The most dead letters that are kept; the oldest messages make room, tasks never do.
pub const MAX_DEAD_MESSAGES: usize = 10_000;

/// Why it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody served its address.
    NoRecipient,
    /// Its time had passed.
    Expired,
    /// It could not be read.
    Undecodable,
    /// It failed as often as it may.
    Failed,
    /// It was claimed as often as it may, and no attempt came to an end.
    TooManyClaims,
    /// It came in the name of a node that did not send it.
    Spoofed,
}

/// The dead letters that this process has kept since it began, by reason in the order of [`Reason::ALL`].
static KEPT: [AtomicU64; Reason::ALL.len()] = [const { AtomicU64::new(0) }; Reason::ALL.len()];

/// How many dead letters this process has kept since it began, by reason: for metrics.
pub fn kept() -> impl Iterator<Item = (Reason, u64)> {
    Reason::ALL.into_iter().map(|reason| (reason, KEPT[reason as usize].load(Ordering::Relaxed)))
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NoRecipient, Self::Expired, Self::Undecodable, Self::Failed, Self::TooManyClaims, Self::Spoofed];

    /// Counts one that was kept for this reason.
    pub(crate) fn count(self) {
        KEPT[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The word as it stands in documents and subjects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRecipient => "no_recipient",
            Self::Expired => "expired",
            Self::Undecodable => "undecodable",
            Self::Failed => "failed",
            Self::TooManyClaims => "too_many_claims",
            Self::Spoofed => "spoofed",
        }
    }
}

/// A dead letter before it has its number.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDeadLetter {
    /// Why.
    pub reason: Reason,
    /// The capability that it was for, or `agent`.
    pub capability: String,
    /// The address or agent of a message; the task of a task.
    pub to: String,
    /// Who sent it.
    pub from: String,
    /// The task, when it was one.
    pub task: Option<TaskId>,
    /// Its body.
    pub body: Payload,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// A message or a task that came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number, from 1.
    pub seq: u64,
    /// When it came here.
    pub at: Millis,
    /// Why.
    pub reason: Reason,
    /// The capability that it was for, or `agent` for a message to an agent by name.
    pub capability: String,
    /// The address or agent of a message; the task of a task.
    pub to: String,
    /// Who sent it.
    pub from: String,
    /// The task, when it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Its body: the input of a task.
    pub body: Payload,
    /// What went wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The task that it was put back as, once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_as: Option<TaskId>,
}

impl DeadLetter {
    /// A dead letter with its number and its time.
    pub fn new(seq: u64, at: Millis, new: NewDeadLetter) -> Self {
        let NewDeadLetter { reason, capability, to, from, task, body, error } = new;
        Self { seq, at, reason, capability, to, from, task, body, error, retried_as: None }
    }
}

/// The dead letters of a broker.
pub trait DeadLetters: Send + Sync {
    /// Dead letters after number `after`, oldest first, at most `limit` (at most 1,000).
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>>;

    /// One of them.
    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>>;

    /// Puts a task back into its queue, once: as its next generation. A second call returns the same id.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a message, whose sender has had its error and alone can decide to send it again.
    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>>;

    /// Deletes one, or all of them; how many there were.
    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>>;
}
