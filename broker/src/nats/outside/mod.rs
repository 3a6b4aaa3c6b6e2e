//! The outside door: capabilities that any client of the Synadia Agent Protocol for NATS 0.3 finds and prompts.
//!
//! Each capability that is offered is a service of its own under the name that all agents share, `agents`. A prompt comes
//! on `agents.prompt.callboard.<owner>.<name>`, and what answers it is given by whoever opens the door; here is the
//! protocol: an ack first, signs of life, progress, the answer in pieces or an error, and the end, which is always said.
//!
//! | file | holds |
//! |---|---|
//! | `wire` | prompts as they come, answers as they go: pure |
//! | `about` | what an offer says of itself: pure |
//! | `caller` | whoever has sent a prompt: what they are told and asked, and whether they still listen |
//!
//! # Guarantees
//! Every prompt with a reply subject is answered by exactly one end, refused or not. No more than
//! [`Options::at_once`] are worked on together, none for longer than [`Options::limit`]. What comes by way of a stream is
//! no prompt. Delivery is that of core messages: at most once.

mod about;
mod caller;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

pub use about::SERVICE;
pub use caller::{Caller, MAX_PROGRESS, MAX_QUERIES, MAX_QUESTION, Over};
pub use wire::{Attachment, MAX_ANSWER, MAX_ATTACHMENTS, MAX_PROMPT, Prompt};

use super::js::{came_directly, receive};
use super::link::Link;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::nats::service::Counts;
use crate::subject::CapabilityName;
use about::{GROUP, Listing};
use caller::Waiting;

/// Prompts that a node works on together: 64.
pub const AT_ONCE: usize = 64;
/// How long one prompt may take: 9 min, because a node may answer a question for 10 (`deploy/nats`).
pub const LIMIT: Duration = Duration::from_secs(9 * 60);
/// How often a caller is told that the work goes on: 15 s. They give up after 60 s of silence.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often an offer gives a sign of life: 30 s. It is taken for gone after three that are missing.
pub const BEAT: Duration = Duration::from_secs(30);
/// When another try makes sense while all places are taken.
const RETRY: Duration = Duration::from_secs(5);
/// How long prompts that are worked on may take when the node leaves: 5 s.
pub const FAREWELL: Duration = Duration::from_secs(5);
/// How long the last words may take after that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Answers a prompt. It is dropped when its time is over.
pub type Answering = Arc<dyn Fn(Prompt, Arc<Caller>) -> BoxFuture<'static, Result<Answer>> + Send + Sync>;

/// What can be prompted.
pub struct Offer {
    /// The capability, whose token is the name.
    pub capability: CapabilityName,
    /// What it is for.
    pub about: String,
    /// Whether a prompt may have attachments.
    pub attachments: bool,
    /// Answers.
    pub answer: Answering,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// Files that go with it.
    pub attachments: Vec<Attachment>,
}

/// How the door is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Under whose name the capabilities are offered: one token, lowercase.
    pub owner: String,
    /// Prompts that are worked on together; one more is `Busy`. Default [`AT_ONCE`].
    pub at_once: usize,
    /// How long one prompt may take. Default [`LIMIT`].
    pub limit: Duration,
    /// How often a caller is told that the work goes on. Default [`KEEP_ALIVE`].
    pub keep_alive: Duration,
    /// How often an offer gives a sign of life. Default [`BEAT`].
    pub beat: Duration,
    /// How long prompts that are worked on may take when the node leaves. Default [`FAREWELL`].
    pub farewell: Duration,
}

impl Options {
    /// With all defaults.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            at_once: AT_ONCE,
            limit: LIMIT,
            keep_alive: KEEP_ALIVE,
            beat: BEAT,
            farewell: FAREWELL,
        }
    }
}

/// An open door. Shut at once when it is dropped; [`leave`](Outside::leave) says goodbye.
#[derive(Debug)]
pub struct Outside {
    closing: watch::Sender<bool>,
    waiting: Arc<Waiting>,
    listening: Mutex<JoinSet<()>>,
    link: Arc<Link>,
    farewell: Duration,
    _about: JoinSet<()>,
}

struct Room {
    link: Arc<Link>,
    options: Options,
    offer: Offer,
    listing: Listing,
    waiting: Arc<Waiting>,
    places: Arc<Semaphore>,
    most: usize,
    prompts: Counts,
    asked: Counts,
}

impl Outside {
    /// Opens it: from when this has resolved, prompts are taken.
    ///
    /// # Errors
    /// `Unavailable` when the connection is closed.
    pub async fn open(link: Arc<Link>, offers: Vec<Offer>, options: Options) -> Result<Self> {
        let (closing, _) = watch::channel(false);
        let waiting = Arc::new(Waiting::new(&link, &options.owner));
        let places = Arc::new(Semaphore::new(options.at_once));
        let most = link.client.server_info().max_payload.min(MAX_PROMPT);
        let (mut listening, mut about) = (JoinSet::new(), JoinSet::new());
        about.spawn(waiting.clone().listen(listen(&link, waiting.inbox()).await?));
        for offer in offers {
            let room = Arc::new(Room {
                listing: Listing::new(&link, &offer, &options, most),
                link: link.clone(),
                options: options.clone(),
                offer,
                waiting: waiting.clone(),
                places: places.clone(),
                most,
                prompts: Counts::default(),
                asked: Counts::default(),
            });
            for subject in room.listing.subjects() {
                about.spawn(room.clone().tell_about(listen(&link, subject).await?));
            }
            let status = listen_together(&link, room.listing.subject("status")).await?;
            about.spawn(room.clone().tell_status(status));
            let prompts = listen_together(&link, room.listing.subject("prompt")).await?;
            listening.spawn(room.clone().take(prompts, closing.subscribe()));
            about.spawn(room.beat(closing.subscribe()));
        }
        link.client.flush().await.map_err(|e| closed(&link, &e))?;
        Ok(Self { closing, waiting, listening: Mutex::new(listening), link, farewell: options.farewell, _about: about })
    }

