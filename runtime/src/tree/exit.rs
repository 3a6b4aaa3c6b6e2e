//! Why a child ended, in words that a supervisor can decide by and a person can read.
//!
//! The actor library reports an end as free text, and a panic looks like an error there. So whatever a child returns
//! as its error is turned into an [`ExitReason`] before it leaves the child; what arrives without one was a panic.

use std::error::Error;
use std::fmt;

use ractor::{ActorProcessingErr, SupervisionEvent};
use serde::{Deserialize, Serialize};

/// An error of any kind with which a start or a task gives up. `?` converts into it from every error and from text.
pub type Fault = Box<dyn Error + Send + Sync + 'static>;

/// The longest text kept of an error or panic, in bytes. The rest is cut off, so that a crash loop with long messages
/// keeps memory flat.
pub const MAX_REASON: usize = 1024;

/// The stop reason with which a supervisor ends a child, as the actor library carries it.
pub(crate) const SHUTDOWN: &str = "shutdown";

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum ExitReason {
    /// It had nothing left to do and ended by itself.
    Normal,
    /// Its supervisor asked it to stop, and it did within its shutdown time.
    Shutdown,
    /// It was killed: by its supervisor after its shutdown time, or from outside. Abnormal, as in OTP.
    Killed,
    /// It never ran: its start failed or took longer than its start timeout.
    StartFailed(String),
    /// It gave up with an error; the text is the whole chain of causes.
    Error(String),
    /// It panicked with this message.
    Panic(String),
    /// It is a supervisor that had to restart too often.
    IntensityExceeded(Box<Exceeded>),
}

/// What was one too many for a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceeded {
    /// The child whose end it was.
    pub child: String,
    /// How often children of this supervisor have ended within the period of its intensity; without a period: how often
    /// in a row the child could not be started.
    pub times: u32,
    /// The period, in milliseconds.
    pub within_ms: Option<u64>,
    /// How the child ended.
    pub last: ExitReason,
}

impl ExitReason {
    /// An [`ExitReason::Error`] with the error's text and those of its causes, at most [`MAX_REASON`] bytes.
    pub fn error(error: &(dyn Error + 'static)) -> Self {
        Self::Error(chain(error))
    }

    /// Whether a transient child is restarted after it: everything but `Normal` and `Shutdown`.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// What a process should exit with when its whole tree ended so: 0 for `Normal` and `Shutdown`, otherwise 70.
    pub fn exit_code(&self) -> u8 {
        if self.is_abnormal() { 70 } else { 0 }
    }

    /// The exit that started it all: what is inside any number of [`ExitReason::IntensityExceeded`].
    pub fn root_cause(&self) -> &ExitReason {
        let mut reason = self;
        while let Self::IntensityExceeded(exceeded) = reason {
            reason = &exceeded.last;
        }
        reason
    }

    /// The reason in an event about a child that ended, and which child; `None` for events about anything else.
    pub(crate) fn of_event(event: SupervisionEvent) -> Option<(ractor::ActorId, Self)> {
        match event {
            SupervisionEvent::ActorTerminated(who, _state, text) => {
                Some((who.get_id(), Self::of_stop(text.as_deref())))
            }
            SupervisionEvent::ActorFailed(who, error) => Some((who.get_id(), Self::of_failure(error))),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        }
    }

    fn of_stop(text: Option<&str>) -> Self {
        match text {
            Some(SHUTDOWN) => Self::Shutdown,
            Some("killed" | "actor_task_cancelled") => Self::Killed,
            _ => Self::Normal,
        }
    }

    /// Errors of children come as an `ExitReason` (see `Seated`), panics as bare text.
    pub(crate) fn of_failure(error: ActorProcessingErr) -> Self {
        match error.downcast::<ExitReason>() {
            Ok(reason) => *reason,
            Err(panic) => Self::Panic(clip(panic.to_string())),
        }
    }

    /// What a child returned as its error, as a reason; one that is a reason already stays what it is.
    pub(crate) fn of_error(error: Fault) -> Self {
        match error.downcast::<ExitReason>() {
            Ok(reason) => *reason,
            Err(error) => Self::error(error.as_ref()),
        }
    }

    /// The same as the reason for which a start failed.
    pub(crate) fn into_start_failed(self) -> Self {
        match self {
            Self::StartFailed(_) => self,
            Self::Error(text) => Self::StartFailed(text),
            other => Self::StartFailed(clip(other.to_string())),
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Killed => f.write_str("killed"),
            Self::StartFailed(text) => write!(f, "start failed: {text}"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Panic(text) => write!(f, "panic: {text}"),
            Self::IntensityExceeded(exceeded) => exceeded.fmt(f),
        }
    }
}

impl Exceeded {
    /// Every supervisor that gave up, from this one down, each with its name.
    fn levels(&self) -> Vec<(&str, &Self)> {
        let mut levels = vec![("root", self)];
        while let Some((_, Self { child, last: ExitReason::IntensityExceeded(inner), .. })) = levels.last() {
            levels.push((child, inner));
        }
        levels
    }

    /// What ended, by its path below this supervisor, and how.
    pub fn cause(&self) -> String {
        let levels = self.levels();
        let path: Vec<&str> = levels.iter().map(|(_, level)| level.child.as_str()).collect();
        let cause = levels.last().map_or(&self.last, |(_, level)| &level.last);
        format!("{} failed too often, at last with {cause}", path.join("/"))
    }

    /// How often that was for each supervisor, from the lowest up.
    pub fn counts(&self) -> String {
        let count = |(supervisor, level): &(&str, &Self)| match level.within_ms {
            Some(ms) => format!("{supervisor} {} in {}s", level.times, ms as f64 / 1000.0),
            None => format!("{supervisor} {} starts in a row", level.times),
        };
        self.levels().iter().rev().map(count).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; failures: {}", self.cause(), self.counts())
    }
}

impl Error for ExitReason {}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        if text.len() > MAX_REASON {
            break;
        }
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    clip(text)
}

/// Cuts at a character boundary.
pub(crate) fn clip(mut text: String) -> String {
    if text.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}
