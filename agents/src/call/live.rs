use std::sync::{Arc, Mutex, PoisonError};

use callboard_broker::id::TaskId;

use crate::host::Host;

/// A child that somebody waits for; dropped before it has ended, it is abandoned.
pub(super) struct Live {
    host: Arc<dyn Host>,
    child: Option<TaskId>,
}

impl Live {
    pub(super) fn new(host: &Arc<dyn Host>, child: TaskId) -> Self {
        Self { host: host.clone(), child: Some(child) }
    }

    /// Nothing is left to abandon: there is an outcome, or the host could not wait for one.
    pub(super) fn ended(mut self) {
        self.child = None;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.host.abandon(child);
        }
    }
}

/// The children that a call has delegated, for who waits for them when the call itself is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Began(Arc<Mutex<Vec<TaskId>>>);

impl Began {
    pub(crate) fn note(&self, child: &TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(child.clone());
    }

    /// In the order in which they were begun.
    pub(crate) fn children(&self) -> Vec<TaskId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
