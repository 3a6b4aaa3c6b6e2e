//! The room for messages of a single process: queues by address, asks by number, topics.
//!
//! Both embedded wings have this room; what they do not share is where a dead letter goes. Values are handed over as they are, and nothing waits but an asker for its answer and a recipient for its
//! next message.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::BoxFuture;
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::messages::{
    Address, Broadcast, DeadMessages, Inbox, Message, MessageCounts, Messages, ReplyTo, Subscription,
};
use crate::payload::Payload;
use crate::request::Table;

mod line;
mod mailbox;
mod topics;

pub(crate) use mailbox::Mailbox;
use mailbox::Refused;
use topics::Topics;

/// Counts the dead letters of messages on their way to where they are kept.
#[derive(Debug)]
struct Losses {
    kept: Arc<dyn DeadMessages>,
    count: AtomicU64,
}

impl Losses {
    fn unserved(&self, message: &Message) {
        self.bury(message, Reason::NoRecipient, &format!("nobody serves {}", message.to));
    }

    fn expired(&self, message: &Message) {
        self.bury(message, Reason::Expired, "its time had passed before it was taken");
    }
}

impl DeadMessages for Losses {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        self.count.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(to = %message.to, from = %message.from, reason = reason.as_str(), "dead letter");
        self.kept.bury(message, reason, why);
    }
}

/// The room.
pub(crate) struct Mailroom {
    /// The queues that are open, each with how many serve it.
    boxes: Mutex<HashMap<Address, (Arc<Mailbox>, usize)>>,
    asks: Table,
    topics: Topics,
    losses: Arc<Losses>,
    accepted: AtomicU64,
}

impl Mailroom {
    /// An empty room.
    pub(crate) fn new(dead: Arc<dyn DeadMessages>) -> Self {
        Self {
            boxes: Mutex::default(),
            asks: Table::default(),
            topics: Topics::default(),
            losses: Arc::new(Losses { kept: dead, count: AtomicU64::new(0) }),
            accepted: AtomicU64::new(0),
        }
    }

    fn boxes(&self) -> MutexGuard<'_, HashMap<Address, (Arc<Mailbox>, usize)>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message that nobody serves, here or elsewhere, becomes a dead letter.
    #[cfg(feature = "nats")]
    pub(crate) fn unserved(&self, message: &Message) {
        self.losses.unserved(message);
    }

    /// A message that waited too long, here or on its way, becomes a dead letter.
    #[cfg(feature = "nats")]
    pub(crate) fn expired(&self, message: &Message) {
        self.losses.expired(message);
    }

    /// How full the queue of an address is, if it is open.
    #[cfg(feature = "nats")]
    pub(crate) fn fill(&self, address: &Address) -> Option<crate::messages::Fill> {
        self.boxes().get(address).map(|(mailbox, _)| mailbox.fill())
    }

    /// The queue of an address, if it is open.
    pub(crate) fn find(&self, address: &Address) -> Option<Arc<Mailbox>> {
        self.boxes().get(address).map(|(mailbox, _)| mailbox.clone())
    }

    /// Puts a message into the queue of its address; the number under which it can be withdrawn.
    pub(crate) fn deliver(
        &self,
        message: Message,
        now: Instant,
        reply: impl FnOnce(&Message) -> Option<ReplyTo>,
    ) -> Result<(Arc<Mailbox>, u64)> {
        let Some(mailbox) = self.find(&message.to) else {
            self.losses.unserved(&message);
            return Err(Error::NoRecipient { to: message.to.to_string().into() });
        };
        self.deliver_to(mailbox, message, now, reply)
    }

    /// As [`deliver`](Self::deliver), into a queue that was found.
    pub(crate) fn deliver_to(
        &self,
        mailbox: Arc<Mailbox>,
        message: Message,
        now: Instant,
        reply: impl FnOnce(&Message) -> Option<ReplyTo>,
    ) -> Result<(Arc<Mailbox>, u64)> {
        if message.deadline <= now {
            self.losses.expired(&message);
            return Err(Error::Expired);
        }
        match mailbox.push(message, reply) {
            Ok(number) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok((mailbox, number))
            }
            Err(Refused::Full { to, retry_after }) => Err(Error::Busy { to: to.to_string().into(), retry_after }),
            Err(Refused::Closed(message)) => {
                self.losses.unserved(&message);
                Err(Error::NoRecipient { to: message.to.to_string().into() })
            }
        }
    }
}

/// Takes an ask out of its queue when the asker goes away before the recipient has taken it.
struct Withdrawal {
    mailbox: Arc<Mailbox>,
    number: u64,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.mailbox.withdraw(self.number);
    }
}

impl Messages for Mailroom {
    fn serve(&self, address: Address, limit: usize) -> Arc<dyn Inbox> {
        let open = || Arc::new(Mailbox::new(address.clone(), limit, self.losses.clone()));
        let mut boxes = self.boxes();
        let (mailbox, serve) = boxes.entry(address.clone()).or_insert_with(|| (open(), 0));
        *serve += 1;
        mailbox.clone()
    }

    fn close(&self, address: &Address) {
        let mut boxes = self.boxes();
        let Some((_, serve)) = boxes.get_mut(address) else { return };
        *serve -= 1;
        let closed = if *serve == 0 { boxes.remove(address) } else { None };
        drop(boxes);
        if let Some((mailbox, _)) = closed {
            mailbox.close();
        }
    }

    fn is_served(&self, address: &Address) -> bool {
        self.boxes().contains_key(address)
    }

    fn ask(&self, message: Message) -> BoxFuture<'_, Result<Payload>> {
        Box::pin(async move {
            let (asked, deadline, to) = (Instant::now(), message.deadline, message.to.clone());
            let late =
                move || Error::Deadline { to: to.to_string().into(), limit: deadline.saturating_duration_since(asked) };
            let pending = self.asks.open();
            let (asks, number, asker) = (self.asks.clone(), pending.number(), pending.asker());
            let reply = |message: &Message| {
                let send = move |answer| {
                    asks.answer(number, answer);
                };
                Some(ReplyTo::new(&message.to, asker, send))
            };
            let (mailbox, place) = match self.deliver(message, asked, reply) {
                Ok(delivered) => delivered,
                Err(Error::Expired) => return Err(late()),
                Err(refused) => return Err(refused),
            };
            let queued = Withdrawal { mailbox, number: place };
            match tokio::time::timeout_at(deadline, pending).await {
                Ok(answer) => answer,
                Err(_) => {
                    queued.mailbox.expire(queued.number);
                    Err(late())
                }
            }
        })
    }

    fn tell(&self, messages: Vec<Message>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move {
            let now = Instant::now();
            messages.into_iter().map(|message| self.deliver(message, now, |_| None).map(drop)).collect()
        })
    }

    fn broadcast(&self, broadcast: Broadcast) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.topics.send(broadcast) })
    }

    fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription> {
        self.topics.subscribe(topic, who)
    }

    fn counts(&self) -> MessageCounts {
        MessageCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            answered: self.asks.answered(),
            late: self.asks.late(),
            dead: self.losses.count.load(Ordering::Relaxed),
        }
    }
}
