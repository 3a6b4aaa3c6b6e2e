//! What happens in a tree, as it happens: a bounded stream that counts what a slow reader missed.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::exit::ExitReason;
use super::view::millis;

/// Something that happened to a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeEvent {
    /// The child, as ids joined by `/` from the root.
    pub path: Arc<str>,
    /// When, since the tree was made.
    #[serde(rename = "at_ms", with = "millis")]
    pub at: Duration,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// It runs.
    Started {
        /// Its how many-th start this was, from 1.
        attempt: u64,
    },
    /// It ended, by itself or stopped by its supervisor, or its start failed.
    Exited {
        /// How.
        reason: ExitReason,
    },
    /// It will be started again.
    Restarting {
        /// Its how many-th restart in a row this is, from 1.
        attempt: u32,
        /// After this wait.
        #[serde(rename = "delay_ms", with = "millis")]
        delay: Duration,
    },
    /// Its exit was one too many: its supervisor stops all its children and ends too.
    Escalated,
    /// It was killed and is not gone: a thread of this process is stuck in it.
    Zombie,
}

/// Reads the events of a tree from the moment it was made on.
#[derive(Debug)]
pub struct TreeEvents {
    receiver: broadcast::Receiver<TreeEvent>,
    lagged: u64,
}

impl TreeEvents {
    pub(crate) fn new(receiver: broadcast::Receiver<TreeEvent>) -> Self {
        Self { receiver, lagged: 0 }
    }

    /// The next event, or `None` when the tree is gone. Events that came faster than they were read are skipped, the
    /// oldest first, and counted. Cancel safe.
    pub async fn next(&mut self) -> Option<TreeEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.lagged += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<TreeEvent> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => self.lagged += missed,
                Err(_) => return None,
            }
        }
    }

    /// How many events this reader has missed so far.
    pub fn lagged(&self) -> u64 {
        self.lagged
    }
}
