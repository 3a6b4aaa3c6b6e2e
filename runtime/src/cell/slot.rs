//! A slot is needed to be polled, not to wait.
//!
//! A parent that waits for its children gives its slot back, so that nested delegation deeper than a pool is wide
//! cannot starve. Whether a handler waits is only known when its future has returned `Pending`: so the slot is taken
//! before each poll and given back after a poll that leaves nothing open but waits for tasks. A handler therefore never
//! runs without a slot, however it combines its calls, and never holds one while it sleeps on its children.
//!
//! Who stands in a line (for the state of a stateful agent) keeps its slot, or else all that stand there would be claimed
//! at once. But whoever has the turn may have slept on a child meanwhile and need a slot to go on: so those who stand in
//! line lend theirs to those who come back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::bulk::{Bulk, Share};
use super::load::Load;

/// After how long without a slot changing hands those who hold them are taken to need them for long.
pub(super) const STUCK: Duration = Duration::from_millis(50);

/// The slots of one cell: how many requests it works on at a time. Who waits for one gets it in turn.
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    /// Told at every change, for those who wait for more or fewer of them.
    changed: Notify,
    /// How often a task was begun in one, and how often one was given back.
    begun: AtomicU64,
    given_back: AtomicU64,
    lending: Arc<Lending>,
    /// What of it is bulk.
    pub(super) bulk: Arc<Bulk>,
}

/// The slots that nobody needs at the moment, of a cell and of what it answers beside its own.
#[derive(Default)]
struct Lending {
    /// How many are held by those who stand in line, and how many who came back run meanwhile.
    lent: AtomicUsize,
    borrowed: AtomicUsize,
    /// Told when there may be one more to borrow.
    more: Notify,
}

impl Lending {
    fn borrow(&self) -> bool {
        let lent = self.lent.load(Ordering::Acquire);
        let one_more = |n| (n < lent).then_some(n + 1);
        self.borrowed.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    async fn until_borrowed(&self) {
        loop {
            let mut more = std::pin::pin!(self.more.notified());
            // Registered before the look, or a change between the two would be missed.
            more.as_mut().enable();
            if self.borrow() {
                return;
            }
            more.await;
        }
    }
}

/// A slot, given back on drop.
pub(crate) struct Permit {
    /// None when it is borrowed.
    held: Option<OwnedSemaphorePermit>,
    slots: Arc<Slots>,
    /// When bulk runs in it.
    share: Option<Share>,
}

impl Slots {
    pub(super) fn new(n: usize, bulk: Arc<Bulk>) -> Arc<Self> {
        Self::of(n, Arc::default(), bulk)
    }

    /// One slot beside these. Whoever stands in line there lends it to those here.
    pub(super) fn beside(&self) -> Arc<Self> {
        Self::of(1, self.lending.clone(), self.bulk.clone())
    }

    fn of(n: usize, lending: Arc<Lending>, bulk: Arc<Bulk>) -> Arc<Self> {
        let (free, changed) = (Arc::new(Semaphore::new(n)), Notify::new());
        let (begun, given_back) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { free, changed, begun, given_back, lending, bulk })
    }

