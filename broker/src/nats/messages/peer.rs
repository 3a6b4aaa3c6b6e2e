//! The other end of a lane: what this node sends there, and what it does for it.
//!
//! Whoever opens a frame sends it, after it has let all others that are ready add to it; that one step aside is what
//! fills frames, and an idle lane waits for nothing. Whatever cannot wait itself, an answer or an acknowledgement, wakes
//! the one writer of the node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Subject};
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::lane::{ByNumber, Counts, End, Lane, Partials, Post};
use crate::codec::{Kind, MAX_RECORDS, Top};
use crate::error::{Error, Result};
use crate::id::NodeName;
use crate::memory::mailroom::Mailbox;
use crate::messages::Message;
use crate::nats::names;
use crate::payload::Payload;
use crate::request::{Asker, Here};
use crate::told::Told;

/// How often whoever sends a frame steps aside for those who add to it.
const STEPS: usize = 4;

/// What came of a message that was sent to a node.
#[derive(Debug)]
pub(super) enum Came {
    /// An answer or an error, and how deep the queue there is.
    Answer(Result<Payload>, Option<u16>),
    /// The queue there is full until then.
    Busy(Duration),
    /// Nobody serves it there.
    NoAgent,
    /// The lane ended it.
    End(End),
}

/// Who waits for it.
pub(super) type Waiter = oneshot::Sender<Came>;

/// A question of the peer that is being worked on.
pub(super) struct Serving {
    /// Where it waits, once it does.
    pub(super) place: Option<(Arc<Mailbox>, u64)>,
    pub(super) deadline: Instant,
    /// Dropped when the asker no longer waits.
    _here: Here,
}

/// What the reader of frames keeps of a peer from one frame to the next.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) partials: Partials,
    /// The last address as it was written, and what was read from it: most are the same as the one before.
    pub(super) letter: Option<(Vec<u8>, Message)>,
}

/// A node that this one talks to.
pub(super) struct Peer {
    pub(super) name: Arc<str>,
    subject: Subject,
    unheard: String,
    lane: Mutex<Lane<Waiter>>,
    serving: Mutex<ByNumber<Serving>>,
    pub(super) desk: Mutex<Desk>,
    writer: Arc<Writer>,
    queued: AtomicBool,
    /// Answers that nobody waited for any more.
    pub(super) late: AtomicU64,
}

/// Which peers have something to be sent that nobody is sending.
#[derive(Default)]
pub(super) struct Writer {
    peers: Mutex<Vec<Arc<Peer>>>,
    wake: Notify,
}

impl Writer {
    /// Sends whatever is there, for ever.
    pub(super) async fn run(self: Arc<Self>, client: Client) {
        loop {
            self.wake.notified().await;
            let peers = std::mem::take(&mut *lock(&self.peers));
            for peer in peers {
                peer.queued.store(false, Ordering::Release);
                peer.gather().await;
                peer.flush(&client).await;
            }
        }
    }
}

impl Peer {
    pub(super) fn new(me: &NodeName, name: &str, boot: u32, peer: Option<u32>, writer: Arc<Writer>) -> Self {
        Self {
            name: name.into(),
            subject: names::lane(name, me.as_str()).into(),
            unheard: names::unheard(me, name),
            lane: Mutex::new(Lane::new(boot, peer, Instant::now())),
            serving: Mutex::default(),
            desk: Mutex::default(),
            writer,
            queued: AtomicBool::new(false),
            late: AtomicU64::new(0),
        }
    }

