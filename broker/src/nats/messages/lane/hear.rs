//! What a lane makes of what it hears: frames, the server's words, the passing of time.

use tokio::time::Instant;

use super::pending::Entry;
use super::{ACK_AFTER, End, Flags, GONE_AFTER, KNOCK, KNOCK_LATER, Lane, SEARCH, SILENCE, State};
use crate::codec::Head;

/// Earlier incarnations of a peer that are remembered.
const RETIRED: usize = 8;

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Its records are new: take them, then [`take`](Lane::take) it.
    New,
    /// There is nothing in it to take.
    Nothing,
    /// It comes from an incarnation that is over, or is meant for one.
    Stale,
}

impl<W> Lane<W> {
    /// Looks at the head of a frame before its records are taken. Also whoever can wait no longer, because the peer has
    /// begun anew.
    pub(crate) fn hear(&mut self, head: &Head, now: Instant) -> (Heard, Vec<(W, End)>) {
        if self.retired.contains(&head.boot) {
            self.counts.stale += 1;
            return (Heard::Stale, Vec::new());
        }
        let ended = self.meet(head.boot);
        self.heard = now;
        self.come_back(head.flags);
        if head.flags.has(Flags::PING) {
            self.say(Flags::PONG, true);
        }
        if head.ack_boot != self.boot {
            // It does not know this incarnation yet: our answer names it.
            self.counts.stale += u64::from(head.records > 0);
            self.complain(now);
            return (Heard::Stale, ended);
        }
        let missing = head.seq > self.received + u64::from(head.records > 0);
        if missing {
            self.counts.gaps += head.seq.saturating_sub(self.seen.max(self.received) + u64::from(head.records > 0));
            self.seen = self.seen.max(head.seq);
            self.complain(now);
            return (Heard::Nothing, ended);
        }
        if head.records == 0 {
            return (Heard::Nothing, ended);
        }
        if head.seq <= self.received {
            self.counts.repeated += 1;
            self.due = true;
            return (Heard::Nothing, ended);
        }
        (Heard::New, ended)
    }

    /// After its records have been taken: the frame is acknowledged with the next one, and what it acknowledges is
    /// done. In this order, so that a notification that is refused is refused before its frame is acknowledged.
    pub(crate) fn take(&mut self, head: &Head, heard: Heard) -> Vec<(W, End)> {
        if heard == Heard::New {
            self.received = head.seq;
            self.seen = self.seen.max(head.seq);
            self.complained = None;
            self.counts.frames_in += 1;
            self.unacked += 1;
            self.due |= head.flags.has(Flags::RECEIPT) || self.unacked >= ACK_AFTER;
        }
        if heard == Heard::Stale {
            return Vec::new();
        }
        let mut told = Vec::new();
        for sealed in self.out.acknowledged(head.ack) {
            if sealed.piece {
                self.bulk.in_flight = self.bulk.in_flight.saturating_sub(1);
            } else if sealed.flags.has(Flags::RECEIPT) {
                let numbers = sealed.first..sealed.first + u64::from(sealed.asks);
                told.extend(self.pending.take(numbers, |entry| entry.tell));
            }
        }
        if head.flags.has(Flags::AGAIN) {
            self.out.again();
        }
        told.into_iter().map(|entry| (entry.waiter, End::Accepted)).collect()
    }

    /// Learns the incarnation of the peer; whoever waited for an earlier one waits in vain.
    pub(crate) fn meet(&mut self, boot: u32) -> Vec<(W, End)> {
        if self.peer == Some(boot) || self.retired.contains(&boot) {
            return Vec::new();
        }
        let Some(earlier) = self.peer.replace(boot) else { return Vec::new() };
        if self.retired.len() == RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(earlier);
        let ended = self.give_up();
        self.out.reset();
        (self.received, self.seen, self.unacked, self.complained) = (0, 0, 0, None);
        if matches!(self.state, State::Absent(..)) {
            self.state = State::Open;
        }
        ended
    }

    /// A sign of the peer opens a lane that was held or had lost it.
    fn come_back(&mut self, flags: Flags) {
        let sign = flags.has(Flags::PING) || flags.has(Flags::PONG);
        match self.state {
            State::Absent(..) => {}
            State::Held(Some(_)) if sign => {}
            _ => return,
        }
        self.state = State::Open;
        self.out.again();
    }

    /// Asks for what is missing, at most once in a while.
    fn complain(&mut self, now: Instant) {
        if self.complained.is_none_or(|before| now.duration_since(before) >= KNOCK) {
            self.complained = Some(now);
            self.say(Flags::AGAIN, true);
        }
    }

