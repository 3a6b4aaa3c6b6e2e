//! Tasks on their way to a claimer.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::room::Room;
use crate::task::Release;
use crate::tasks::{GiveBack, Lease};

/// Leases that nobody has taken into their hands yet. Dropped on the way, because the claimer has gone, they go back to
/// the queue at no cost of an attempt, rather than being held until they lapse.
pub(super) struct Handover {
    room: Weak<Room>,
    leases: Vec<Lease>,
}

impl Handover {
    pub(super) fn new(room: &Arc<Room>, leases: Vec<Lease>) -> Self {
        Self { room: Arc::downgrade(room), leases }
    }

    pub(super) fn accept(mut self) -> Vec<Lease> {
        std::mem::take(&mut self.leases)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        let (Some(room), Ok(runtime)) = (self.room.upgrade(), Handle::try_current()) else { return };
        if leases.is_empty() {
            return;
        }
        runtime.spawn(async move {
            for Lease { fence, .. } in leases {
                let delay = std::time::Duration::ZERO;
                let back = GiveBack { fence, reason: Release::Drained, error: None, delay, agent: None, begun: false };
                // Replaced or cancelled meanwhile: then there is nothing to give back.
                let _ = room.release(back).await;
            }
        });
    }
}
