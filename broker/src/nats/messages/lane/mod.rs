//! One lane: the state of what this node and one other say to each other.
//!
//! It decides and does nothing else: time is an argument, frames go in and come out as bytes, and what waits for an
//! answer is a value of the caller's. The server between two nodes may lose a frame, whenever a connection breaks or a
//! reader is slow, but it neither repeats nor reorders one. So frames are numbered, kept until they are acknowledged,
//! taken in order only, and sent again from the first one missing: within one incarnation of both nodes nothing is lost
//! and nothing is taken twice. Every frame names both incarnations; what was meant for another one is not taken.
//!
//! # What ends a question
//! Its answer; *undelivered*, when the server says that nobody listens, or it was never sent; *denied*, when the server
//! forbids it; its deadline; *in doubt*, when its node has gone or has begun anew after the question was sent.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::millis;
use crate::codec::{Bincode, Codec, Flags, Head, Kind, Top};

mod bulk;
mod hear;
mod outbox;
mod pending;
#[cfg(test)]
mod tests;

use bulk::{Bulk, Piece};
use outbox::Outbox;
use pending::{Entry, LARGE, Pending};

pub(crate) use bulk::Partials;
pub(crate) use hear::Heard;
pub(crate) use pending::ByNumber;

/// Frames that are taken before they are acknowledged by a frame of their own.
const ACK_AFTER: u32 = 64;
/// How often a held lane looks whether the peer is there: at first, and later.
const KNOCK: Duration = Duration::from_millis(20);
const KNOCK_LATER: Duration = Duration::from_millis(250);
/// How long a lane may be silent while something is awaited before the peer is asked for a sign.
const SILENCE: Duration = Duration::from_millis(250);
/// How often a peer that nobody knows of at the server is looked for, and how long, before it counts as gone.
const SEARCH: Duration = Duration::from_millis(50);
const GONE_AFTER: Duration = Duration::from_millis(300);

/// Whether frames may go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our connection broke; since when it is there again, once it is. Nothing goes until the peer gives a sign.
    Held(Option<Instant>),
    /// The server knows of nobody who listens, since then; and whether that is taken for final.
    Absent(Instant, bool),
    /// The server forbids it.
    Denied,
}

/// How a question or a notification ended without an answer of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A notification was taken.
    Accepted,
    /// Never taken: safe to repeat.
    Undelivered,
    /// Forbidden by the server.
    Denied,
    /// Taken or not, nobody knows.
    InDoubt,
    /// Its time, which was this long, is over; whether the peer may have it.
    Deadline(Duration, bool),
    /// Too much waits already.
    Full,
}

/// What is to be sent, and under which numbers the server shall say that nobody listens.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    pub(crate) first: u64,
    pub(crate) count: u16,
    /// The frame's numbering and number, when it has one.
    frame: Option<(u64, u64)>,
}

/// A question or notification to be sent.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    /// Its record; the number is given here.
    pub(crate) top: Top,
    pub(crate) deadline: Instant,
    pub(crate) letter: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// What has been counted on one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Frames sent and taken.
    pub(crate) frames_out: u64,
    pub(crate) frames_in: u64,
    /// Frames that were missing when a later one came.
    pub(crate) gaps: u64,
    /// Frames that came again.
    pub(crate) repeated: u64,
    /// Frames of, or for, another incarnation.
    pub(crate) stale: u64,
}

/// One lane. `W` is what waits for an answer.
#[derive(Debug)]
pub(crate) struct Lane<W> {
    boot: u32,
    peer: Option<u32>,
    /// Earlier incarnations of the peer, whose frames may still be on their way.
    retired: VecDeque<u32>,
    state: State,
    pending: Pending<W>,
    out: Outbox,
    bulk: Bulk,
    /// The last frame taken.
    received: u64,
    /// The highest number seen.
    seen: u64,
    unacked: u32,
    /// What the next frame has to say, and whether it is worth one of its own.
    say: Flags,
    due: bool,
    heard: Instant,
    knocked: Instant,
    complained: Option<Instant>,
    sending: bool,
    draining: bool,
    turn_of_bulk: bool,
    counts: Counts,
}

