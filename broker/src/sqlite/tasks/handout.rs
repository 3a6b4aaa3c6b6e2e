//! Tasks on their way to a claimer, and what becomes of them when he has gone.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::job::Cost;
use super::super::writer::WeakWriter;
use super::attempt;
use crate::task::Release;
use crate::tasks::{GiveBack, Lease};

/// Claimed tasks that nobody has taken yet. Dropped, they go back to the queue at no cost of an attempt.
pub(in super::super) struct Handout {
    leases: Vec<Lease>,
    home: WeakWriter,
}

impl Handout {
    pub(super) fn new(leases: Vec<Lease>, home: WeakWriter) -> Self {
        Self { leases, home }
    }

    /// They are the caller's now.
    pub(super) fn take(mut self) -> Vec<Lease> {
        std::mem::take(&mut self.leases)
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        let Some(writer) = (!self.leases.is_empty()).then(|| self.home.upgrade()).flatten() else { return };
        for Lease { fence, .. } in self.leases.drain(..) {
            let back = GiveBack {
                fence,
                reason: Release::Drained,
                error: None,
                delay: Duration::ZERO,
                agent: None,
                begun: false,
            };
            // A claim that holds no longer needs no giving back.
            writer.post(Cost::write(0), move |turn| attempt::release(turn, &back).map(|_| ()));
        }
    }
}

/// A claimer that waits in the writer. Dropped, it waits no longer.
pub(in super::super) struct Parked {
    ticket: u64,
    home: WeakWriter,
    answer: oneshot::Receiver<Handout>,
    served: bool,
}

impl Parked {
    pub(super) fn new(ticket: u64, home: WeakWriter, answer: oneshot::Receiver<Handout>) -> Self {
        Self { ticket, home, answer, served: false }
    }

    /// What came; none when the store was closed.
    pub(super) async fn wait(mut self) -> Option<Handout> {
        let handout = (&mut self.answer).await.ok();
        self.served = true;
        handout
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let ticket = self.ticket;
        if let Some(writer) = (!self.served).then(|| self.home.upgrade()).flatten() {
            writer.post(Cost::touch(), move |turn| {
                turn.core.tasks.unpark(ticket);
                Ok(())
            });
        }
    }
}
