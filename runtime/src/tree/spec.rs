//! What a supervisor is told about its children, in OTP's words.
//!
//! A spec is plain data with a start function. It is checked as a whole when the supervisor's spec is made, so a tree
//! that was accepted has no invalid value anywhere below; what is refused is refused with a sentence.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use callboard_agents::{Restart, Shutdown};
use serde::{Deserialize, Serialize};

use super::child::StartCtx;
use super::exit::Fault;
use super::policy::{Backoff, Intensity};

/// The longest id of a child, in bytes.
pub const MAX_ID: usize = 80;

/// Which children are restarted when one ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That one only. The default.
    #[default]
    OneForOne,
    /// All: the others are stopped in reverse start order, then all are started in order.
    OneForAll,
    /// That one and those started after it.
    RestForOne,
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It does work.
    Worker,
    /// It holds children.
    Supervisor,
}

pub(crate) type StartFuture = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;
pub(crate) type StartFn = Arc<dyn Fn(StartCtx) -> StartFuture + Send + Sync>;

/// One child: how to start it, when to start it again, how to stop it. Cheap to clone.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) start: StartFn,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) start_timeout: Duration,
    pub(crate) strategy: Option<Strategy>,
}

impl ChildSpec {
    /// A worker that is an actor: `start` runs at each start and must seat exactly one actor with `StartCtx::spawn`.
    /// Its failure, panic or timeout is a failed start. See the module's documentation for an example.
    pub(crate) fn actor<F, Fut>(id: impl Into<Arc<str>>, start: F) -> Self
    where
        F: Fn(StartCtx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        Self {
            id: id.into(),
            kind: Kind::Worker,
            start: Arc::new(move |ctx| Box::pin(start(ctx))),
            restart: Restart::default(),
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
            start_timeout: Duration::from_secs(30),
            strategy: None,
        }
    }

    /// A child that is a supervisor with children of its own: permanent, shutdown infinity, and a start timeout of all
    /// its children's together.
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        let spec = Arc::new(spec);
        let start_timeout = spec.children.iter().map(|child| child.start_timeout).sum::<Duration>();
        Self {
            kind: Kind::Supervisor,
            shutdown: Shutdown::Infinity,
            start_timeout: start_timeout.max(Duration::from_secs(30)),
            strategy: Some(spec.strategy),
            ..Self::actor(spec.id.clone(), move |ctx| super::supervisor::start(spec.clone(), ctx))
        }
    }

    /// Default [`Restart::Permanent`].
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// Default 5 s for a worker, infinity for a supervisor. Infinity for a worker and a timeout of zero are refused
    /// when the supervisor is made.
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// How long a start may take, default 30 s for a worker. Zero is refused when the supervisor is made.
    pub fn start_timeout(self, limit: Duration) -> Self {
        Self { start_timeout: limit, ..self }
    }

    /// What it is called among its siblings.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_id(&self.id)?;
        let id = &self.id;
        match self.shutdown {
            Shutdown::Infinity if self.kind == Kind::Worker => {
                Err(SpecError::new(format!("child {id} is a worker, so its shutdown needs an end, not infinity")))
            }
            Shutdown::Timeout(limit) if limit.is_zero() => {
                Err(SpecError::new(format!("child {id} has a shutdown timeout of zero; say brutal_kill instead")))
            }
            _ if self.start_timeout.is_zero() => {
                Err(SpecError::new(format!("child {id} has a start timeout of zero, so it could never start")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("start_timeout", &self.start_timeout)
            .finish_non_exhaustive()
    }
}

/// A supervisor and the children it starts with, in start order.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    pub(crate) id: Arc<str>,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) max_failed_starts: u32,
    pub(crate) kill_wait: Duration,
    pub(crate) stop_together: bool,
    pub(crate) max_children: usize,
}

impl SupervisorSpec {
    /// Refused: an id that is empty, longer than [`MAX_ID`] or not of `[A-Za-z0-9._:#-]`, two children of one id, a
    /// child with an invalid value.
    pub fn new(id: impl Into<Arc<str>>, children: impl IntoIterator<Item = ChildSpec>) -> Result<Self, SpecError> {
        let spec = Self {
            id: id.into(),
            children: children.into_iter().collect(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            backoff: Some(Backoff::default()),
            max_failed_starts: 10,
            kill_wait: Duration::from_secs(1),
            stop_together: false,
            max_children: 10_000,
        };
        check_id(&spec.id)?;
        let mut seen = HashSet::new();
        for child in &spec.children {
            child.check()?;
            if !seen.insert(&child.id) {
                return Err(SpecError::new(format!("supervisor {} has two children called {}", spec.id, child.id)));
            }
        }
        if spec.children.len() > spec.max_children {
            return Err(SpecError::new(format!("supervisor {} has more than {} children", spec.id, spec.max_children)));
        }
        Ok(spec)
    }

    /// Default [`Strategy::OneForOne`].
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// Default 5 restarts in 30 s.
    pub fn intensity(self, intensity: Intensity) -> Self {
        Self { intensity, ..self }
    }

    /// Default 100 ms to 10 s with full jitter, the first restart at once. `None`: every restart at once.
    pub fn backoff(self, backoff: impl Into<Option<Backoff>>) -> Self {
        Self { backoff: backoff.into(), ..self }
    }

    /// After how many failed starts of one child in a row to give up even if the backoff keeps the restarts below the
    /// intensity; default 10. Refused: zero.
    pub fn max_failed_starts(self, starts: u32) -> Result<Self, SpecError> {
        if starts == 0 {
            return Err(SpecError::new(format!(
                "supervisor {} may have no failed start, so it could not try",
                self.id
            )));
        }
        Ok(Self { max_failed_starts: starts, ..self })
    }

    /// How long a killed child may take to be gone before it is reported as a zombie; default 1 s. Refused: zero.
    pub fn kill_wait(self, limit: Duration) -> Result<Self, SpecError> {
        if limit.is_zero() {
            return Err(SpecError::new(format!("supervisor {} would take every killed child for a zombie", self.id)));
        }
        Ok(Self { kill_wait: limit, ..self })
    }

    /// Stops all children at the same time instead of one after the other in reverse start order, like OTP's
    /// `simple_one_for_one`: for a pool, whose members do not depend on each other.
    pub fn stop_together(self) -> Self {
        Self { stop_together: true, ..self }
    }

    /// How many children it may hold, those added later included; default 10,000. Further ones are refused.
    pub fn max_children(self, children: usize) -> Self {
        Self { max_children: children, ..self }
    }

    /// What it is called.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn check_id(id: &str) -> Result<(), SpecError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:#-".contains(&byte);
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) {
        return Err(SpecError::new(format!("the id {id:?} must be 1 to {MAX_ID} characters of A-Z a-z 0-9 . _ : # -")));
    }
    Ok(())
}

/// A sentence about the value that a spec was refused for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(Box<str>);

impl SpecError {
    pub(crate) fn new(sentence: impl Into<Box<str>>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod tests;
