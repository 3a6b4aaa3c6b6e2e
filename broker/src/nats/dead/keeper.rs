//! Keeping dead letters: those of tasks before the task leaves its queue, those of messages beside.
//!
//! A sender has its error by the time its message becomes a letter, so nobody waits for that: it goes through a queue
//! with a limit, and what finds it full is dropped and logged. A task's letter is waited for, and stored once.

use std::fmt;
use std::sync::Arc;

use async_nats::HeaderMap;
use tokio::sync::{mpsc, oneshot};

use super::letter;
use crate::clock::Millis;
use crate::dead_letter::{MAX_DEAD_MESSAGES, NewDeadLetter, Reason};
use crate::error::Result;
use crate::facts;
use crate::messages::{DeadMessages, Message};
use crate::nats::js::{Raw, Refusal};
use crate::nats::link::Link;
use crate::nats::names;
use crate::nats::once::store_once;
use crate::nats::options::REQUEST;

/// Letters of messages that wait to be stored.
const BACKLOG: usize = 1_024;
/// Letters looked at together when room has to be made.
const STRIDE: usize = 256;
/// What the server's limit of a message leaves for all but the body.
const HEADROOM: usize = 16_384;

/// Where dead letters are kept.
pub struct DeadKeeper {
    link: Arc<Link>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Keep(Box<NewDeadLetter>, Millis),
    /// Answered when everything before it was stored.
    Flush(oneshot::Sender<()>),
}

impl DeadKeeper {
    /// A keeper on a connection whose broker has its streams. What it was given is stored also when it is dropped.
    pub fn new(link: Arc<Link>) -> Arc<Self> {
        let (orders, queue) = mpsc::channel(BACKLOG);
        tokio::spawn(keep(link.clone(), queue));
        Arc::new(Self { link, orders })
    }

    /// Keeps the letter of a task; nothing changes when it has one for this reason already. One for another reason, of an
    /// end that did not come about, is not in its way.
    ///
    /// # Errors
    /// `Busy` when there is no room; `Unknown` when no answer came: it can be repeated.
    pub async fn bury_task(&self, letter: &NewDeadLetter) -> Result<()> {
        // Numbers follow what happened in this process.
        self.flush().await;
        let body = letter::write(letter, self.link.clock.now(), limit(&self.link))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        match store_once(&self.link, &letter::subject(letter), &headers, &body.into()).await.answer {
            Ok(_) | Err(Refusal::Conflict) => Ok(()),
            Err(refusal) => Err(refusal.into_error("a dead letter")),
        }
    }

    /// Takes the letter of a task back, whoever wrote it: for a task that has ended in another way than it tells of.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`.
    pub(crate) async fn take_back(&self, letter: &NewDeadLetter) -> Result<()> {
        let (seq, _) = self.link.newest(names::DEAD, &letter::subject(letter)).await?;
        if seq > 0 {
            self.link.delete(names::DEAD, seq).await?;
        }
        Ok(())
    }

    /// Waits until what was given before is stored, at most [`REQUEST`].
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.orders.send(Order::Flush(done)).await.is_ok() {
                drop(flushed.await);
            }
        };
        drop(tokio::time::timeout(REQUEST, flush).await);
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl DeadMessages for DeadKeeper {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        let letter = facts::dead_message(message, reason, Some(why.to_owned()));
        if self.orders.try_send(Order::Keep(Box::new(letter), self.link.clock.now())).is_err() {
            tracing::warn!(to = %message.to, reason = reason.as_str(), "a dead letter was dropped: too many wait to be stored");
            return;
        }
        reason.count();
    }
}

impl fmt::Debug for DeadKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nats::DeadKeeper")
    }
}

fn limit(link: &Link) -> usize {
    link.client.server_info().max_payload.saturating_sub(HEADROOM)
}

async fn keep(link: Arc<Link>, mut queue: mpsc::Receiver<Order>) {
    let mut room = Room { link, oldest: 1 };
    while let Some(order) = queue.recv().await {
        match order {
            Order::Keep(letter, at) => {
                if let Err(error) = room.keep(&letter, at).await {
                    tracing::warn!(to = letter.to, error = %error, "a dead letter was not stored");
                }
            }
            Order::Flush(done) => drop(done.send(())),
        }
    }
}

struct Room {
    link: Arc<Link>,
    /// No letter before this one is that of a message.
    oldest: u64,
}

impl Room {
    async fn keep(&mut self, letter: &NewDeadLetter, at: Millis) -> Result<()> {
        let body = letter::write(letter, at, limit(&self.link))?;
        let mark = uuid::Uuid::now_v7().simple().to_string();
        let token = format!("{}{mark}", letter::OF_MESSAGE);
        let subject = names::dead(&letter.capability, letter.reason.as_str(), &token);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", mark.as_str());
        let sent = store_once(&self.link, &subject, &headers, &body.into()).await;
        sent.answer.map_err(|refusal| refusal.into_error("a dead letter"))?;
        self.make_room().await
    }

    /// Deletes the oldest messages beyond [`MAX_DEAD_MESSAGES`]; tasks stay, however many they are.
    async fn make_room(&mut self) -> Result<()> {
        let said = self.link.info(names::DEAD).await?.map_err(|e| e.into_error(names::DEAD))?;
        let kept = said["state"]["messages"].as_u64().unwrap_or_default();
        let mut excess = kept.saturating_sub(MAX_DEAD_MESSAGES as u64);
        while excess > 0 {
            let page = self.link.page(names::DEAD, "cb.v1.dead.>", self.oldest, STRIDE).await?;
            let Some(last) = page.last().map(|raw: &Raw| raw.seq) else { break };
            for raw in page {
                if excess > 0 && letter::is_message(&raw) && self.link.delete(names::DEAD, raw.seq).await? {
                    excess -= 1;
                }
                if excess == 0 {
                    self.oldest = raw.seq;
                    return Ok(());
                }
            }
            self.oldest = last + 1;
        }
        Ok(())
    }
}
