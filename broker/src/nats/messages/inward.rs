//! What comes in over the lanes, and what the server says about what went out.
//!
//! One task reads it and never waits for anything but the next frame: what has to be sent because of it is left to the
//! writer. Who speaks is the last token of the subject, on which only that node may publish.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use tokio::time::Instant;

use super::Exchange;
use super::lane::{End, Heard};
use super::peer::{Came, Peer, lock};
use super::said;
use crate::codec::{Bincode, Codec, Flags, Frame, Kind, Record};
use crate::dead_letter::Reason;
use crate::error::{Error, Result};
use crate::messages::{Address, Message, ReplyTo};
use crate::nats::js::{came_directly, receive};
use crate::nats::names;
use crate::payload::Payload;
use crate::subject::{self, CapabilityName};
use crate::told::Told;

/// How much of a frame that cannot be read is kept.
const KEPT: usize = 200;

impl Exchange {
    /// Reads all lanes to this node.
    pub(super) async fn read_lanes(self: Arc<Self>, mut lanes: Subscriber) {
        while let Some(message) = receive(&mut lanes).await {
            let mut tokens = message.subject.as_str().split('.').skip(4);
            match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
                (Some(from), None, ..) => {
                    let lane = names::lane(self.link.node.as_str(), from);
                    if came_directly(&message, &lane) {
                        self.on_frame(from, &message.payload);
                    } else {
                        let why = "it came by way of a stream, and not from the node that it names";
                        self.bury(from, &message.payload, Reason::Spoofed, why);
                    }
                }
                (Some("nr"), Some(peer), Some(first), Some(count)) => {
                    let nobody = message.status.is_some_and(|status| status.as_u16() == 503);
                    if let (true, Ok(first), Ok(count)) = (nobody, first.parse(), count.parse()) {
                        self.on_unheard(peer, first, count);
                    }
                }
                _ => {}
            }
        }
    }

    fn on_unheard(&self, peer: &str, first: u64, count: u16) {
        if let Some(peer) = self.known_peer(peer) {
            peer.with(|lane| ((), lane.unheard(first, count, Instant::now())));
        }
    }

    fn on_frame(&self, from: &str, bytes: &[u8]) {
        let frame = match Bincode.frame(bytes) {
            Ok(frame) => frame,
            Err(malformed) => return self.undecodable(from, bytes, &malformed.to_string()),
        };
        let head = &frame.head;
        let Some(peer) = self.peer(from, Some(head.boot)) else { return };
        let now = Instant::now();
        let (heard, anew) = peer.with(|lane| {
            let before = lane.peer();
            let (heard, ended) = lane.hear(head, now);
            ((heard, before.is_some() && before != lane.peer()), ended)
        });
        if anew {
            peer.lost();
        }
        if heard == Heard::New {
            self.on_answers(&peer, &frame);
            for record in &frame.records {
                if let Err(why) = self.on_record(&peer, record, now) {
                    self.undecodable(from, record.payload, &why.to_string());
                    peer.refuse(record.top.correlation, why);
                }
            }
        }
        if head.flags.has(Flags::DRAINING) {
            lock(&self.directory).drains(from);
        }
        peer.with(|lane| ((), lane.take(head, heard)));
    }

    /// Answers first, all of a frame under one lock.
    fn on_answers(&self, peer: &Arc<Peer>, frame: &Frame<'_>) {
        let answers = frame.records.iter().filter(|record| is_answer(record.top.kind));
        let answers: Vec<_> = peer
            .with(|lane| (answers.map(|record| (lane.answered(record.top.correlation), record)).collect(), Vec::new()));
        for (waiter, record) in answers {
            let came = answer(peer, record);
            let reached = waiter.is_some_and(|waiter| waiter.send(came).is_ok());
            if !reached {
                peer.late.fetch_add(1, Ordering::Relaxed);
            } else if matches!(record.top.kind, Kind::Reply | Kind::Error) {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn on_record(&self, peer: &Arc<Peer>, record: &Record<'_>, now: Instant) -> Result<()> {
        match record.top.kind {
            Kind::Ask | Kind::Tell => self.on_message(peer, record, now),
            Kind::Chunk => {
                lock(&peer.desk).partials.add(record.top.correlation, record.top.left, record.payload, now);
                Ok(())
            }
            Kind::Cancel => {
                on_cancel(peer, record.top.correlation, now);
                Ok(())
            }
            Kind::Goodbye => {
                lock(&self.directory).drains(&peer.name);
                if record.top.code > 0 {
                    lock(&self.directory).forget(&peer.name);
                    peer.with(|lane| ((), lane.farewell(now)));
                    peer.lost();
                }
                Ok(())
            }
            Kind::Reply | Kind::Error | Kind::Busy | Kind::NoAgent => Ok(()),
        }
    }

    /// A question or a notification: into the queue of its address, or back.
    fn on_message(&self, peer: &Arc<Peer>, record: &Record<'_>, now: Instant) -> Result<()> {
        let message = read_message(peer, record, now)?;
        let number = record.top.correlation;
        if record.top.left == 0 {
            // Its sender has given it up before it was sent, and has kept it if it is to be kept.
            peer.refuse(number, Error::Expired);
            return Ok(());
        }
        let Some(mailbox) = self.room.find(&message.to).filter(|_| !self.is_draining()) else {
            peer.refuse(number, Error::NoRecipient { to: "".into() });
            return Ok(());
        };
        if record.top.kind == Kind::Tell {
            if let Err(error) = self.room.deliver_to(mailbox, message, now, |_| None) {
                peer.refuse(number, error);
            }
            return Ok(());
        }
        let asker = peer.serve(number, message.deadline);
        let answering = peer.clone();
        let reply = move |message: &Message| {
            let send = move |answer| answering.reply(number, answer);
            Some(ReplyTo::new(&message.to, asker, send))
        };
        match self.room.deliver_to(mailbox, message, now, reply) {
            Ok(place) => peer.placed(number, place),
            Err(error) => {
                peer.served(number);
                peer.refuse(number, error);
            }
        }
        Ok(())
    }

    fn undecodable(&self, from: &str, bytes: &[u8], why: &str) {
        self.bury(from, bytes, Reason::Undecodable, why);
    }

    /// Keeps the beginning of a frame that is refused, with where it came from, or says that it does.
    fn bury(&self, from: &str, bytes: &[u8], reason: Reason, why: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(from, bytes = bytes.len(), reason = reason.as_str(), why, "a frame is refused");
        let Ok(capability) = CapabilityName::parse("node") else { return };
        let kept: String = bytes.iter().take(KEPT).map(|byte| format!("{byte:02x}")).collect();
        let message = Message {
            to: Address::Agent(self.link.node.as_str().into()),
            capability,
            from: from.into(),
            body: Payload::of(kept),
            deadline: Instant::now(),
            run: None,
            hops: Vec::new(),
            traceparent: None,
        };
        self.dead.bury(&message, reason, why);
    }

    /// The peer of this name, or a new one. None for a name that is none, and for one too many.
    pub(super) fn peer(&self, name: &str, boot: Option<u32>) -> Option<Arc<Peer>> {
        if let Some(peer) = self.known_peer(name) {
            return Some(peer);
        }
        subject::token("node name", name).ok()?;
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Peer::new(&self.link.node, name, self.link.boot, boot, self.writer.clone());
        peers.open(name, Instant::now(), new)
    }

    /// The peer of this name, unless there is none or its lane rests.
    pub(super) fn known_peer(&self, name: &str) -> Option<Arc<Peer>> {
        self.table().here(name).cloned()
    }

    /// The peer of this name, if there is one: it is there again, so its lane rests no longer.
    pub(super) fn met_peer(&self, name: &str, boot: u32) -> Option<Arc<Peer>> {
        let known = self.known_peer(name);
        known.or_else(|| if self.table().rests(name) { self.peer(name, Some(boot)) } else { None })
    }
}

fn is_answer(kind: Kind) -> bool {
    matches!(kind, Kind::Reply | Kind::Error | Kind::Busy | Kind::NoAgent)
}

/// What a record says to whoever asked.
fn answer(peer: &Peer, record: &Record<'_>) -> Came {
    match record.top.kind {
        Kind::Busy => return Came::Busy(Duration::from_millis(u64::from(record.top.code) * 10)),
        Kind::NoAgent => return Came::NoAgent,
        _ => {}
    }
    let whole;
    let mut payload = record.payload;
    if record.top.chunked {
        whole = lock(&peer.desk).partials.finish(payload);
        match &whole {
            Some(bytes) => payload = bytes,
            None => return Came::End(End::InDoubt),
        }
    }
    match record.top.kind {
        Kind::Reply => Came::Answer(Payload::from_peer(payload), Some(record.top.code)),
        _ => {
            let told = serde_json::from_slice::<Told>(payload).map(Error::from);
            Came::Answer(Err(told.unwrap_or_else(|e| Error::decode(format!("an error of {}: {e}", peer.name)))), None)
        }
    }
}

/// A message, its address from the one before if that was the same.
fn read_message(peer: &Peer, record: &Record<'_>, now: Instant) -> Result<Message> {
    let mut desk = lock(&peer.desk);
    let whole;
    let mut payload = record.payload;
    if record.top.chunked {
        let lost = || Error::Undelivered { to: "a node that has lost a piece of it".into() };
        whole = desk.partials.finish(payload).ok_or_else(lost)?;
        payload = &whole;
    }
    let (message, length) = match &desk.letter {
        Some((bytes, message)) if payload.starts_with(bytes) => (message.clone(), bytes.len()),
        _ => {
            let (message, length) = said::addressed(payload).map_err(|e| Error::decode(e.to_string()))?;
            desk.letter = Some((payload[..length].to_vec(), message.clone()));
            (message, length)
        }
    };
    said::filled(message, record, &payload[length..], now)
}

/// The asker has gone: what waits is not begun and, if its time is over, kept; what runs is told.
fn on_cancel(peer: &Peer, number: u64, now: Instant) {
    lock(&peer.desk).partials.forget(number);
    if let Some(serving) = peer.served(number)
        && let Some((mailbox, place)) = serving.place
    {
        if serving.deadline <= now { mailbox.expire(place) } else { mailbox.withdraw(place) }
    }
}
