//! Why a call, a task or a write did not succeed.
//!
//! One enum for everything that fails at a distance, shared by every wing, agent and node: a caller matches on it, a
//! retry goes by its [`Class`], a person reads its text and looks its [`code`](Error::code) up. Small enough to return
//! by value, so a field that grows is boxed.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::code;
use crate::payload::Payload;
use crate::problem::Problems;
use crate::subject::BadName;

/// What retry goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// May succeed if tried again.
    Transient,
    /// May succeed if tried again later.
    RateLimited,
    /// Will fail again.
    Permanent,
    /// Somebody no longer wants it.
    Cancelled,
    /// Nobody said. A task is tried again within its attempts, an ask is not.
    Unclassified,
}

impl Class {
    /// Whether a task that failed so is tried again while attempts are left.
    pub fn is_retried(self) -> bool {
        !matches!(self, Self::Permanent | Self::Cancelled)
    }
}

/// What an agent said when it gave up, as it travels to the caller and into the run log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// What retry goes by.
    pub class: Class,
    /// The code of the [`Error`] that passed through the agent, or [`code::FAILED`].
    pub code: String,
    /// The agent's own words, with the chain of causes joined by `: `.
    pub message: String,
    /// How long to wait before another try, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The best answer so far, if the agent kept one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Payload>,
    /// Whether the agent asked to be rebuilt by its supervisor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fatal: bool,
}

