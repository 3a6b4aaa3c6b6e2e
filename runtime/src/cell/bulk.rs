//! Bulk work takes only some of a cell's slots, so that one is free when something urgent comes.
//!
//! How many is counted here: before a claim, because what is claimed and cannot begin keeps another node from it, and
//! while it runs. What waits for its own children has no slot, and counts for nothing meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Of so many slots, how many the `n`th cell (from 1) may use for bulk, when `reserve` of those of all `cells` are kept
/// free of it. The last cells keep them; the first slot of a pool is for anything.
pub(super) fn allowed(n: usize, cells: usize, slots: usize, reserve: usize) -> usize {
    let all = cells.saturating_mul(slots);
    let bulk = all.saturating_sub(reserve).max(1);
    bulk.saturating_sub(n.saturating_sub(1).saturating_mul(slots)).min(slots)
}

/// Bulk work of one cell.
pub(super) struct Bulk {
    at_work: AtomicUsize,
    /// How much may be, which changes with the size of the pool.
    allowed: Box<dyn Fn() -> usize + Send + Sync>,
    /// Told when there may be room, in all cells of the pool.
    room: Arc<Notify>,
}

/// That something counts as bulk work, until it is dropped.
pub(super) struct Share(Arc<Bulk>);

impl Bulk {
    pub(super) fn new(room: Arc<Notify>, allowed: impl Fn() -> usize + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { at_work: AtomicUsize::new(0), allowed: Box::new(allowed), room })
    }

    /// Up to `most` shares, of those that are left.
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Vec<Share> {
        let allowed = (self.allowed)();
        let room = |at_work: usize| allowed.saturating_sub(at_work).min(most);
        let taken = self.at_work.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| Some(n + room(n)));
        (0..taken.map_or(0, room)).map(|_| Share(self.clone())).collect()
    }

    /// One, whatever is allowed: it goes on with what it began.
    pub(super) fn again(self: &Arc<Self>) -> Share {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        Share(self.clone())
    }

    /// A share, once one is left.
    pub(super) async fn take_in_turn(self: &Arc<Self>) -> Share {
        loop {
            self.until_room().await;
            if let Some(share) = self.take(1).pop() {
                return share;
            }
        }
    }

    /// Waits until less is at work than may be.
    pub(super) async fn until_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Registered before the look, or a change between the two would be missed.
            room.as_mut().enable();
            if self.at_work.load(Ordering::Acquire) < (self.allowed)() {
                return;
            }
            room.await;
        }
    }
}

impl Share {
    /// Whose it is.
    pub(super) fn of(&self) -> &Arc<Bulk> {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::AcqRel);
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cells_of_a_pool_keep_what_is_reserved_and_one_slot_is_for_anything() {
        let of = |cells, slots, reserve| (1..=cells).map(|n| allowed(n, cells, slots, reserve)).collect::<Vec<_>>();
        assert_eq!(of(1, 8, 1), [7]);
        assert_eq!(of(4, 1, 1), [1, 1, 1, 0]);
        assert_eq!(of(3, 4, 5), [4, 3, 0]);
        assert_eq!(of(2, 2, 0), [2, 2]);
        assert_eq!(of(1, 1, 1), [1], "one is left");
        assert_eq!(of(2, 2, 9), [1, 0]);
        assert_eq!(allowed(5, 4, 1, 1), 0, "a cell that is about to go");
    }

    #[tokio::test(start_paused = true)]
    async fn shares_are_given_back_and_who_waits_for_one_is_told() {
        let bulk = Bulk::new(Arc::default(), || 2);
        let mut taken = bulk.take(9);
        assert_eq!((taken.len(), bulk.take(9).len()), (2, 0));
        let again = bulk.again();
        let waiting = tokio::spawn({
            let bulk = bulk.clone();
            async move { bulk.take_in_turn().await }
        });
        tokio::task::yield_now().await;
        drop(again);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "two are at work");
        taken.pop();
        let _share = waiting.await.unwrap();
        assert!(bulk.take(1).is_empty());
    }
}
