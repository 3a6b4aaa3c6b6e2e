use std::sync::Arc;

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
