//! The memory wing: everything in this process, gone at exit.
//!
//! One lock holds tasks, state, events and dead letters, so a record and what follows from it become visible together;
//! nothing waits while it holds the lock, and nothing is encoded that nobody reads. Messages have a room of their own.
//! One timer task wakes up for what time alone brings: lapsed claims, deadlines, delays, waits that are over.
//!
//! # Limits
//! What would grow for ever is bounded by [`Options`]: the oldest events, changes and finished runs are forgotten.
//! A reader that needed a forgotten one is told so; nothing unfinished and no dead letter of a task is ever forgotten.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Broker;
use crate::clock::{Clock, Millis};
use crate::dead_letter::Reason;
use crate::facts;
use crate::messages::{DeadMessages, Message};
use crate::queue;
use crate::state::SNAPSHOT_EVERY;

mod dead;
mod events;
mod handover;
pub(crate) mod mailroom;
mod states;
mod store;
mod tasks;
#[cfg(test)]
mod tests;

use handover::Handover;
use mailroom::Mailroom;
use store::Store;

/// What a memory wing may hold, and its clock.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clock. Default: the system's.
    pub clock: Clock,
    /// Unfinished tasks and their bytes. Default: 1,000,000 and 1 GiB; more are refused with `Busy`.
    pub queue: queue::Limits,
    /// The newest so many finished tasks are kept, in whole runs: a run is forgotten only after it has ended, and never
    /// while a dead letter of it is there. What is kept anyway does not count. Its state is forgotten with it. Default
    /// 100,000.
    pub finished: usize,
    /// The newest so many events are kept. Default 100,000.
    pub events: usize,
    /// The newest so many changes of state are kept, and with them history and the past. Default 100,000.
    pub changes: usize,
    /// State entries. For one more the state of runs that are over makes room; when there is none, it is refused with
    /// `Busy`. Default 100,000.
    pub keys: usize,
    /// Changes between two snapshots of all state, and at least as many as there are entries: so all snapshots together
    /// take no more room than the changes between them. Default 100.
    pub snapshot_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            queue: queue::Limits::default(),
            finished: 100_000,
            events: 100_000,
            changes: 100_000,
            keys: 100_000,
            snapshot_every: SNAPSHOT_EVERY,
        }
    }
}

/// Opens a store that lives as long as the broker that it returns (and whatever was cloned from that).
///
/// # Panics
/// Outside a tokio runtime, whose timer it needs.
pub fn open(options: Options) -> Broker {
    let clock = options.clock.clone();
    let wing = Arc::new_cyclic(|weak| Wing {
        weak: weak.clone(),
        clock: clock.clone(),
        store: Mutex::new(Store::new(&options)),
        recorded: watch::Sender::new(0),
        alarm: Arc::default(),
    });
    tokio::spawn(keep_time(Arc::downgrade(&wing), wing.alarm.clone()));
    Broker {
        messages: Arc::new(Mailroom::new(wing.clone())),
        tasks: wing.clone(),
        states: wing.clone(),
        events: wing.clone(),
        dead: wing,
        blobs: None,
        clock,
        about: "memory".into(),
    }
}

/// The store behind its lock, and who is woken by what changes in it.
struct Wing {
    weak: Weak<Self>,
    clock: Clock,
    store: Mutex<Store>,
    /// The number of the newest event, for those who follow.
    recorded: watch::Sender<u64>,
    /// Wakes the timer when something is due earlier than it knows, and when the store goes.
    alarm: Arc<Notify>,
}

impl Wing {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due, then `act`, then hands out what has become ready. Whoever is woken is woken after the lock is
    /// released, because a claimer that has gone gives its tasks back under the same lock.
    fn with<T>(&self, act: impl FnOnce(&mut Store, Millis) -> T) -> T {
        let mut store = self.lock();
        let now = store.tick(self.clock.now());
        let result = act(&mut store, now);
        store.feed(now);
        let (handed_out, newest, earlier) = (store.take_handed_out(), store.events.last(), store.is_due_earlier());
        drop(store);
        for (claimer, leases) in handed_out {
            // A claimer that has gone drops the handover, which gives the tasks back.
            let _ = claimer.send(Handover::new(self.weak.clone(), leases));
        }
        self.recorded.send_if_modified(|last| std::mem::replace(last, newest) != newest);
        if earlier {
            self.alarm.notify_one();
        }
        result
    }

    /// When the timer has to look again.
    fn arm(&self) -> Option<Instant> {
        self.with(|_, _| ());
        let at = self.lock().arm();
        at.map(|at| self.clock.instant(at))
    }
}

impl Drop for Wing {
    fn drop(&mut self) {
        self.alarm.notify_one();
    }
}

impl fmt::Debug for Wing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory::Wing")
    }
}

impl DeadMessages for Wing {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        let letter = facts::dead_message(message, reason, Some(why.into()));
        self.with(|store, now| store.dead.keep(letter, now));
    }
}

async fn keep_time(wing: Weak<Wing>, alarm: Arc<Notify>) {
    while let Some(next) = wing.upgrade().map(|wing| wing.arm()) {
        match next {
            Some(at) => drop(tokio::time::timeout_at(at, alarm.notified()).await),
            None => alarm.notified().await,
        }
    }
}
