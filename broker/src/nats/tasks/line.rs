//! Who waits at a desk, in turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::handover::Handover;
use super::prepare::Claimer;
use super::pull::Pulled;
use crate::error::Result;
use crate::id::TaskId;
use crate::task::{Priority, may_take};
use crate::tasks::{Claim, Lease, MAX_CLAIM};

/// The claimers, in the order in which they came.
#[derive(Default)]
pub(super) struct Line {
    waiters: Mutex<VecDeque<Waiter>>,
    tickets: AtomicU64,
    pub(super) changed: Notify,
}

pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) slots: usize,
    /// How many of them may be bulk.
    pub(super) bulk: usize,
    pub(super) by: Claimer,
    pub(super) declined: Vec<TaskId>,
    /// Its time is over: it takes what there is and goes.
    pub(super) leaving: bool,
    /// It was looked for it at least once.
    pub(super) looked: bool,
    pub(super) answer: oneshot::Sender<Result<Handover>>,
}

impl Waiter {
    /// Whether it has not declined a message, takes such ones, and may take it as far as is known.
    pub(super) fn wants(&self, id: Option<&TaskId>, pulled: &Pulled) -> bool {
        let has_room = self.bulk > 0 || !pulled.is_bulk;
        let may_take = has_room && may_take(self.by.serving.as_ref(), pulled.begun_by.as_ref());
        may_take && !id.is_some_and(|id| self.declined.contains(id))
    }

    /// Whether it has a slot left for a message beside its share.
    pub(super) fn has_room(&self, share: &[Pulled], pulled: &Pulled) -> bool {
        let bulk = || share.iter().filter(|pulled| pulled.is_bulk).count();
        share.len() < self.slots && (!pulled.is_bulk || bulk() < self.bulk)
    }
}

/// Takes a claimer out of the line when its future is dropped.
pub(super) struct Place<'a> {
    pub(super) line: &'a Line,
    pub(super) ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.waiters().retain(|waiter| waiter.ticket != self.ticket);
        self.line.changed.notify_one();
    }
}

impl Line {
    pub(super) fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a claimer; its number, and where its answer comes.
    pub(super) fn join(&self, claim: Claim) -> (u64, oneshot::Receiver<Result<Handover>>) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let Claim { slots, bulk, node, declined, serving, .. } = claim;
        let (slots, by) = (slots.clamp(1, MAX_CLAIM), Claimer { node, serving });
        let waiter =
            Waiter { ticket, slots, bulk: bulk.min(slots), by, declined, leaving: false, looked: false, answer };
        self.waiters().push_back(waiter);
        self.changed.notify_one();
        (ticket, answered)
    }

    pub(super) fn leave(&self, ticket: u64) {
        if let Some(waiter) = self.waiters().iter_mut().find(|waiter| waiter.ticket == ticket) {
            waiter.leaving = true;
        }
        self.changed.notify_one();
    }

    /// Whether anybody here has not declined it.
    pub(super) fn wants(&self, pulled: &Pulled) -> bool {
        let id = id_of(pulled);
        self.waiters().iter().any(|waiter| waiter.wants(id.as_ref(), pulled))
    }

    /// How many slots are wanted, and how many of them for bulk.
    pub(super) fn wanted(&self) -> (usize, usize) {
        let waiters = self.waiters();
        let all = waiters.iter().fold((0, 0), |(slots, bulk), waiter| (slots + waiter.slots, bulk + waiter.bulk));
        (all.0.min(MAX_CLAIM), all.1.min(MAX_CLAIM))
    }

    pub(super) fn take(&self, ticket: u64) -> Option<Waiter> {
        self.take_first(|waiter| waiter.ticket == ticket)
    }

    fn take_first(&self, is: impl Fn(&Waiter) -> bool) -> Option<Waiter> {
        let mut waiters = self.waiters();
        let at = waiters.iter().position(is)?;
        waiters.remove(at)
    }

    /// Who gets what was begun for a claimer: itself, or the same one who has come again meanwhile.
    pub(super) fn taker(&self, ticket: u64, by: &Claimer, leases: &[Lease]) -> Option<Waiter> {
        let bulk = leases.iter().filter(|lease| lease.task.priority == Priority::Bulk).count();
        self.take(ticket).or_else(|| {
            self.take_first(|waiter| {
                let declined = || leases.iter().any(|lease| waiter.declined.contains(&lease.task.id));
                waiter.by == *by && leases.len() <= waiter.slots && bulk <= waiter.bulk && !declined()
            })
        })
    }
}

pub(super) fn id_of(pulled: &Pulled) -> Option<TaskId> {
    super::entry::address(&pulled.subject).ok().map(|address| address.task)
}
