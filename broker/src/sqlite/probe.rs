//! What a test may do to the writer: stop it between any two writes, fill its disk, or make it lie.
//!
//! A promise about crashes is worth what its tests can break. So the writer asks a [`Probe`] before each statement and
//! around each commit; without one it asks nobody.

use std::fmt;
use std::sync::Arc;

/// Where the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before a statement that writes.
    Statement,
    /// Before a commit.
    Commit,
    /// Before a commit of which callers have been told already.
    Answered,
    /// After a commit, before anybody is told.
    Committed,
}

/// What becomes of it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    GoOn,
    /// The disk is full. Only at [`Point::Statement`] and [`Point::Commit`].
    DiskFull,
    /// The process is aborted.
    Die,
    /// Callers are told before the commit: the lie that a checker has to find. Only at [`Point::Commit`].
    AnswerEarly,
}

/// Decides at each point. Cheap to clone.
#[derive(Clone, Default)]
pub struct Probe(Option<Arc<dyn Fn(Point) -> Fate + Send + Sync>>);

impl Probe {
    /// A probe that asks `decide`, on the writer's thread.
    pub fn new(decide: impl Fn(Point) -> Fate + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    pub(super) fn at(&self, point: Point) -> Fate {
        let fate = self.0.as_ref().map_or(Fate::GoOn, |decide| decide(point));
        if fate == Fate::Die {
            std::process::abort();
        }
        fate
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({})", if self.0.is_some() { "set" } else { "none" })
    }
}
