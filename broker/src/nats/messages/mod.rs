//! Messages between nodes: what is served here is handed over here, everything else goes over a lane.
//!
//! A node and each node that it talks to share a *lane*: one subject each way, on which only its sender may publish,
//! and binary frames of many records (see `codec`). Queues, their bounds and their dead letters are
//! those of the embedded wings, on the node that serves the address; this room adds how a message gets there and what
//! its sender is told.
//!
//! Who serves what is told by entries in two buckets, heard as they pass (`$KV.cb_nodes.<node>` for signs of life,
//! `$KV.cb_shared.served.<node>` for addresses). An address that is served here is taken here while its queue has room;
//! otherwise the less loaded of two nodes gets it, and another when that one is full or has just closed.
//!
//! # Guarantees
//! Within one incarnation of both nodes what one sender says to one agent arrives in the order in which it was accepted
//! and never twice, also across a broken connection; a large payload takes the place of its last piece. A notification
//! is answered when the other node has taken it. An error says whether the message was never begun (`NoRecipient`,
//! `Busy`, `Undelivered`: safe to repeat), was forbidden (`Denied`), or may have been done (`Unknown`, `Deadline`).
//!
//! # Cancellation
//! A dropped ask is withdrawn on the other node as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::BoxFuture;
use crate::clock::Millis;
use crate::codec::{Kind, Top};
use crate::error::{Error, Result};
use crate::memory::mailroom::Mailroom;
use crate::messages::{Address, Broadcast, DeadMessages, Inbox, Message, MessageCounts, Messages, Subscription};
use crate::nats::provision::PRESENCE_TTL;
use crate::nats::{Link, names};
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::task::Serving;

mod directory;
mod doors;
mod inward;
pub(crate) mod lane;
mod outward;
mod peer;
mod presence;
mod said;
mod table;
mod topics;

pub use directory::{NodeState, Presence};
pub(in crate::nats) use doors::written;

use directory::{Directory, KEPT};
use peer::{Peer, Writer, lock};
use table::Peers;

/// How long a node that leaves waits for others to take what it has said.
const FAREWELL: Duration = Duration::from_secs(2);

/// What all parts of the room share.
struct Exchange {
    link: Arc<Link>,
    /// Queues, asks and topics of this node.
    room: Arc<Mailroom>,
    dead: Arc<dyn DeadMessages>,
    directory: Mutex<Directory>,
    peers: RwLock<Peers>,
    writer: Arc<Writer>,
    /// Addresses served here, each with how often.
    serves: Mutex<HashMap<Address, u32>>,
    /// The versions of agents that have served here.
    versions: Mutex<BTreeMap<CapabilityName, Vec<Serving>>>,
    /// What is served has changed, or others are to be told again.
    changed: Notify,
    since: Millis,
    /// Whether others see it as a node.
    shows: bool,
    draining: AtomicBool,
    replaced: watch::Sender<bool>,
    answered: AtomicU64,
    refused: AtomicU64,
    denials: AtomicU64,
}

impl Exchange {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        self.table().all_here().cloned().collect()
    }

    fn table(&self) -> RwLockReadGuard<'_, Peers> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn room_serves(&self, address: &Address) -> bool {
        self.room.is_served(address)
    }
}

/// What the lanes of a node have carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Frames sent, and frames taken.
    pub frames: (u64, u64),
    /// Frames that were missing when a later one came; they were sent again.
    pub gaps: u64,
    /// Frames that came again and were not taken again.
    pub repeated: u64,
    /// Frames of, or for, an incarnation that is over.
    pub stale: u64,
    /// Frames and records that could not be read.
    pub refused: u64,
    /// Lanes that the server has closed to us.
    pub denied: u64,
    /// Questions and notifications that wait.
    pub waiting: usize,
}

/// The messages of one node on a server.
pub struct NatsMessages {
    exchange: Arc<Exchange>,
    /// Everything that runs for it; ends with it.
    running: Mutex<JoinSet<()>>,
}

