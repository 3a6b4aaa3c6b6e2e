//! How often an endpoint was asked, and how long its answers took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is counted while it happens.
#[derive(Default)]
pub(in crate::nats) struct Counts {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::nats) struct Counted {
    pub(in crate::nats) requests: u64,
    pub(in crate::nats) errors: u64,
    pub(in crate::nats) nanos: u64,
}

impl Counts {
    pub(in crate::nats) fn add(&self, failed: bool, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(failed.into(), Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(in crate::nats) fn read(&self) -> Counted {
        let read = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Counted { requests: read(&self.requests), errors: read(&self.errors), nanos: read(&self.nanos) }
    }
}