    /// The server says that nobody listened to a frame with this range of questions, or to number `first`.
    pub(crate) fn unheard(&mut self, first: u64, count: u16, now: Instant) -> Vec<(W, End)> {
        // While a lane is held, what the server says is about a peer that has not come back yet.
        if !matches!(self.state, State::Open | State::Absent(..)) {
            return Vec::new();
        }
        if self.state == State::Open {
            self.state = State::Absent(now, false);
        }
        if count == 0 {
            return Vec::new();
        }
        self.out.refuse(first, count);
        let refused = self.pending.take(first..first.saturating_add(u64::from(count)), |_| true);
        refused.into_iter().map(|entry| (entry.waiter, End::Undelivered)).collect()
    }

    /// The server forbids this lane, until we connect again.
    pub(crate) fn denied(&mut self) -> Vec<(W, End)> {
        self.state = State::Denied;
        self.out.abandon();
        self.clear_bulk();
        self.pending.drain().into_iter().map(|entry| (entry.waiter, End::Denied)).collect()
    }

    /// Our connection broke: what was sent may not have arrived.
    pub(crate) fn hold(&mut self) {
        self.state = State::Held(None);
    }

    /// Our connection is there again; whether the peer's sign is worth waiting for.
    pub(crate) fn resume(&mut self, now: Instant) {
        if !matches!(self.state, State::Open) {
            self.state = State::Held(Some(now));
            self.say(Flags::PING, true);
        }
    }

    /// The peer has gone.
    pub(crate) fn gone(&mut self, now: Instant) -> Vec<(W, End)> {
        self.state = State::Absent(now, true);
        let ended = self.give_up();
        self.out.abandon();
        ended
    }

    /// The peer has finished all that it had taken and leaves: what waits was never begun.
    pub(crate) fn farewell(&mut self, now: Instant) -> Vec<(W, End)> {
        self.state = State::Absent(now, true);
        self.out.abandon();
        self.clear_bulk();
        self.pending.drain().into_iter().map(|entry| (entry.waiter, End::Undelivered)).collect()
    }

    fn give_up(&mut self) -> Vec<(W, End)> {
        self.clear_bulk();
        let ended = self.pending.drain().into_iter();
        let reached = self.out.reached();
        ended
            .map(
                |entry| {
                    if sent(&entry, reached) { (entry.waiter, End::InDoubt) } else { (entry.waiter, End::Undelivered) }
                },
            )
            .collect()
    }

    fn clear_bulk(&mut self) {
        self.bulk = super::Bulk::default();
    }

    /// What time alone brings: deadlines, and signs that are asked for. Also whether the peer counts as gone from now on.
    pub(crate) fn tick(&mut self, now: Instant) -> (Vec<(W, End)>, bool) {
        let mut ended = Vec::new();
        let reached = self.out.reached();
        for (number, entry) in self.pending.expired(now) {
            let end = End::Deadline(entry.limit, sent(&entry, reached));
            ended.push((entry.waiter, end));
            self.withdraw(number, now);
        }
        let awaited = !self.pending.is_empty() || !self.is_flushed();
        let knock = match self.state {
            State::Denied | State::Held(None) | State::Absent(_, true) => None,
            State::Held(Some(since)) if now.duration_since(since).as_secs() < 2 => Some(KNOCK),
            State::Held(Some(_)) => Some(KNOCK_LATER),
            State::Absent(since, false) if now.duration_since(since) >= GONE_AFTER => {
                ended.extend(self.gone(now));
                return (ended, true);
            }
            State::Absent(_, false) => Some(SEARCH),
            State::Open if awaited && now.duration_since(self.heard) >= SILENCE => Some(SILENCE),
            State::Open => None,
        };
        if knock.is_some_and(|every| awaited && now.duration_since(self.knocked) >= every) {
            self.knocked = now;
            self.say(Flags::PING, true);
        }
        (ended, false)
    }

    /// A peer that had gone gives signs of life: what is said to it waits for its word, as after a broken connection.
    pub(crate) fn knock(&mut self, now: Instant) {
        match self.state {
            State::Absent(_, true) => self.state = State::Held(Some(now)),
            State::Absent(_, false) => {}
            _ => return,
        }
        self.say(Flags::PING, true);
    }
}

/// Whether the frame of an entry was ever under way.
fn sent<W>(entry: &Entry<W>, reached: u64) -> bool {
    entry.seq.is_some_and(|seq| seq <= reached)
}