    /// Free slots at this moment.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A slot, if one is free now.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        self.free.clone().try_acquire_owned().ok().map(|held| self.permit(Some(held)))
    }

    /// A slot, in the order of asking; `None` when the cell is going away.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Permit> {
        self.free.clone().acquire_owned().await.ok().map(|held| self.permit(Some(held)))
    }

    /// A slot for one who had one before: as [`take`](Self::take), or one that is lent.
    async fn take_again(self: &Arc<Self>) -> Option<Permit> {
        tokio::select! {
            biased;
            permit = self.take() => permit,
            () = self.lending.until_borrowed() => Some(self.permit(None)),
        }
    }

    /// The holder of one has no use for it until this is dropped.
    fn lend(&self) -> Lent {
        self.lending.lent.fetch_add(1, Ordering::AcqRel);
        self.lending.more.notify_waiters();
        Lent(self.lending.clone())
    }

    /// A slot for bulk or for anything else, in the order of asking; `share` is one that is there already.
    pub(super) async fn take_for(self: &Arc<Self>, is_bulk: bool, share: Option<Share>) -> Option<Permit> {
        let share = match share {
            None if is_bulk => Some(self.bulk.take_in_turn().await),
            share => share,
        };
        self.take().await.map(|slot| slot.with(share))
    }

    /// Waits until a slot is free, without taking it.
    pub(crate) async fn until_free(&self) {
        self.until(|free| free > 0).await;
    }

    /// Waits until no slot is free.
    pub(crate) async fn until_full(&self) {
        self.until(|free| free == 0).await;
    }

    /// Waits until a slot is free, without taking it; but once `wanted` it waits its turn, and the slot is given.
    pub(crate) async fn turn(self: &Arc<Self>, wanted: impl Fn() -> bool) -> Option<Permit> {
        self.until(|free| free > 0 || wanted()).await;
        if self.free() > 0 { None } else { self.take().await }
    }

    /// A task has been begun in a slot.
    pub(crate) fn note_begun(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Waits until fewer than `n` slots are free for tasks: another task was begun in one, or none has changed hands for a
    /// while. Short requests that come and go leave a task its turn.
    pub(crate) async fn until_short_of(&self, n: usize) {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        let begun = read(&self.begun);
        loop {
            self.until(|free| free < n).await;
            let given_back = read(&self.given_back);
            let task = self.until(|free| free < n && read(&self.begun) != begun);
            if tokio::time::timeout(STUCK, task).await.is_ok() {
                return;
            }
            if self.free() < n && read(&self.given_back) == given_back {
                return;
            }
        }
    }

    async fn until(&self, reached: impl Fn(usize) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, or a change between the two would be missed.
            changed.as_mut().enable();
            if reached(self.free()) {
                return;
            }
            changed.await;
        }
    }

    fn permit(self: &Arc<Self>, held: Option<OwnedSemaphorePermit>) -> Permit {
        self.changed.notify_waiters();
        Permit { held, slots: self.clone(), share: None }
    }
}

impl Permit {
    /// The slot, for bulk if there is a share.
    pub(super) fn with(mut self, share: Option<Share>) -> Self {
        self.share = share;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Who sees the slot finds the share too.
        self.share = None;
        if self.held.take().is_none() {
            self.slots.lending.borrowed.fetch_sub(1, Ordering::AcqRel);
            self.slots.lending.more.notify_waiters();
        }
        self.slots.given_back.fetch_add(1, Ordering::AcqRel);
        self.slots.changed.notify_waiters();
    }
}

