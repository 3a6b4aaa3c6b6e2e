//! Tasks on their way to a claimer.

use std::sync::Weak;
use std::time::Duration;

use super::Wing;
use crate::task::Release;
use crate::tasks::{GiveBack, Lease};

/// Leases that nobody has taken into their hands yet. Dropped on the way, because the claimer has gone, they go back to
/// the queue at no cost of an attempt, rather than being held until they lapse.
#[derive(Debug)]
pub(super) struct Handover {
    wing: Weak<Wing>,
    leases: Vec<Lease>,
}

impl Handover {
    pub(super) fn new(wing: Weak<Wing>, leases: Vec<Lease>) -> Self {
        Self { wing, leases }
    }

    pub(super) fn accept(mut self) -> Vec<Lease> {
        std::mem::take(&mut self.leases)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let (Some(wing), leases) = (self.wing.upgrade(), std::mem::take(&mut self.leases)) else { return };
        wing.with(|store, now| {
            for Lease { fence, .. } in leases {
                let back = GiveBack {
                    fence,
                    reason: Release::Drained,
                    error: None,
                    delay: Duration::ZERO,
                    agent: None,
                    begun: false,
                };
                // Replaced or cancelled meanwhile: then there is nothing to give back.
                let _ = store.release(back, now);
            }
        });
    }
}
