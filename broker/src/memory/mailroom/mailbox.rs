//! The queue of one address.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::Losses;
use super::line::Line;
use crate::BoxFuture;
use crate::error::Error;
use crate::messages::{Address, Fill, Inbox, Incoming, Message, ReplyTo};

/// What a refused sender is told to wait when the pace of the recipient is not known yet, and the bounds otherwise.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A bounded queue. Its places are a semaphore's permits: a message holds one from its arrival until its recipient is
/// done with it, so what waits and what runs count together.
pub(crate) struct Mailbox {
    address: Address,
    limit: usize,
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Told of each that came through somebody.
    came_through: Notify,
    refused: AtomicU64,
    losses: Arc<Losses>,
}

#[derive(Default)]
struct Waiting {
    messages: Line<Incoming>,
    closed: bool,
    taken_at: Option<Instant>,
    /// A moving average of the time between two takes.
    pace: Option<Duration>,
}

impl Waiting {
    fn note_take(&mut self, now: Instant) {
        if let Some(before) = self.taken_at.replace(now) {
            let gap = now.duration_since(before);
            self.pace = Some(self.pace.map_or(gap, |pace| (pace * 7 + gap) / 8));
        }
    }
}

/// Why a message was not taken in.
pub(super) enum Refused {
    Full { to: Address, retry_after: Duration },
    Closed(Box<Message>),
}

impl Mailbox {
    pub(super) fn new(address: Address, limit: usize, losses: Arc<Losses>) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            address,
            limit,
            places: Arc::new(Semaphore::new(limit)),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            came_through: Notify::new(),
            refused: AtomicU64::new(0),
            losses,
        }
    }

    /// Takes a message in, with the reply that `reply` makes for it; the number under which it can be withdrawn.
    pub(super) fn push(
        &self,
        message: Message,
        reply: impl FnOnce(&Message) -> Option<ReplyTo>,
    ) -> Result<u64, Refused> {
        let Some(place) = self.place() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let pace = self.waiting().pace.map_or(RETRY_FIRST, |pace| pace.clamp(RETRY_MIN, RETRY_MAX));
            return Err(Refused::Full { to: message.to, retry_after: pace });
        };
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Refused::Closed(Box::new(message)));
        }
        let (reply, came_through) = (reply(&message), !message.hops.is_empty());
        let number = waiting.messages.push(Incoming { message, reply, place, dead: self.losses.clone() });
        drop(waiting);
        if came_through {
            self.came_through.notify_waiters();
        }
        self.arrived.notify_one();
        Ok(number)
    }

    /// A place, if need be one that an expired message still holds.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        self.sweep();
        self.places.clone().try_acquire_owned().ok()
    }

    /// Removes a message that nobody wants any more, if it has not been taken.
    pub(crate) fn withdraw(&self, number: u64) {
        let withdrawn = self.waiting().messages.remove(number);
        if let Some(reply) = withdrawn.and_then(|incoming| incoming.reply) {
            reply.forget();
        }
    }

    /// Makes a message whose time is over a dead letter, if it has not been taken.
    pub(crate) fn expire(&self, number: u64) {
        let expired = self.waiting().messages.remove(number);
        self.bury(expired);
    }

    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.messages);
        drop(waiting);
        for incoming in left {
            match incoming.reply {
                Some(reply) => reply.send(Err(Error::Undelivered { to: self.address.to_string().into() })),
                None => self.losses.unserved(&incoming.message),
            }
        }
    }

    /// How many wait and run, without waiting for anybody.
    pub(crate) fn held(&self) -> usize {
        self.limit - self.places.available_permits()
    }

    fn take(&self, next: impl Fn(&mut Line<Incoming>) -> Option<Incoming>) -> Option<Incoming> {
        loop {
            let now = Instant::now();
            let mut waiting = self.waiting();
            let incoming = next(&mut waiting.messages)?;
            let wanted = incoming.reply.as_ref().is_none_or(ReplyTo::is_wanted);
            let in_time = incoming.message.deadline > now;
            if wanted && in_time {
                waiting.note_take(now);
                return Some(incoming);
            }
            drop(waiting);
            match incoming.reply {
                Some(reply) if !wanted => reply.forget(),
                reply => self.bury([Incoming { reply, ..incoming }]),
            }
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        let expired = self.waiting().messages.take(|incoming| incoming.message.deadline <= now);
        self.bury(expired);
    }

    fn bury(&self, expired: impl IntoIterator<Item = Incoming>) {
        for incoming in expired {
            self.losses.expired(&incoming.message);
            // Its asker has its own timer and is not told a second time.
            if let Some(reply) = incoming.reply {
                reply.forget();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox for Mailbox {
    fn next(&self) -> BoxFuture<'_, Incoming> {
        Box::pin(async move {
            // A recipient whose queue is never empty steps aside for its neighbours all the same.
            consume_budget().await;
            loop {
                if let Some(incoming) = self.take(Line::pop) {
                    return incoming;
                }
                self.arrived.notified().await;
            }
        })
    }

    fn next_through<'a>(&'a self, agent: &'a str) -> BoxFuture<'a, Incoming> {
        let passed = |incoming: &Incoming| incoming.came_through(agent);
        Box::pin(async move {
            loop {
                let mut arrived = std::pin::pin!(self.came_through.notified());
                // Registered before the look, or one that comes between the two would be missed.
                arrived.as_mut().enable();
                if let Some(incoming) = self.take(|line| line.take_first(passed)) {
                    return incoming;
                }
                arrived.await;
            }
        })
    }

    fn fill(&self) -> Fill {
        Fill {
            waiting: self.waiting().messages.len(),
            held: self.held(),
            limit: self.limit,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}