/// A slot that its holder has no use for. Takes back nothing: who borrowed it is about to be done with it.
struct Lent(Arc<Lending>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.lent.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Slot {
    Held(#[expect(dead_code, reason = "held for its drop")] Permit),
    Free,
    Wanted(Pin<Box<dyn Future<Output = Option<Permit>> + Send>>),
}

/// Runs a handler's future in slots of its cell.
pub(crate) struct Slotted<F> {
    inner: Pin<Box<F>>,
    slots: Arc<Slots>,
    load: Arc<Load>,
    /// When it is bulk, where that is counted.
    bulk: Option<Arc<Bulk>>,
    /// Before the slot, so that what is given back is no longer lent.
    lent: Option<Lent>,
    slot: Slot,
}

impl<F: Future> Slotted<F> {
    /// `held` is the slot that was taken for the start, if one was.
    pub(crate) fn new(inner: F, slots: Arc<Slots>, load: Arc<Load>, held: Option<Permit>) -> Self {
        let bulk = held.as_ref().and_then(|held| Some(held.share.as_ref()?.of().clone()));
        let slot = held.map_or(Slot::Free, Slot::Held);
        Self { inner: Box::pin(inner), slots, load, bulk, lent: None, slot }
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.slot {
                Slot::Held(_) => return Poll::Ready(()),
                Slot::Free => {
                    let slots = self.slots.clone();
                    self.slot = Slot::Wanted(Box::pin(async move { slots.take_again().await }));
                }
                Slot::Wanted(wanted) => match ready!(wanted.as_mut().poll(cx)) {
                    Some(permit) => self.slot = Slot::Held(permit.with(self.bulk.as_ref().map(Bulk::again))),
                    // The slots are closed: the cell is going away and will drop this future.
                    None => return Poll::Pending,
                },
            }
        }
    }
}

impl<F: Future> Future for Slotted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.poll_slot(cx));
        self.lent = None;
        let output = self.inner.as_mut().poll(cx);
        if output.is_pending() {
            if self.load.only_waits() {
                self.slot = Slot::Free;
            } else if self.load.only_stands_in_line() {
                self.lent = Some(self.slots.lend());
            }
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callboard_broker::id::TaskId;

    use super::*;

    fn slots(n: usize) -> Arc<Slots> {
        Slots::new(n, Bulk::new(Arc::default(), move || n))
    }

    async fn parent(load: Arc<Load>, children: tokio::sync::oneshot::Receiver<u32>) -> u32 {
        let _open = load.wait(&TaskId::parse("t1").unwrap(), false);
        children.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_waits_leaves_its_slot_to_its_child() {
        let slots = slots(1);
        let (done, children) = tokio::sync::oneshot::channel();
        let load = Arc::new(Load::default());
        let waiting = tokio::spawn(Slotted::new(parent(load.clone(), children), slots.clone(), load, None));
        let child = Slotted::new(async { 7 }, slots, Arc::default(), None);
        let answer = tokio::time::timeout(Duration::from_secs(1), child).await.expect("the only slot is free");
        done.send(answer).unwrap();
        assert_eq!(waiting.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_with_another_call_open_keeps_its_slot() {
        let slots = slots(1);
        let load = Arc::new(Load::default());
        let (_never, children) = tokio::sync::oneshot::channel();
        let busy = load.clone();
        let both = async move {
            let _call = busy.call();
            parent(busy.clone(), children).await
        };
        let _running = tokio::spawn(Slotted::new(both, slots.clone(), load, None));
        tokio::task::yield_now().await;
        assert_eq!(slots.free(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_taken_in_turn_once_something_waits_for_it() {
        let slots = slots(1);
        assert!(slots.turn(|| false).await.is_none(), "it is free: no need to stand in line");
        let held = slots.try_take().unwrap();
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.turn(|| true).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert!(slots.try_take().is_none(), "it goes to who stood in line");
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_short_when_a_task_began_or_nothing_moves_and_not_while_short_requests_come_and_go() {
        let slots = slots(2);
        let is_short =
            async |ms| tokio::time::timeout(Duration::from_millis(ms), slots.until_short_of(2)).await.is_ok();
        let flood = tokio::spawn({
            let slots = slots.clone();
            async move {
                loop {
                    let _held = slots.take().await;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
        });
        assert!(!is_short(1_000).await, "short requests");
        flood.abort();
        assert!(flood.await.is_err());
        let _long = slots.try_take();
        assert!(!is_short(40).await && is_short(60).await, "a long request");
        let begins = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            slots.note_begun();
        };
        let (short, ()) = tokio::join!(is_short(20), begins);
        assert!(short, "another task");
    }

    /// The loop in which a lead replans: one child is done, the others are still waited for.
    #[tokio::test(start_paused = true)]
    async fn a_handler_that_was_woken_by_one_child_sleeps_without_a_slot_again() {
        let slots = slots(1);
        let load = Arc::new(Load::default());
        let (first, one) = tokio::sync::oneshot::channel();
        let (_second, two) = tokio::sync::oneshot::channel();
        let inner = {
            let load = load.clone();
            async move {
                let mut two = Box::pin(parent(load.clone(), two));
                tokio::select! { _ = parent(load.clone(), one) => {}, _ = &mut two => {} }
                two.await
            }
        };
        let _running = tokio::spawn(Slotted::new(inner, slots.clone(), load, None));
        tokio::task::yield_now().await;
        first.send(1).unwrap();
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.free(), 1, "the second wait is all that is left");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_in_line_lends_its_slot_to_who_comes_back_and_to_nobody_else() {
        let slots = slots(1);
        let (done, children) = tokio::sync::oneshot::channel();
        let (turn, line) = tokio::sync::oneshot::channel();
        let load = Arc::new(Load::default());
        let has_turn = {
            let load = load.clone();
            async move {
                let sum = parent(load, children).await;
                turn.send(sum).unwrap();
                sum
            }
        };
        let begun = tokio::spawn(Slotted::new(has_turn, slots.clone(), load, None));
        tokio::task::yield_now().await;
        let load = Arc::new(Load::default());
        let standing = {
            let load = load.clone();
            async move {
                let _line = load.line();
                line.await.unwrap()
            }
        };
        let next = tokio::spawn(Slotted::new(standing, slots.clone(), load, None));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        assert!(slots.try_take().is_none(), "nobody begins in a slot that is lent");
        done.send(3).unwrap();
        let both = async { (begun.await.unwrap(), next.await.unwrap()) };
        assert_eq!(tokio::time::timeout(Duration::from_secs(1), both).await.expect("neither waits for ever"), (3, 3));
        let left = [&slots.lending.lent, &slots.lending.borrowed].map(|of| of.load(Ordering::Acquire));
        assert_eq!((slots.free(), left), (1, [0, 0]));
    }
}
