//! A slot is needed to be polled, not to wait.
//!
//! A parent that waits for its children gives its slot back, so that nested delegation deeper than a pool is wide
//! cannot starve. Whether a handler waits is only known when its future has returned `Pending`: so the slot is taken
//! before each poll and given back after a poll that leaves nothing open but waits for tasks. A handler therefore never
//! runs without a slot, however it combines its calls, and never holds one while it sleeps on its children.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use callboard_broker::id::TaskId;
use callboard_broker::tasks::MAX_PARK;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// After how long without a slot changing hands those who hold them are taken to need them for long.
const STUCK: Duration = Duration::from_millis(50);

/// The slots of one cell: how many requests it works on at a time. Who waits for one gets it in turn.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    /// Told at every change, for those who wait for more or fewer of them.
    changed: Notify,
    /// How often a task was begun in one, and how often one was given back.
    begun: AtomicU64,
    given_back: AtomicU64,
}

/// A slot, given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    held: Option<OwnedSemaphorePermit>,
    slots: Arc<Slots>,
}

impl Slots {
    pub(crate) fn new(n: usize) -> Arc<Self> {
        let (free, changed) = (Arc::new(Semaphore::new(n)), Notify::new());
        Arc::new(Self { free, changed, begun: AtomicU64::new(0), given_back: AtomicU64::new(0) })
    }

    /// Free slots at this moment.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A slot, if one is free now.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        self.free.clone().try_acquire_owned().ok().map(|held| self.permit(held))
    }

    /// A slot, in the order of asking; `None` when the cell is going away.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Permit> {
        self.free.clone().acquire_owned().await.ok().map(|held| self.permit(held))
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

    fn permit(self: &Arc<Self>, held: OwnedSemaphorePermit) -> Permit {
        self.changed.notify_waiters();
        Permit { held: Some(held), slots: self.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held = None;
        self.slots.given_back.fetch_add(1, Ordering::AcqRel);
        self.slots.changed.notify_waiters();
    }
}

/// What a handler has open at the moment.
#[derive(Debug, Default)]
pub(crate) struct Load {
    waits: AtomicUsize,
    calls: AtomicUsize,
    on: Mutex<On>,
    changed: Notify,
}

/// The tasks that a handler waits for, and how many times each.
#[derive(Debug, Default)]
struct On(HashMap<TaskId, (usize, bool)>);

impl On {
    fn tasks(&self) -> Vec<TaskId> {
        let mut tasks: Vec<TaskId> = self.0.keys().cloned().collect();
        tasks.sort();
        tasks
    }

    fn is_for_people(&self) -> bool {
        self.0.values().any(|(_, human)| *human)
    }
}

impl Load {
    /// A wait for a task, until the guard is dropped; whether a person is to do it.
    pub(crate) fn wait(self: &Arc<Self>, task: &TaskId, human: bool) -> Wait {
        let mut on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        on.0.entry(task.clone()).or_insert((0, human)).0 += 1;
        drop(on);
        Wait { load: self.clone(), task: task.clone(), _open: Open::new(self, |load| &load.waits) }
    }

    /// Any other call, until the guard is dropped.
    pub(crate) fn call(self: &Arc<Self>) -> Open {
        Open::new(self, |load| &load.calls)
    }

    /// Resolves when nothing is open but waits for tasks: what such a handler waits for may need another node.
    pub(crate) async fn until_only_waits(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.only_waits() {
                return;
            }
            changed.await;
        }
    }

    /// Resolves when nothing has been open but waits for tasks for `long`, and with what is waited for; at once when a
    /// person is among those.
    pub(crate) async fn until_parkable(&self, long: Duration) -> Vec<TaskId> {
        loop {
            self.until_only_waits().await;
            let changed = async {
                loop {
                    let mut changed = std::pin::pin!(self.changed.notified());
                    changed.as_mut().enable();
                    if !self.only_waits() || self.on.lock().unwrap_or_else(PoisonError::into_inner).is_for_people() {
                        return;
                    }
                    changed.await;
                }
            };
            // Waits that end and begin keep it at work: what it waits for does not take long.
            let _ = tokio::time::timeout(long, changed).await;
            let on = self.on.lock().unwrap_or_else(PoisonError::into_inner).tasks();
            if self.only_waits() && !on.is_empty() && on.len() <= MAX_PARK {
                return on;
            }
            tokio::time::sleep(STUCK).await;
        }
    }

    fn only_waits(&self) -> bool {
        self.waits.load(Ordering::Acquire) > 0 && self.calls.load(Ordering::Acquire) == 0
    }
}

/// One open wait for a task.
pub(crate) struct Wait {
    load: Arc<Load>,
    task: TaskId,
    _open: Open,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut on = self.load.on.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((waits, _)) = on.0.get_mut(&self.task) {
            *waits -= 1;
            if *waits == 0 {
                on.0.remove(&self.task);
            }
        }
    }
}

/// One open call of a handler.
pub(crate) struct Open(Arc<Load>, fn(&Load) -> &AtomicUsize);

impl Open {
    fn new(load: &Arc<Load>, which: fn(&Load) -> &AtomicUsize) -> Self {
        which(load).fetch_add(1, Ordering::AcqRel);
        load.changed.notify_waiters();
        Self(load.clone(), which)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
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
    slot: Slot,
}

impl<F: Future> Slotted<F> {
    /// `held` is the slot that was taken for the start, if one was.
    pub(crate) fn new(inner: F, slots: Arc<Slots>, load: Arc<Load>, held: Option<Permit>) -> Self {
        let slot = held.map_or(Slot::Free, Slot::Held);
        Self { inner: Box::pin(inner), slots, load, slot }
    }

    fn poll_slot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.slot {
                Slot::Held(_) => return Poll::Ready(()),
                Slot::Free => {
                    let slots = self.slots.clone();
                    self.slot = Slot::Wanted(Box::pin(async move { slots.take().await }));
                }
                Slot::Wanted(wanted) => match ready!(wanted.as_mut().poll(cx)) {
                    Some(permit) => self.slot = Slot::Held(permit),
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
        let output = self.inner.as_mut().poll(cx);
        if output.is_pending() && self.load.only_waits() {
            self.slot = Slot::Free;
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn parent(load: Arc<Load>, children: tokio::sync::oneshot::Receiver<u32>) -> u32 {
        let _open = load.wait(&TaskId::parse("t1").unwrap(), false);
        children.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_waits_leaves_its_slot_to_its_child() {
        let slots = Slots::new(1);
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
        let slots = Slots::new(1);
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
        let slots = Slots::new(1);
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
        let slots = Slots::new(2);
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
        let slots = Slots::new(1);
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
}
