//! Whoever has sent a prompt: what is said to them, and whether they still listen.
//!
//! The protocol has no way to take a prompt back: a caller just stops listening. So each sign of progress asks for an
//! answer that nobody gives, and when the caller's inbox is gone the server says so in its place. It does not across
//! accounts: there the time of a prompt is what ends its work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{StatusCode, Subject, Subscriber};
use tokio::sync::{Semaphore, watch};

use super::Answer;
use super::wire::{self, MAX_ANSWER, MAX_PROMPT, Prompt};
use crate::error::{Error, Result};
use crate::nats::js::{came_directly, receive};
use crate::nats::link::Link;

/// The most signs of progress for one prompt; more are passed over. A server lets a node answer a question 1,000 times
/// (`deploy/nats`), and the answer itself comes last.
pub const MAX_PROGRESS: usize = 500;

/// The most questions that are open to one caller at a time.
pub const MAX_QUERIES: usize = 16;
/// The longest question to a caller, in bytes.
pub const MAX_QUESTION: usize = 64 << 10;

/// Why an answer would come too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The caller is known to have stopped listening.
    Gone,
    /// The node leaves.
    Leaving,
}

/// Whoever has sent one prompt.
#[derive(Debug)]
pub struct Caller {
    link: Arc<Link>,
    reply: Subject,
    number: usize,
    waiting: Arc<Waiting>,
    over: watch::Receiver<Option<Over>>,
    told: AtomicUsize,
    asked: Semaphore,
}

/// The callers that wait for answers.
#[derive(Debug)]
pub(super) struct Waiting {
    inbox: String,
    queries: String,
    last: AtomicUsize,
    callers: Mutex<HashMap<usize, watch::Sender<Option<Over>>>>,
}

impl Waiting {
    pub(super) fn new(link: &Link, owner: &str) -> Self {
        let queries = format!("agents.query.callboard.{owner}");
        Self { inbox: link.client.new_inbox(), queries, last: AtomicUsize::new(0), callers: Mutex::default() }
    }

    /// Where the server says that somebody has gone.
    pub(super) fn inbox(&self) -> String {
        format!("{}.*", self.inbox)
    }

    /// Notes who has gone, for as long as it is polled.
    pub(super) async fn listen(self: Arc<Self>, mut said: Subscriber) {
        while let Some(message) = receive(&mut said).await {
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
            let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            if message.status == Some(StatusCode::NO_RESPONDERS)
                && let Some(caller) = number.and_then(|number: usize| callers.get(&number))
            {
                caller.send_replace(Some(Over::Gone));
            }
        }
    }

    /// Tells everybody's work that the node leaves.
    pub(super) fn leave(&self) {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        for caller in callers.values() {
            caller.send_replace(Some(Over::Leaving));
        }
    }
}

impl Caller {
    pub(super) fn new(link: Arc<Link>, waiting: Arc<Waiting>, reply: Subject) -> Self {
        let number = waiting.last.fetch_add(1, Ordering::Relaxed);
        let (sender, over) = watch::channel(None);
        waiting.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        Self { link, reply, number, waiting, over, told: AtomicUsize::new(0), asked: Semaphore::new(MAX_QUERIES) }
    }

    /// Says how far the work is, in words. Beyond [`MAX_PROGRESS`] it is passed over.
    pub async fn progress(&self, words: &str) {
        if self.told.fetch_add(1, Ordering::Relaxed) < MAX_PROGRESS {
            self.ask(wire::status(words)).await;
        }
    }

    /// Asks the caller something, and waits for the one answer that the protocol lets them give. How long is for whoever
    /// asks to decide.
    ///
    /// # Errors
    /// `Busy` when [`MAX_QUERIES`] are open; `TooLarge` beyond [`MAX_QUESTION`]; `Decode` for an answer that is none or
    /// too long; `Unavailable` when the connection is closed.
    ///
    /// # Cancellation
    /// An answer that comes later is passed over.
    pub async fn query(&self, words: &str) -> Result<Prompt> {
        let (size, limit) = (words.len(), MAX_QUESTION);
        if size > limit {
            return Err(Error::TooLarge { what: "a question to a caller".into(), size, limit });
        }
        let retry_after = Duration::from_secs(5);
        let _place = self.asked.try_acquire().map_err(|_| Error::Busy { to: "a caller".into(), retry_after })?;
        // Nobody can guess it, so nobody else can answer.
        let inbox = self.link.client.new_inbox();
        let id = inbox.rsplit('.').next().unwrap_or_default();
        let subject = format!("{}.{id}", self.waiting.queries);
        let closed = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {e}", self.link.address));
        let mut answers = self.link.client.subscribe(subject.clone()).await.map_err(|e| closed(&e))?;
        self.ask(wire::query(id, &subject, words)).await;
        loop {
            let message = receive(&mut answers).await.ok_or_else(|| closed(&"closed"))?;
            if came_directly(&message, &subject) {
                let most = self.link.client.server_info().max_payload.min(MAX_PROMPT);
                let read = wire::read(&message.payload, most);
                return read.map_err(|e| Error::decode(format!("the answer cannot be read: {e}")));
            }
        }
    }

    /// Resolves when nobody waits for the answer any more, or the node cannot wait for it.
    pub async fn over(&self) -> Over {
        let mut over = self.over.clone();
        let why = over.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or(Over::Leaving)
    }

    pub(super) async fn ack(&self) {
        self.ask(wire::ack()).await;
    }

    /// Says the answer.
    ///
    /// # Errors
    /// `TooLarge` beyond [`MAX_ANSWER`].
    pub(super) async fn answer(&self, answer: &Answer) -> Result<()> {
        let (size, limit) = (answer.text.len(), MAX_ANSWER);
        if size > limit {
            return Err(Error::TooLarge { what: "an answer".into(), size, limit });
        }
        for piece in wire::answer(&answer.text, &answer.attachments) {
            sent(self.link.client.publish(self.reply.clone(), piece.into()).await);
        }
        Ok(())
    }

    pub(super) async fn refuse(&self, error: &Error) {
        let (headers, body) = wire::refusal(error);
        sent(self.link.client.publish_with_headers(self.reply.clone(), headers, body.into()).await);
    }

    /// Says that nothing more comes, which is an empty message without headers.
    pub(super) async fn end(&self) {
        sent(self.link.client.publish(self.reply.clone(), "".into()).await);
    }

    async fn ask(&self, body: String) {
        let answer_to = format!("{}.{}", self.waiting.inbox, self.number);
        sent(self.link.client.publish_with_reply(self.reply.clone(), answer_to, body.into()).await);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.waiting.callers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

fn sent(sent: std::result::Result<(), async_nats::PublishError>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer was not sent");
    }
}
