//! The contract for messages: an answer or an error by the deadline, at most once.
//!
//! The queue belongs to the address: it is bounded, counts what waits and what runs together, refuses the excess at
//! once, can be read without asking anybody, and outlives whoever serves it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::BoxFuture;
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::lineage;
use crate::payload::Payload;
use crate::request::Asker;
use crate::subject::CapabilityName;
use crate::task::Serving;
use crate::trace::TraceContext;

/// How long an ask waits for its answer, unless it says so: 30 s.
pub const ASK_DEADLINE: Duration = Duration::from_secs(30);
/// How long a notification may wait in its queue, unless it says so: 300 s.
pub const TTL: Duration = Duration::from_secs(300);
/// How many messages of one address may wait and run together, unless it says so.
pub const QUEUE: usize = 1_024;
/// How long `Inbox::consume` waits, unless it says so: 30 s.
pub const CONSUME: Duration = Duration::from_secs(30);
/// The topic that reaches everybody.
pub const ALL: &str = "all";
/// How many broadcasts a subscriber may fall behind.
pub const BACKLOG: usize = 1_024;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Whoever serves this capability.
    Capability(CapabilityName),
    /// The agent of this name.
    Agent(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(name) => name.fmt(f),
            Self::Agent(name) => write!(f, "agent {name}"),
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where to.
    pub to: Address,
    /// The capability in whose terms the body is written.
    pub capability: CapabilityName,
    /// Who sends it: an agent's name, or a client's.
    pub from: Arc<str>,
    /// What it says.
    pub body: Payload,
    /// Until when it may wait and, if an answer is wanted, be answered.
    pub deadline: Instant,
    /// The run on whose behalf it is sent, if any.
    pub run: Option<crate::id::RunId>,
    /// The tasks and agents it passed through, first to last: see [`Link::hop`](crate::lineage::Link::hop).
    pub hops: Vec<Arc<str>>,
    /// The trace it belongs to.
    pub traceparent: Option<TraceContext>,
}

/// A broadcast as a subscriber sees it.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The topic.
    pub topic: Arc<str>,
    /// Who sent it.
    pub from: Arc<str>,
    /// What it says.
    pub body: Payload,
}

/// A message at its recipient. Holds its place in the queue until it is dropped.
#[derive(Debug)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Where the answer goes; none for a notification.
    pub reply: Option<ReplyTo>,
    /// The place in the queue: waiting and running count together.
    pub place: OwnedSemaphorePermit,
    /// Where it goes when it cannot be worked on.
    pub dead: Arc<dyn DeadMessages>,
}

impl Incoming {
    /// Whether it is an ask, and this agent one of those on its chain who asked and wait for what comes of it.
    pub fn came_through(&self, agent: &str) -> bool {
        let waits = |hop: &Arc<str>| lineage::agent_of(hop) == Some(agent);
        self.reply.is_some() && lineage::that_wait(&self.message.hops).iter().any(waits)
    }

    /// Gives it up: it becomes a dead letter and its sender, if it waits, gets an error.
    pub fn refuse(self, reason: Reason, why: &str) {
        let error = match reason {
            Reason::NoRecipient => Error::NoRecipient { to: self.message.to.to_string().into() },
            Reason::Expired => Error::Expired,
            _ => Error::decode(why),
        };
        self.dead.bury(&self.message, reason, why);
        if let Some(reply) = self.reply {
            reply.send(Err(error));
        }
    }
}

/// Where a wing keeps the messages that came to nothing. Does not wait: a wing that stores them does so beside.
pub trait DeadMessages: Send + Sync + fmt::Debug {
    /// Keeps one, with its reason in one word and in a sentence.
    fn bury(&self, message: &Message, reason: Reason, why: &str);
}

/// Takes one answer. Dropped without one, it tells the asker that the agent crashed.
pub struct ReplyTo {
    to: Address,
    asker: Asker,
    send: Option<Box<dyn FnOnce(Result<Payload>) + Send>>,
}

impl ReplyTo {
    /// For wings: `send` is called exactly once, with the answer or with `Crashed`. The asker keeps the other end of
    /// `asker` for as long as it waits.
    pub fn new(to: &Address, asker: Asker, send: impl FnOnce(Result<Payload>) + Send + 'static) -> Self {
        Self { to: to.clone(), asker, send: Some(Box::new(send)) }
    }

    /// Answers.
    pub fn send(mut self, answer: Result<Payload>) {
        if let Some(send) = self.send.take() {
            send(answer);
        }
    }

    /// For wings: takes the reply back from a message that never reaches its recipient. Nothing is answered.
    pub fn forget(mut self) {
        self.send = None;
    }

