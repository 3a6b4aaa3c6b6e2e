//! How far the store has come, told to whoever follows it.
//!
//! A follower reads from the file and waits here for the file to have more. In the process that writes, the writer moves
//! the marks after each commit; elsewhere a look at the file's version does. Either way nothing is held for a slow
//! follower and nothing is missed by it: what it has not read yet is in the file.

use tokio::sync::watch;

use crate::error::{Error, Result};

/// The newest of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Number of the newest event.
    pub(super) event: u64,
    /// Number of the newest change of state.
    pub(super) change: u64,
}

/// The end that moves them.
#[derive(Clone, Debug)]
pub(super) struct Mover(std::sync::Arc<watch::Sender<Marks>>);

impl Mover {
    pub(super) fn new(now: Marks) -> Self {
        Self(std::sync::Arc::new(watch::Sender::new(now)))
    }

    /// Wakes followers if it is new.
    pub(super) fn to(&self, now: Marks) {
        self.0.send_if_modified(|marks| {
            let new = *marks != now;
            *marks = now;
            new
        });
    }

    /// Whether anybody follows.
    pub(super) fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(super) fn follow(&self) -> Follower {
        Follower(self.0.subscribe())
    }
}

/// The end that waits for them.
#[derive(Clone, Debug)]
pub(super) struct Follower(watch::Receiver<Marks>);

impl Follower {
    /// Waits until `pick` of the marks is above `seen`.
    pub(super) async fn beyond(&mut self, seen: u64, pick: fn(&Marks) -> u64) -> Result<()> {
        match self.0.wait_for(|marks| pick(marks) > seen).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable("the store was closed")),
        }
    }
}
