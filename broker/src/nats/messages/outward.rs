//! Where a message goes that is not for here, and what its sender is told in the end.

use std::sync::Arc;

use tokio::time::Instant;

use super::Exchange;
use super::directory::Seat;
use super::lane::{End, Post};
use super::peer::{Came, Peer, Sent, lock};
use super::said;
use crate::codec::Kind;
use crate::error::{Error, Result};
use crate::messages::{Address, Message};
use crate::payload::Payload;

/// A message on its way to one node.
struct Underway {
    sent: Sent,
    seat: Arc<Seat>,
    /// The peer, for whoever opened a frame of its lane.
    opened: Option<Arc<Peer>>,
}

/// What has happened to a notification so far.
enum Telling {
    Over(Result<()>),
    Underway(Box<Message>, Underway, Vec<Arc<Seat>>),
    Refused(Box<Message>, Came, Vec<Arc<Seat>>),
}

impl Exchange {
    /// Who else is to take a message; none when it is taken here: there is room, or nobody else serves it.
    pub(super) fn elsewhere(&self, to: &Address) -> Option<Arc<[Arc<Seat>]>> {
        match self.room.fill(to) {
            Some(fill) if fill.held < fill.limit => None,
            // Nobody else: the room says what is to be said.
            _ => lock(&self.directory).seats(to),
        }
    }

    /// Asks one node after the other until one has begun with it, first one of `seats`.
    pub(super) async fn ask_elsewhere(&self, message: Message, seats: Arc<[Arc<Seat>]>) -> Result<Payload> {
        let mut tried = Vec::new();
        let mut last = Came::NoAgent;
        let mut next = self.pick(&seats, &tried);
        while let Some(seat) = next {
            last = match self.send(Kind::Ask, &message, &seat)? {
                Ok(underway) => self.wait(underway).await,
                Err(end) => Came::End(end),
            };
            if let Came::Answer(Ok(answer), _) = last {
                return Ok(answer);
            }
            tried.push(seat);
            if !is_unbegun(&last) {
                break;
            }
            next = self.choose(&message.to, &tried);
        }
        self.conclude(last, &message, &tried, false)
    }

    /// Takes notifications where they go, all of them before it waits for the first.
    pub(super) async fn tell_all(&self, messages: Vec<Message>) -> Vec<Result<()>> {
        let mut telling = Vec::with_capacity(messages.len());
        let mut opened: Vec<Arc<Peer>> = Vec::new();
        for message in messages {
            let mut next = self.begin_to_tell(message);
            if let Telling::Underway(_, underway, _) = &mut next {
                opened.extend(underway.opened.take());
            }
            telling.push(next);
        }
        for peer in opened {
            peer.flush_soon(&self.link.client).await;
        }
        let mut told = Vec::with_capacity(telling.len());
        for one in telling {
            told.push(match one {
                Telling::Over(told) => told,
                Telling::Underway(message, underway, tried) => {
                    let came = self.wait(underway).await;
                    self.tell_on(*message, came, tried).await
                }
                Telling::Refused(message, came, tried) => self.tell_on(*message, came, tried).await,
            });
        }
        told
    }

    fn begin_to_tell(&self, message: Message) -> Telling {
        let Some(seats) = self.elsewhere(&message.to) else {
            return Telling::Over(self.room.deliver(message, Instant::now(), |_| None).map(drop));
        };
        let Some(seat) = self.pick(&seats, &[]) else {
            return Telling::Refused(Box::new(message), Came::NoAgent, Vec::new());
        };
        match self.send(Kind::Tell, &message, &seat) {
            Err(error) => Telling::Over(Err(error)),
            Ok(Err(end)) => Telling::Refused(Box::new(message), Came::End(end), vec![seat]),
            Ok(Ok(underway)) => Telling::Underway(Box::new(message), underway, vec![seat]),
        }
    }

    /// Goes on with a notification that one node has refused.
    async fn tell_on(&self, message: Message, came: Came, mut tried: Vec<Arc<Seat>>) -> Result<()> {
        let mut last = came;
        while is_unbegun(&last) {
            let Some(seat) = self.choose(&message.to, &tried) else { break };
            last = match self.send(Kind::Tell, &message, &seat)? {
                Ok(underway) => self.wait(underway).await,
                Err(end) => Came::End(end),
            };
            tried.push(seat);
        }
        self.conclude(last, &message, &tried, true).map(drop)
    }

    fn choose(&self, to: &Address, tried: &[Arc<Seat>]) -> Option<Arc<Seat>> {
        let seats = lock(&self.directory).seats(to)?;
        self.pick(&seats, tried)
    }

    fn pick(&self, seats: &[Arc<Seat>], tried: &[Arc<Seat>]) -> Option<Arc<Seat>> {
        match seats {
            [only] if tried.is_empty() => Some(only.clone()),
            _ => lock(&self.directory).choose(seats, tried),
        }
    }

    /// Puts a message onto the lane to a node. The outer error is about the message, the inner one about the lane.
    fn send(&self, kind: Kind, message: &Message, seat: &Arc<Seat>) -> Result<Result<Underway, End>> {
        self.link.check()?;
        let body = message.body.json()?.as_bytes();
        let Some(peer) = self.peer(&seat.node, Some(seat.boot)) else { return Ok(Err(End::Full)) };
        let (deadline, top) = (message.deadline, said::top(kind, message));
        let posted = said::with_letter(message, |letter| peer.post(Post { top, deadline, letter, body }));
        Ok(posted.map(|(sent, opens)| {
            seat.take();
            Underway { sent, seat: seat.clone(), opened: opens.then_some(peer) }
        }))
    }

    async fn wait(&self, underway: Underway) -> Came {
        let Underway { sent, seat, opened } = underway;
        let mut taken = Taken { seat, depth: None };
        if let Some(peer) = opened {
            // Few open a frame, and all would carry the room that sending one takes.
            Box::pin(peer.flush_soon(&self.link.client)).await;
        }
        let came = sent.came().await;
        if let Came::Answer(_, depth) = &came {
            taken.depth = *depth;
        }
        came
    }

    /// The last word on a message, and its dead letter if it came to nothing.
    fn conclude(&self, last: Came, message: &Message, tried: &[Arc<Seat>], tell: bool) -> Result<Payload> {
        match &last {
            Came::NoAgent => self.room.unserved(message),
            Came::End(End::Undelivered) if tell => self.room.unserved(message),
            Came::End(End::Deadline(_, false)) => self.room.expired(message),
            _ => {}
        }
        let node = tried.last().map_or("", |seat| &*seat.node);
        match last {
            // Whoever tells does not wait for an answer that could be late.
            Came::End(End::Deadline(_, false)) if tell => Err(Error::Expired),
            Came::End(End::Deadline(_, true)) if tell => {
                said::ended(Came::End(End::InDoubt), message, node, self.link.node.as_str())
            }
            last => said::ended(last, message, node, self.link.node.as_str()),
        }
    }
}

/// Whether another node may be tried, because this one has not begun.
fn is_unbegun(came: &Came) -> bool {
    match came {
        Came::Busy(_) | Came::NoAgent => true,
        Came::End(end) => matches!(end, End::Undelivered | End::Full | End::Denied),
        Came::Answer(answer, _) => matches!(answer, Err(Error::Undelivered { .. })),
    }
}

/// Counts a question as outstanding for as long as it is.
struct Taken {
    seat: Arc<Seat>,
    depth: Option<u16>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seat.give_back(self.depth);
    }
}