    /// The lane, and whoever its decision ends is told.
    pub(super) fn with<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Lane<Waiter>) -> (T, Vec<(Waiter, End)>)) -> T {
        let mut lane = lock(&self.lane);
        let (decided, ended) = decide(&mut lane);
        let work = lane.has_work();
        drop(lane);
        for (waiter, end) in ended {
            // Whoever has gone does not want to know.
            let _ = waiter.send(Came::End(end));
        }
        if work {
            self.wake();
        }
        decided
    }

    /// Hands what is there to the writer.
    fn wake(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            lock(&self.writer.peers).push(self.clone());
        }
        self.writer.wake.notify_one();
    }

    /// Takes a message to the peer; whoever holds what is returned waits for what comes of it.
    pub(super) fn post(self: &Arc<Self>, post: Post<'_>) -> Result<(Sent, bool), End> {
        let (waiter, came) = oneshot::channel();
        let mut lane = lock(&self.lane);
        let now = lane.moment();
        match lane.post(post, waiter, now) {
            Ok((number, opens)) => Ok((Sent { peer: self.clone(), number, came, over: false }, opens)),
            Err((_, end)) => {
                let work = lane.has_work();
                drop(lane);
                if work {
                    self.wake();
                }
                Err(end)
            }
        }
    }

    /// Sends what has gathered, once everybody who is ready has added to it. Dropped meanwhile, the writer does it.
    pub(super) async fn flush_soon(self: &Arc<Self>, client: &Client) {
        let mut hand_on = HandOn { peer: self, done: false };
        self.gather().await;
        self.flush(client).await;
        hand_on.done = true;
    }

    /// Steps aside for as long as others add to the frame. With several threads those who are ready do not all run
    /// before whoever steps aside, so once is not enough; and for an idle lane it is one step.
    async fn gather(&self) {
        let mut before = 0;
        for _ in 0..STEPS {
            yield_now().await;
            let gathered = lock(&self.lane).gathered();
            if gathered <= before.max(1) || gathered >= MAX_RECORDS {
                return;
            }
            before = gathered;
        }
    }

    async fn flush(self: &Arc<Self>, client: &Client) {
        if !lock(&self.lane).begin() {
            return;
        }
        let mut stop = Stop { peer: self, done: false };
        loop {
            let next = lock(&self.lane).next(Instant::now());
            let Some(next) = next else { break };
            let unheard = format!("{}{}.{}", self.unheard, next.first, next.count);
            if client.publish_with_reply(self.subject.clone(), unheard, next.bytes.clone()).await.is_err() {
                // The connection is closed for good; what waits has its deadline.
                return;
            }
            lock(&self.lane).sent(&next);
        }
        stop.done = true;
    }

    /// A question of the peer begins; the asker's other end.
    pub(super) fn serve(&self, number: u64, deadline: Instant) -> Asker {
        let here = Here::default();
        let asker = here.asker();
        lock(&self.serving).insert(number, Serving { place: None, deadline, _here: here });
        asker
    }

    /// It waits there, unless it has been answered already.
    pub(super) fn placed(&self, number: u64, place: (Arc<Mailbox>, u64)) {
        if let Some(serving) = lock(&self.serving).get_mut(&number) {
            serving.place = Some(place);
        }
    }

    /// It is over.
    pub(super) fn served(&self, number: u64) -> Option<Serving> {
        lock(&self.serving).remove(&number)
    }

    /// The asker has gone for good: what waits is not begun, and what runs is told.
    pub(super) fn lost(&self) {
        let serving = std::mem::take(&mut *lock(&self.serving));
        for (mailbox, number) in serving.into_values().filter_map(|serving| serving.place) {
            mailbox.withdraw(number);
        }
        *lock(&self.desk) = Desk::default();
    }

    /// Answers a question, unless its asker has gone.
    pub(super) fn reply(self: &Arc<Self>, number: u64, answer: Result<Payload>) {
        let Some(serving) = self.served(number) else {
            self.late.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let depth = serving.place.map_or(0, |(mailbox, _)| mailbox.held());
        let answer = answer.and_then(|payload| payload.json().map(|_| ()).map(|()| payload));
        match &answer {
            Ok(payload) => {
                let code = u16::try_from(depth).unwrap_or(u16::MAX);
                let text = payload.json().unwrap_or("null");
                self.say(Top { code, ..Top::new(Kind::Reply, number) }, text.as_bytes());
            }
            Err(error) => self.refuse(number, error.clone()),
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(self: &Arc<Self>, number: u64, error: Error) {
        match error {
            Error::Busy { retry_after, .. } => {
                let code = u16::try_from(retry_after.as_millis() / 10).unwrap_or(u16::MAX);
                self.say(Top { code, ..Top::new(Kind::Busy, number) }, &[]);
            }
            Error::NoRecipient { .. } => self.say(Top::new(Kind::NoAgent, number), &[]),
            other => {
                // An error that cannot be written is told by its words.
                let text = serde_json::to_string(&Told::from(other)).unwrap_or_default();
                self.say(Top::new(Kind::Error, number), text.as_bytes());
            }
        }
    }

    /// Sends a record.
    pub(super) fn say(self: &Arc<Self>, top: Top, payload: &[u8]) {
        self.with(|lane| (lane.answer(top, payload, lane.moment()), Vec::new()));
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.lane).waiting()
    }

    pub(super) fn is_flushed(&self) -> bool {
        lock(&self.lane).is_flushed()
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.lane).counts()
    }
}

/// A message on its way. Dropped before it came to an end, it is withdrawn.
pub(super) struct Sent {
    peer: Arc<Peer>,
    number: u64,
    came: oneshot::Receiver<Came>,
    over: bool,
}

impl Sent {
    /// What came of it.
    pub(super) async fn came(mut self) -> Came {
        let came = (&mut self.came).await;
        self.over = true;
        // The table gives an entry up only with a word, unless the whole node ends.
        came.unwrap_or(Came::End(End::InDoubt))
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.over {
            let number = self.number;
            self.peer.with(|lane| (lane.cancel(number, Instant::now()), Vec::new()));
        }
    }
}

/// Leaves a frame to the writer when whoever opened it goes away.
struct HandOn<'a> {
    peer: &'a Arc<Peer>,
    done: bool,
}

impl Drop for HandOn<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.peer.wake();
        }
    }
}

/// Lets others send when whoever was sending goes away.
struct Stop<'a> {
    peer: &'a Arc<Peer>,
    done: bool,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.peer.lane).stopped();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