impl NatsMessages {
    /// Joins: listens to its lanes, learns who is there, and says that it is. Dead letters go to `dead`.
    ///
    /// # Errors
    /// `Unavailable` when the connection is closed.
    pub async fn start(link: Arc<Link>, dead: Arc<dyn DeadMessages>) -> Result<Arc<Self>> {
        Self::join(link, dead, true).await
    }

    /// As [`start`](Self::start); a process that only asks does not show itself: it is no node, and several of one name
    /// do each other no harm.
    ///
    /// # Errors
    /// As for `start`.
    pub async fn join(link: Arc<Link>, dead: Arc<dyn DeadMessages>, shows: bool) -> Result<Arc<Self>> {
        let (now, since) = (Instant::now(), link.clock.now());
        let exchange = Arc::new(Exchange {
            room: Arc::new(Mailroom::new(dead.clone())),
            dead,
            directory: Mutex::new(Directory::new(link.node.clone(), now)),
            peers: RwLock::default(),
            writer: Arc::default(),
            serves: Mutex::default(),
            versions: Mutex::default(),
            changed: Notify::new(),
            since,
            shows,
            draining: AtomicBool::new(false),
            replaced: watch::Sender::new(false),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            denials: AtomicU64::new(0),
            link,
        });
        let link = &exchange.link;
        let closed = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {e}", link.address));
        let subscribe = async |subject: String| link.client.subscribe(subject).await.map_err(|e| closed(&e));
        let lanes = subscribe(names::lanes(&link.node)).await?;
        let nodes = subscribe(names::presence("*")).await?;
        let served = subscribe(names::served("*")).await?;
        let topics = subscribe(names::topic("*")).await?;
        link.client.flush().await.map_err(|e| closed(&e))?;
        exchange.look_around().await;
        exchange.beat().await?;
        exchange.tell_served(KEPT).await?;
        let mut running = JoinSet::new();
        running.spawn(exchange.clone().read_lanes(lanes));
        running.spawn(exchange.clone().read_entries(nodes));
        running.spawn(exchange.clone().read_entries(served));
        running.spawn(exchange.clone().read_topics(topics));
        running.spawn(exchange.writer.clone().run(link.client.clone()));
        running.spawn(exchange.clone().keep());
        Ok(Arc::new(Self { exchange, running: Mutex::new(running) }))
    }

    /// Says that this node takes nothing new: others turn elsewhere at once, and what they have sent before is still
    /// answered.
    pub async fn goodbye(&self) {
        self.exchange.draining.store(true, Ordering::Release);
        for peer in self.exchange.peers() {
            peer.with(|lane| (lane.drain(), Vec::new()));
            peer.say(Top::new(Kind::Goodbye, 0), &[]);
        }
        self.exchange.changed.notify_one();
    }

    /// Leaves, once everything here has been answered: waits at most 2 s for others to take what was said, and is
    /// forgotten by them. Whatever they have sent since `goodbye` is told to be undelivered.
    pub async fn leave(&self) {
        self.goodbye().await;
        for peer in self.exchange.peers() {
            peer.say(Top { code: 1, ..Top::new(Kind::Goodbye, 0) }, &[]);
        }
        let until = Instant::now() + FAREWELL;
        let (node, link) = (self.exchange.link.node.as_str(), &self.exchange.link);
        let is_waiting = || link.check().is_ok() && !self.exchange.peers().iter().all(|peer| peer.is_flushed());
        while Instant::now() < until && is_waiting() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lock(&self.running).abort_all();
        if !self.exchange.speaks() || link.check().is_err() {
            return;
        }
        let gone = Presence { state: NodeState::Gone, ..self.exchange.own() };
        let text = serde_json::to_string(&gone).unwrap_or_default();
        // It goes in any case; what cannot be said is known by silence. That it is stored is waited for: who looks next
        // finds it gone.
        let subject = names::presence(node);
        let said = link.request(&subject, None, text.into());
        let _ = tokio::time::timeout(FAREWELL, said).await;
        let _ = self.exchange.tell_served(PRESENCE_TTL).await;
        // Of a server that is away nobody knows when it is back.
        let _ = tokio::time::timeout(FAREWELL, link.client.flush()).await;
    }