/// Why a call, task or write did not succeed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The queue is full; nothing was started.
    Busy {
        /// Whose queue.
        to: Box<str>,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// No answer in time.
    Deadline {
        /// Who was to answer, or what was to happen.
        to: Box<str>,
        /// The time that was given.
        limit: Duration,
    },
    /// Nobody serves it.
    NoRecipient {
        /// The address.
        to: Box<str>,
    },
    /// The agent panicked or was killed while it worked on this.
    Crashed {
        /// Who.
        to: Box<str>,
        /// The panic's message or the manner of its end.
        reason: Box<str>,
    },
    /// The agent said no.
    Failed {
        /// Who.
        to: Box<str>,
        /// What it said.
        failure: Box<Remote>,
    },
    /// Somebody no longer wants it.
    Cancelled {
        /// Who cancelled, and why if they said.
        by: Box<str>,
    },
    /// A conditional write found another version.
    Conflict {
        /// The key.
        key: Box<str>,
        /// The version the writer expected (0: none).
        expected: u64,
        /// The version that is there (0: none).
        actual: u64,
    },
    /// The acknowledgement of a write was lost: it may or may not have been applied.
    Unknown {
        /// Which write.
        what: Box<str>,
    },
    /// It never reached its recipient; safe to repeat.
    Undelivered {
        /// The recipient.
        to: Box<str>,
    },
    /// The same key was delegated before with another input.
    Diverged {
        /// The key.
        key: Box<str>,
        /// The hash of the input that was recorded under it.
        recorded: Box<str>,
        /// The hash of the input given now.
        given: Box<str>,
    },
    /// Another attempt has taken over: this one can record nothing.
    Replaced,
    /// A subscriber fell behind and messages were passed over.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// Its time had passed before it was begun.
    Expired,
    /// Not allowed.
    Denied {
        /// Who tried.
        who: Box<str>,
        /// What was tried.
        what: Box<str>,
    },
    /// It cannot be read as what it should be.
    Decode {
        /// What was found.
        what: Box<str>,
    },
    /// Over a limit.
    TooLarge {
        /// What.
        what: Box<str>,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no such thing.
    NotFound {
        /// What was looked for.
        what: Box<str>,
    },
    /// The broker or store does not answer.
    Unavailable {
        /// Which, and why.
        what: Box<str>,
    },
    /// Restarts went over the limit on every level of a node's tree: it has stopped.
    GaveUp {
        /// What failed, and how.
        reason: Box<str>,
        /// How often, at each level.
        counts: Box<str>,
    },
    /// The call would close a loop, and was not made.
    Loop {
        /// The capabilities on the way around, from the one that would be asked again to itself.
        cycle: Box<str>,
    },
    /// A budget is used up.
    Exhausted {
        /// What has run out.
        what: Box<str>,
        /// The limit.
        limit: u64,
        /// The root task whose budget it is; empty for an ask that belongs to no run.
        root: Box<str>,
    },
    /// Something a person wrote is wrong: all problems at once.
    Config(Box<Problems>),
}

/// A result whose error is ours.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What cannot be read as what it should be.
    pub fn decode(what: impl Into<String>) -> Self {
        Self::Decode { what: what.into().into() }
    }

    /// What does not exist.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into().into() }
    }

    /// A broker or store that does not answer.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into().into() }
    }

    /// What retry goes by.
    pub fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::RateLimited,
            Self::Failed { failure, .. } => failure.class,
            Self::Cancelled { .. } => Class::Cancelled,
            Self::Deadline { .. }
            | Self::NoRecipient { .. }
            | Self::Crashed { .. }
            | Self::Conflict { .. }
            | Self::Unknown { .. }
            | Self::Undelivered { .. }
            | Self::Lagged { .. }
            | Self::Unavailable { .. } => Class::Transient,
            Self::Diverged { .. }
            | Self::Replaced
            | Self::Expired
            | Self::Denied { .. }
            | Self::Decode { .. }
            | Self::TooLarge { .. }
            | Self::NotFound { .. }
            | Self::GaveUp { .. }
            | Self::Loop { .. }
            | Self::Exhausted { .. } => Class::Permanent,
            // A disk that is full does not stay so.
            Self::Config(problems) if problems.iter().any(|problem| problem.code == code::DISK_FULL) => {
                Class::Transient
            }
            Self::Config(_) => Class::Permanent,
        }
    }

    /// The code under which a page explains it: `callboard explain CB0004`.
    pub fn code(&self) -> &str {
        match self {
            Self::Busy { .. } => code::BUSY,
            Self::Deadline { .. } => code::DEADLINE,
            Self::NoRecipient { .. } => code::NO_RECIPIENT,
            Self::Unavailable { .. } => code::UNREACHABLE,
            Self::Failed { failure, .. } => &failure.code,
            Self::Crashed { .. } => code::CRASHED,
            Self::Cancelled { .. } => code::CANCELLED,
            Self::Conflict { .. } => code::CONFLICT,
            Self::Unknown { .. } => code::UNKNOWN,
            Self::Undelivered { .. } => code::UNDELIVERED,
            Self::Diverged { .. } => code::DIVERGED,
            Self::Replaced => code::REPLACED,
            Self::Lagged { .. } => code::LAGGED,
            Self::Expired => code::EXPIRED,
            Self::Denied { .. } => code::DENIED,
            Self::Decode { .. } => code::DECODE,
            Self::TooLarge { .. } => code::TOO_LARGE,
            Self::NotFound { .. } => code::UNKNOWN_ID,
            Self::GaveUp { .. } => code::GAVE_UP,
            Self::Loop { .. } => code::LOOP,
            Self::Exhausted { .. } => code::EXHAUSTED,
            Self::Config(problems) => problems.iter().next().map_or(code::INTERNAL, |first| first.code),
        }
    }

    /// The best answer that the agent kept before it gave up; none also when it cannot be read as `T`.
    pub fn partial<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Failed { failure, .. } => failure.partial.as_ref()?.read().ok(),
            _ => None,
        }
    }

    /// How long to wait before another try makes sense, if anybody said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Failed { failure, .. } => failure.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { to, retry_after } => {
                write!(f, "the queue of {to} is full: try again in {} ms", retry_after.as_millis())
            }
            Self::Deadline { to, limit } => write!(f, "no answer from {to} within {}", seconds(*limit)),
            Self::NoRecipient { to } => write!(f, "nobody serves {to}"),
            Self::Crashed { to, reason } => write!(f, "{to} crashed: {reason}"),
            Self::Failed { to, failure } => write!(f, "{to} failed: {}", failure.message),
            Self::Cancelled { by } => write!(f, "cancelled by {by}"),
            Self::Conflict { key, expected, actual } => {
                write!(f, "{key} is at version {actual}, not at {expected} as expected")
            }
            Self::Unknown { what } => write!(f, "the acknowledgement of {what} was lost: it may have been applied"),
            Self::Undelivered { to } => write!(f, "never reached {to}: safe to repeat"),
            Self::Diverged { key, recorded, given } => {
                write!(f, "\"{key}\" was delegated before with another input: {recorded} then, {given} now")
            }
            Self::Replaced => f.write_str("another attempt has taken over"),
            Self::Lagged { missed } => write!(f, "fell behind: {missed} messages were passed over"),
            Self::Expired => f.write_str("its time had passed before it was begun"),
            Self::Denied { who, what } => write!(f, "{who} may not {what}"),
            Self::Decode { what } => f.write_str(what),
            Self::TooLarge { what, size, limit } => write!(f, "{what} of {size} bytes is over the limit of {limit}"),
            Self::NotFound { what } => write!(f, "there is no {what}"),
            Self::Unavailable { what } => f.write_str(what),
            Self::GaveUp { reason, .. } => write!(f, "supervision gave up: {reason}"),
            Self::Loop { cycle } => write!(f, "it would go round in a circle: {cycle}"),
            Self::Exhausted { what, limit, root } if root.is_empty() => write!(f, "over the limit of {limit} {what}"),
            Self::Exhausted { what, limit, root } => write!(f, "the budget of {root} is used up: {limit} {what}"),
            Self::Config(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<BadName> for Error {
    fn from(bad: BadName) -> Self {
        Self::decode(bad.to_string())
    }
}

fn seconds(d: Duration) -> String {
    if d.as_millis().is_multiple_of(1000) { format!("{} s", d.as_secs()) } else { format!("{} ms", d.as_millis()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stays_small_enough_to_return_by_value() {
        assert!(size_of::<Error>() <= 64, "{}", size_of::<Error>());
    }

    #[test]
    fn a_retry_is_worth_it_unless_the_answer_is_final() {
        assert!(Error::Busy { to: "x".into(), retry_after: Duration::ZERO }.class().is_retried());
        assert!(!Error::Cancelled { by: "x".into() }.class().is_retried());
        assert!(!Error::decode("x").class().is_retried());
    }
}