impl<W> Lane<W> {
    /// A lane of incarnation `boot` to a peer, whose incarnation may be known.
    pub(crate) fn new(boot: u32, peer: Option<u32>, now: Instant) -> Self {
        Self {
            boot,
            peer,
            retired: VecDeque::new(),
            state: State::Open,
            pending: Pending::new(),
            out: Outbox::new(),
            bulk: Bulk::default(),
            received: 0,
            seen: 0,
            unacked: 0,
            say: Flags::NONE,
            due: false,
            heard: now,
            knocked: now,
            complained: None,
            sending: false,
            draining: false,
            turn_of_bulk: false,
            counts: Counts::default(),
        }
    }

    /// The time for whoever adds to the open frame: that of its beginning, if it may go at once. The clock is asked
    /// for a frame and not for each record.
    pub(crate) fn moment(&self) -> Instant {
        let goes = self.state == State::Open && self.out.has_window();
        self.out.since().filter(|_| goes).unwrap_or_else(Instant::now)
    }

    /// Takes a question or a notification; its number and whether it opened a frame, which its sender then sends.
    pub(crate) fn post(&mut self, post: Post<'_>, waiter: W, now: Instant) -> Result<(u64, bool), (W, End)> {
        match self.state {
            State::Denied => return Err((waiter, End::Denied)),
            State::Absent(..) => {
                self.say(Flags::PING, true);
                return Err((waiter, End::Undelivered));
            }
            State::Open | State::Held(_) => {}
        }
        let size = post.letter.len() + post.body.len();
        let large = size > bulk::CHUNK_FROM;
        if if large { !self.bulk.has_room(size) } else { !self.out.has_room(size) } {
            return Err((waiter, End::Full));
        }
        let limit = post.deadline.saturating_duration_since(now);
        let left = u32::try_from(millis(limit)).unwrap_or(u32::MAX);
        let tell = post.top.kind == Kind::Tell;
        let entry = |seq| Entry { waiter, tell, deadline: post.deadline, limit, seq };
        if large {
            let number = self.pending.large();
            self.pending.insert_large(number, entry(None));
            let top = Top { correlation: number, left, ..post.top };
            self.bulk.push(number, top, [post.letter, post.body].concat(), now);
            return Ok((number, true));
        }
        let (seq, opens) = self.out.place(size, now);
        let number = self.pending.insert(entry(Some(seq)));
        self.out.append(Top { correlation: number, left, ..post.top }, &[post.letter, post.body], Some(number), now);
        Ok((number, opens))
    }

    /// Sends a record that is no question. An answer is always taken: its question has been.
    pub(crate) fn answer(&mut self, top: Top, payload: &[u8], now: Instant) {
        if payload.len() > bulk::CHUNK_FROM {
            let number = self.pending.large();
            self.bulk.push(number, top, payload.to_vec(), now);
        } else {
            self.out.append(top, &[payload], None, now);
        }
    }

    /// Who waits for this answer, no longer.
    pub(crate) fn answered(&mut self, number: u64) -> Option<W> {
        self.pending.remove(number).map(|entry| entry.waiter)
    }

    /// Nobody waits for this any more; whether the peer is to be told.
    pub(crate) fn cancel(&mut self, number: u64, now: Instant) -> bool {
        if self.pending.remove(number).is_none() {
            return false;
        }
        self.withdraw(number, now);
        true
    }

    fn withdraw(&mut self, number: u64, now: Instant) {
        if number & LARGE != 0 {
            self.bulk.cancel(number);
        }
        self.out.append(Top::new(Kind::Cancel, number), &[], None, now);
    }