    /// The nodes that are there, by name, but for this one.
    pub fn nodes(&self) -> Vec<Presence> {
        lock(&self.exchange.directory).nodes()
    }

    /// Whether a node has given a sign of life since the connection was there.
    pub(crate) fn has_heard(&self, node: &crate::id::NodeName) -> bool {
        lock(&self.exchange.directory).has_heard(node)
    }

    /// Whether this node has heard its own sign of life within so long: otherwise it may be cut off.
    pub(crate) fn hears_itself(&self, within: std::time::Duration) -> bool {
        lock(&self.exchange.directory).hears_itself(within)
    }

    /// Resolves when another process has taken over the name of this node: it has to end.
    pub async fn replaced(&self) {
        let mut replaced = self.exchange.replaced.subscribe();
        // The sender lives as long as this room does.
        let _ = replaced.wait_for(|replaced| *replaced).await;
    }

    /// What its lanes have carried so far.
    pub fn lanes(&self) -> LaneCounts {
        let exchange = &self.exchange;
        let start = LaneCounts {
            refused: exchange.refused.load(Ordering::Relaxed),
            denied: exchange.denials.load(Ordering::Relaxed),
            ..LaneCounts::default()
        };
        exchange.table().all().fold(start, |sum, peer| {
            let counts = peer.counts();
            LaneCounts {
                frames: (sum.frames.0 + counts.frames_out, sum.frames.1 + counts.frames_in),
                gaps: sum.gaps + counts.gaps,
                repeated: sum.repeated + counts.repeated,
                stale: sum.stale + counts.stale,
                waiting: sum.waiting + peer.waiting(),
                ..sum
            }
        })
    }
}

impl std::fmt::Debug for NatsMessages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NatsMessages({})", self.exchange.link.node)
    }
}

impl Messages for NatsMessages {
    fn serve(&self, address: Address, limit: usize) -> Arc<dyn Inbox> {
        let inbox = self.exchange.room.serve(address.clone(), limit);
        *lock(&self.exchange.serves).entry(address).or_default() += 1;
        self.exchange.changed.notify_one();
        inbox
    }

    fn close(&self, address: &Address) {
        let mut serves = lock(&self.exchange.serves);
        if let Some(times) = serves.get_mut(address) {
            *times -= 1;
            if *times == 0 {
                serves.remove(address);
            }
        }
        drop(serves);
        self.exchange.room.close(address);
        self.exchange.changed.notify_one();
    }

    fn serves_version(&self, capability: &CapabilityName, serving: &Serving) {
        let mut versions = lock(&self.exchange.versions);
        let known = versions.entry(capability.clone()).or_default();
        if !known.contains(serving) {
            known.push(serving.clone());
        }
        drop(versions);
        self.exchange.changed.notify_one();
    }

    fn is_served(&self, address: &Address) -> bool {
        self.exchange.room_serves(address) || lock(&self.exchange.directory).seats(address).is_some()
    }

    fn ask(&self, message: Message) -> BoxFuture<'_, Result<Payload>> {
        match self.exchange.elsewhere(&message.to) {
            None => self.exchange.room.ask(message),
            Some(seats) => Box::pin(self.exchange.ask_elsewhere(message, seats)),
        }
    }

    fn tell(&self, messages: Vec<Message>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(self.exchange.tell_all(messages))
    }

    fn broadcast(&self, broadcast: Broadcast) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            // First here, where its topic is checked.
            self.exchange.room.broadcast(broadcast.clone()).await?;
            self.exchange.say_aloud(&broadcast).await
        })
    }

    fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription> {
        self.exchange.room.subscribe(topic, who)
    }

    fn counts(&self) -> MessageCounts {
        let counts = self.exchange.room.counts();
        let late: u64 = self.exchange.table().all().map(|peer| peer.late.load(Ordering::Relaxed)).sum();
        MessageCounts {
            answered: counts.answered + self.exchange.answered.load(Ordering::Relaxed),
            late: counts.late + late,
            ..counts
        }
    }
}
