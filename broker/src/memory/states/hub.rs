//! Telling watchers what changes, in order and without waiting for any of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::state::{Change, WATCH_BACKLOG, Watch};

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Hub {
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    send: mpsc::Sender<Arc<Change>>,
    /// Changes that found the backlog full. After the first nothing is sent any more: a watcher sees all or is told.
    missed: Arc<AtomicU64>,
}

impl Hub {
    pub(super) fn add(&mut self, prefix: String, first: VecDeque<Change>) -> Watching {
        self.watchers.retain(|watcher| !watcher.send.is_closed());
        let (send, changes) = mpsc::channel(WATCH_BACKLOG);
        let missed = Arc::new(AtomicU64::new(0));
        self.watchers.push(Watcher { prefix, send, missed: missed.clone() });
        Watching { first, changes, missed }
    }

    pub(super) fn tell(&mut self, change: &Arc<Change>) {
        self.watchers.retain(|watcher| {
            if !change.key.is_below(&watcher.prefix) {
                return true;
            }
            if watcher.missed.load(Ordering::Acquire) == 0 {
                match watcher.send.try_send(change.clone()) {
                    Ok(()) => return true,
                    Err(TrySendError::Closed(_)) => return false,
                    Err(TrySendError::Full(_)) => {}
                }
            }
            watcher.missed.fetch_add(1, Ordering::AcqRel);
            !watcher.send.is_closed()
        });
    }
}

/// What a watcher reads.
#[derive(Debug)]
pub(super) struct Watching {
    first: VecDeque<Change>,
    changes: mpsc::Receiver<Arc<Change>>,
    missed: Arc<AtomicU64>,
}

impl Watch for Watching {
    fn next(&mut self) -> BoxFuture<'_, Result<Change>> {
        Box::pin(async move {
            if let Some(change) = self.first.pop_front() {
                return Ok(change);
            }
            let change = match self.changes.try_recv() {
                Ok(change) => Some(change),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => match self.missed.load(Ordering::Acquire) {
                    0 => self.changes.recv().await,
                    _ => None,
                },
            };
            match (change, self.missed.load(Ordering::Acquire)) {
                (Some(change), _) => Ok(Arc::unwrap_or_clone(change)),
                (None, 0) => Err(Error::unavailable("the store was closed")),
                (None, missed) => {
                    self.changes.close();
                    Err(Error::Lagged { missed })
                }
            }
        })
    }
}