    /// Takes no more prompts; those that are worked on go on.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Takes no more prompts, waits for those that are worked on, at most [`Options::farewell`], and tells the callers of
    /// the others that the node leaves.
    ///
    /// # Cancellation
    /// What is worked on goes on, and it can be left again.
    pub async fn leave(&self) {
        self.close();
        let mut listening = self.listening.lock().await;
        let mut all = async || while listening.join_next().await.is_some() {};
        if timeout(self.farewell, all()).await.is_err() {
            self.waiting.leave();
            let _ = timeout(LAST_WORDS, all()).await;
        }
        let _ = timeout(LAST_WORDS, self.link.client.flush()).await;
    }
}

impl Room {
    /// Takes prompts until the door closes, then sees to those that are worked on.
    async fn take(self: Arc<Self>, mut prompts: Subscriber, mut closing: watch::Receiver<bool>) {
        let mut answering = JoinSet::new();
        loop {
            let message = tokio::select! {
                message = receive(&mut prompts) => message,
                _ = closing.wait_for(|closing| *closing) => None,
            };
            let Some(message) = message else { break };
            while answering.try_join_next().is_some() {}
            if !came_directly(&message, &self.listing.subject("prompt")) {
                tracing::warn!(subject = %message.subject, "a prompt that came by way of a stream is not answered");
                continue;
            }
            let Some(reply) = message.reply.clone() else {
                tracing::debug!(subject = %message.subject, "a prompt without a place for its answer is passed over");
                continue;
            };
            let caller = Arc::new(Caller::new(self.link.clone(), self.waiting.clone(), reply));
            match self.admit(&message) {
                Ok((prompt, place)) => {
                    let room = self.clone();
                    answering.spawn(async move {
                        room.answer(prompt, caller).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    self.prompts.add(true, Duration::ZERO);
                    caller.refuse(&error).await;
                    caller.end().await;
                }
            }
        }
        let _ = prompts.unsubscribe().await;
        while answering.join_next().await.is_some() {}
    }

    /// What is asked, and a place among those that are worked on.
    fn admit(&self, message: &Message) -> Result<(Prompt, tokio::sync::OwnedSemaphorePermit)> {
        let prompt = wire::read(&message.payload, self.most)?;
        if !prompt.attachments.is_empty() && !self.offer.attachments {
            return Err(Error::decode(format!("{} takes no attachments", self.offer.capability)));
        }
        let busy = |_| Error::Busy { to: self.offer.capability.as_str().into(), retry_after: RETRY };
        Ok((prompt, self.places.clone().try_acquire_owned().map_err(busy)?))
    }

    async fn answer(&self, prompt: Prompt, caller: Arc<Caller>) {
        let begun = Instant::now();
        caller.ack().await;
        let said = match self.work(prompt, &caller, begun + self.options.limit).await {
            Ok(answer) => caller.answer(&answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &said {
            caller.refuse(error).await;
        }
        self.prompts.add(said.is_err(), begun.elapsed());
        caller.end().await;
    }

    /// The answer by its deadline, and signs of life until then.
    async fn work(&self, prompt: Prompt, caller: &Arc<Caller>, until: Instant) -> Result<Answer> {
        let mut answer = (self.offer.answer)(prompt, caller.clone());
        let mut signs = interval(self.options.keep_alive);
        signs.reset();
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = signs.tick() => caller.ack().await,
                () = sleep_until(until) => {
                    return Err(Error::Deadline { to: self.offer.capability.as_str().into(), limit: self.options.limit });
                }
            }
        }
    }

    async fn beat(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut beats = interval(self.options.beat);
        let subject = self.listing.subject("hb");
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            let beat = self.listing.heartbeat(self.link.clock.now()).to_string();
            if let Err(error) = self.link.publish(subject.clone(), beat.into()).await {
                tracing::debug!(%error, "a heartbeat was not sent");
            }
        }
    }

    async fn tell_status(self: Arc<Self>, mut asked: Subscriber) {
        while let Some(message) = receive(&mut asked).await {
            self.asked.add(false, Duration::ZERO);
            self.tell(message, self.listing.heartbeat(self.link.clock.now())).await;
        }
    }

    async fn tell_about(self: Arc<Self>, mut asked: Subscriber) {
        while let Some(message) = receive(&mut asked).await {
            let told = self.listing.told(message.subject.as_str(), self.prompts.read(), self.asked.read());
            self.tell(message, told).await;
        }
    }

    async fn tell(&self, message: Message, told: serde_json::Value) {
        let Some(reply) = message.reply else { return };
        if let Err(error) = self.link.client.publish(reply, told.to_string().into()).await {
            tracing::debug!(%error, "an answer was not sent");
        }
    }
}

/// Whether an attachment of so many bytes is small enough to go with an answer over this connection.
pub fn may_attach(link: &Link, bytes: usize) -> bool {
    wire::fits(bytes, link.client.server_info().max_payload)
}

async fn listen(link: &Link, subject: String) -> Result<Subscriber> {
    link.client.subscribe(subject).await.map_err(|e| closed(link, &e))
}

async fn listen_together(link: &Link, subject: String) -> Result<Subscriber> {
    link.client.queue_subscribe(subject, GROUP.into()).await.map_err(|e| closed(link, &e))
}

fn closed(link: &Link, why: &dyn std::fmt::Display) -> Error {
    Error::unavailable(format!("{}: {why}", link.address))
}