    /// Begins to send; false when somebody does, who will see what is there.
    pub(crate) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.sending, true)
    }

    /// What goes next; none when nothing does, and then nobody is sending any more. It stays next until
    /// [`sent`](Self::sent).
    pub(crate) fn next(&mut self, now: Instant) -> Option<Outgoing> {
        let next = self.find_next(now);
        self.sending = next.is_some();
        next
    }

    fn find_next(&mut self, now: Instant) -> Option<Outgoing> {
        if self.state != State::Open {
            return self.due.then(|| self.control());
        }
        if !self.out.is_ready() && self.out.has_window() {
            let pieces = self.bulk.is_ready() && (self.turn_of_bulk || !self.out.has_open());
            self.turn_of_bulk = !pieces;
            self.out.seal(false);
            if pieces {
                self.cut(now);
            }
        }
        if self.out.is_ready() {
            let (boot, received, peer) = (self.boot, self.received, self.peer.unwrap_or(0));
            let say = self.manner();
            let head = |records, seq, flags: Flags| Head::new(records, boot, seq, (received, peer), flags.and(say));
            let epoch = self.out.epoch();
            let (bytes, frame) = self.out.next(now, head)?;
            let (first, count) = if frame.asks == 0 { (frame.seq, 0) } else { (frame.first, frame.asks) };
            return Some(Outgoing { bytes, first, count, frame: Some((epoch, frame.seq)) });
        }
        self.due.then(|| self.control())
    }

    fn manner(&self) -> Flags {
        if self.draining { self.say.and(Flags::DRAINING) } else { self.say }
    }

    fn control(&self) -> Outgoing {
        let ack = (self.received, self.peer.unwrap_or(0));
        let mut bytes = Vec::new();
        Bincode.put_head(&Head::new(0, self.boot, self.out.reached(), ack, self.manner()), &mut bytes);
        Outgoing { bytes: bytes.into(), first: 0, count: 0, frame: None }
    }

    /// Puts the next piece of a large payload into a frame of its own.
    fn cut(&mut self, now: Instant) {
        match self.bulk.next() {
            None => {}
            Some(Piece::Middle(top, bytes)) => {
                self.out.append(top, &[&bytes], None, now);
                self.out.seal(true);
                self.bulk.in_flight += 1;
            }
            Some(Piece::Last(transfer, rest)) => {
                let waited = u32::try_from(millis(now.duration_since(transfer.at))).unwrap_or(u32::MAX);
                let top = Top { chunked: true, left: transfer.top.left.saturating_sub(waited), ..transfer.top };
                let (seq, _) = self.out.place(rest.len(), now);
                let asked = self.pending.get_mut(transfer.number);
                let number = asked.is_some().then_some(transfer.number);
                asked.into_iter().for_each(|entry| entry.seq = Some(seq));
                self.out.append(top, &[&rest], number, now);
                self.out.seal(false);
            }
        }
    }

    /// What was next is under way.
    pub(crate) fn sent(&mut self, sent: &Outgoing) {
        if let Some((epoch, seq)) = sent.frame {
            self.out.advance(epoch, seq);
            self.counts.frames_out += 1;
        }
        (self.unacked, self.due, self.say) = (0, false, Flags::NONE);
    }

    /// Whoever was sending has been stopped in the middle.
    pub(crate) fn stopped(&mut self) {
        self.sending = false;
    }

    /// Records that wait to be sent.
    pub(crate) fn gathered(&self) -> usize {
        self.out.gathered()
    }

    /// Whether something could go now.
    pub(crate) fn has_work(&self) -> bool {
        let open = self.state == State::Open && self.out.has_window();
        self.due || open && (self.out.is_ready() || self.out.has_open() || self.bulk.is_ready())
    }

    fn say(&mut self, flag: Flags, at_once: bool) {
        self.say = self.say.and(flag);
        self.due |= at_once;
    }

    /// This node takes nothing new, and says so in every frame from now on.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing is awaited from the peer, so that the lane may be left alone until somebody wakes it. Of what it
    /// has given nothing is given up but room.
    pub(crate) fn rest(&mut self) -> bool {
        let is_over = match self.state {
            // It is being looked for.
            State::Absent(_, false) => false,
            State::Open => self.out.is_empty(),
            State::Absent(_, true) | State::Held(_) | State::Denied => true,
        };
        let rests = is_over && self.pending.is_empty() && self.bulk.is_empty() && !self.sending;
        if rests {
            self.out.shrink();
        }
        rests
    }

    /// After a rest, in which the connection may have been broken.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.hold();
        self.resume(now);
    }

    /// The incarnation of the peer, as far as it is known.
    pub(crate) fn peer(&self) -> Option<u32> {
        self.peer
    }

    /// How many questions and notifications wait.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether all that was to be sent has been acknowledged.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && self.bulk.is_empty()
    }

    /// What has been counted.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}