    /// Whether the asker still waits.
    pub fn is_wanted(&self) -> bool {
        self.asker.waits()
    }

    /// Resolves when the asker no longer waits.
    pub fn unwanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let asker = self.asker.clone();
        async move { asker.gone().await }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            let to = self.to.to_string().into();
            send(Err(Error::Crashed { to, reason: "it ended before it answered".into() }));
        }
    }
}

impl fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({})", self.to)
    }
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Waiting to be taken.
    pub waiting: usize,
    /// Waiting and running together.
    pub held: usize,
    /// The bound on `held`.
    pub limit: usize,
    /// Refused because the queue was full, ever.
    pub refused: u64,
}

/// The receiving end of an address. Several handles take turns; the queue stays when they are gone.
pub trait Inbox: Send + Sync {
    /// The next message, when there is one. What has expired meanwhile becomes a dead letter and is passed over; what
    /// its asker no longer wants is passed over. Dropping the future loses nothing.
    fn next(&self) -> BoxFuture<'_, Incoming>;

    /// The next ask that came through this agent: one on its chain asked, and waits for what comes of it. As
    /// [`next`](Self::next) otherwise. A recipient that has no place left for others must have one for these, or both
    /// would wait for each other.
    fn next_through<'a>(&'a self, agent: &'a str) -> BoxFuture<'a, Incoming>;

    /// How full the queue is, without asking anybody.
    fn fill(&self) -> Fill;
}

impl dyn Inbox {
    /// The next message, or `None` when there is none for `timeout` (usually [`CONSUME`]).
    pub async fn consume(&self, timeout: Duration) -> Option<Incoming> {
        tokio::time::timeout(timeout, self.next()).await.ok()
    }
}

/// What a subscriber reads broadcasts from.
pub trait Subscription: Send {
    /// The next broadcast by somebody else; `Lagged` once after some were passed over, then it goes on.
    fn next(&mut self) -> BoxFuture<'_, Result<Broadcast>>;
}

/// Counts that prove nothing was lost unseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// Asks and notifications accepted into a queue.
    pub accepted: u64,
    /// Answers that reached their asker.
    pub answered: u64,
    /// Answers that came after their asker had gone, or a second time.
    pub late: u64,
    /// Messages that became dead letters.
    pub dead: u64,
}

/// Requests, notifications and broadcasts between agents.
///
/// # Cancellation
/// Dropping the future of an ask withdraws it: a queued one is not begun, a running one is cancelled.
pub trait Messages: Send + Sync {
    /// Opens the queue of an address, or another handle on the one that is open. `limit` bounds what waits and runs
    /// together; the first to open decides. Who serves no more says so by [`close`](Messages::close).
    fn serve(&self, address: Address, limit: usize) -> Arc<dyn Inbox>;

    /// Says to others which version serves a capability here, for tasks that a version began. Where there are no others it
    /// says nothing.
    fn serves_version(&self, _capability: &CapabilityName, _serving: &Serving) {}

    /// Takes one `serve` back. The last one closes the queue: asks that wait in it are answered with `Undelivered`,
    /// notifications become dead letters (`no_recipient`), and handles on it receive nothing any more.
    fn close(&self, address: &Address);

    /// Whether somebody serves the address.
    fn is_served(&self, address: &Address) -> bool;

    /// Sends and waits for the answer, until the message's deadline. One that is still queued then becomes a dead
    /// letter (`expired`), and so does one that nobody serves (`no_recipient`).
    ///
    /// # Errors
    /// `NoRecipient` and `Busy` at once; `Deadline`; `Crashed` within 10 ms of a crash; whatever the agent answered.
    fn ask(&self, message: Message) -> BoxFuture<'_, Result<Payload>>;

    /// Sends notifications; one answer each, in order: accepted into the queue, or why not. A refused one is a dead
    /// letter unless the queue was full.
    fn tell(&self, messages: Vec<Message>) -> BoxFuture<'_, Vec<Result<()>>>;

    /// Sends to every subscriber of the topic but the sender. Topic [`ALL`] reaches everybody: every subscription to
    /// it, and of those who read only other topics the oldest subscription of each. Unheard, it leaves nothing behind.
    ///
    /// # Errors
    /// `Decode` for a topic that is not one subject token.
    fn broadcast(&self, broadcast: Broadcast) -> BoxFuture<'_, Result<()>>;

    /// Reads a topic as `who`, from now on.
    fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription>;

    /// What became of all messages so far.
    fn counts(&self) -> MessageCounts;
}
