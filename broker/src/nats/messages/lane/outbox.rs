//! What goes out over a lane: the frame that is being filled, and those that are not acknowledged yet.
//!
//! A frame stays here until the other side has acknowledged it, so whatever a broken connection swallows is sent again,
//! under the same number, and taken once.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use crate::clock::millis;
use crate::codec::{Bincode, Codec, Flags, HEAD, Head, Kind, MAX_RECORDS, RECORD, Top};

/// Bytes of a frame, unless a single record is larger.
pub(super) const FRAME: usize = 16 << 10;
/// Frames that may be under way without an acknowledgement.
pub(super) const WINDOW: usize = 256;
/// Bytes and records that may wait, to be sent or to be acknowledged.
pub(super) const MAX_BYTES: usize = 8 << 20;
pub(super) const MAX_WAITING: usize = 16_384;

/// Frames whose room is kept for those to come.
const SPARE: usize = 16;

/// The frame that is being filled. Its head is written when it is sent.
#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    records: u16,
    first: u64,
    asks: u16,
    flags: Flags,
    since: Instant,
}

/// A frame that is full or under way.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) seq: u64,
    /// The questions and notifications in it: a range of numbers.
    pub(super) first: u64,
    pub(super) asks: u16,
    pub(super) flags: Flags,
    /// Whether it is a piece of a large payload.
    pub(super) piece: bool,
    records: u16,
    body: Body,
    /// The time of which the milliseconds left in it speak.
    stamped: Instant,
}

#[derive(Debug)]
enum Body {
    Fresh(Vec<u8>),
    Sent(Bytes),
}

/// The frames of one direction.
#[derive(Debug)]
pub(super) struct Outbox {
    open: Option<Open>,
    sealed: VecDeque<Sealed>,
    /// How many of `sealed`, from the front, are under way.
    cursor: usize,
    /// The number of the last frame, and of the last one that was ever under way.
    last: u64,
    reached: u64,
    /// Room of frames that are acknowledged, for those to come.
    spare: Vec<Vec<u8>>,
    /// How often the numbering began anew.
    epoch: u64,
    /// Of all that is not acknowledged.
    bytes: usize,
    waiting: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            open: None,
            sealed: VecDeque::new(),
            cursor: 0,
            last: 0,
            reached: 0,
            spare: Vec::new(),
            epoch: 0,
            bytes: 0,
            waiting: 0,
        }
    }

    /// Whether so many more bytes may wait.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.waiting < MAX_WAITING && self.bytes + bytes <= MAX_BYTES
    }

    /// The number of the frame that a record of this size goes into, and whether it is the first in it.
    pub(super) fn place(&mut self, payload: usize, now: Instant) -> (u64, bool) {
        let size = RECORD + payload;
        // A single record may be larger than a frame usually is.
        let full = |open: &Open| match usize::from(open.records) {
            0 => false,
            records => records == MAX_RECORDS || open.bytes.len() + size > FRAME,
        };
        if self.open.as_ref().is_some_and(full) {
            self.seal(false);
        }
        let opens = self.open.is_none();
        let (spare, busy) = (&mut self.spare, self.waiting > 0);
        self.open.get_or_insert_with(|| Open {
            bytes: blank(spare.pop(), busy),
            records: 0,
            first: 0,
            asks: 0,
            flags: Flags::NONE,
            since: now,
        });
        (self.last + 1, opens)
    }

    /// Appends a record to the open frame; `number` is that of a question or a notification.
    pub(super) fn append(&mut self, top: Top, payload: &[&[u8]], number: Option<u64>, now: Instant) {
        self.place(payload.iter().map(|part| part.len()).sum(), now);
        let Some(open) = &mut self.open else { return };
        let before = open.bytes.len();
        // Counted from the frame's own time, like all others in it.
        let left = top.left.saturating_add(u32::try_from(millis(now.duration_since(open.since))).unwrap_or(u32::MAX));
        Bincode.put_record(
            Top { left: if top.kind == Kind::Chunk { top.left } else { left }, ..top },
            payload,
            &mut open.bytes,
        );
        open.records += 1;
        if let Some(number) = number {
            if open.asks == 0 {
                open.first = number;
            }
            open.asks += 1;
        }
        if matches!(top.kind, Kind::Tell | Kind::Chunk) || open.bytes.len() > FRAME {
            open.flags = open.flags.and(Flags::RECEIPT);
        }
        self.bytes += open.bytes.len() - before;
        self.waiting += 1;
    }

    /// Records that are not under way.
    pub(super) fn gathered(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.records);
        self.sealed.iter().skip(self.cursor).map(|sealed| usize::from(sealed.records)).sum::<usize>()
            + usize::from(open)
    }

    /// Ends the open frame, if there is one.
    pub(super) fn seal(&mut self, piece: bool) {
        let Some(Open { bytes, records, first, asks, flags, since }) = self.open.take() else { return };
        self.last += 1;
        let body = Body::Fresh(bytes);
        let sealed = Sealed { seq: self.last, first, asks, flags, piece, records, body, stamped: since };
        self.sealed.push_back(sealed);
    }

    pub(super) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the open frame was begun.
    pub(super) fn since(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since)
    }

    /// Whether a frame is ready and may go.
    pub(super) fn is_ready(&self) -> bool {
        self.cursor < self.sealed.len() && self.has_window()
    }

    pub(super) fn has_window(&self) -> bool {
        self.cursor < WINDOW
    }

    /// Whether nothing is under way and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_none()
    }

    /// The number of the last frame that was ever under way.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// The next frame as it goes out, under the head that `head` makes of its records, number and flags. It stays next
    /// until [`advance`](Self::advance).
    pub(super) fn next(
        &mut self,
        now: Instant,
        head: impl FnOnce(u16, u64, Flags) -> Head,
    ) -> Option<(Bytes, &Sealed)> {
        let sealed = self.sealed.get_mut(self.cursor)?;
        let mut bytes = match std::mem::replace(&mut sealed.body, Body::Fresh(Vec::new())) {
            Body::Fresh(bytes) => bytes,
            Body::Sent(bytes) => bytes.to_vec(),
        };
        let aged = now.duration_since(sealed.stamped);
        if aged.as_millis() > 0 {
            age(&mut bytes, u32::try_from(aged.as_millis()).unwrap_or(u32::MAX));
            sealed.stamped = now;
        }
        put_head(&mut bytes, &head(sealed.records, sealed.seq, sealed.flags));
        self.reached = self.reached.max(sealed.seq);
        let bytes = Bytes::from(bytes);
        sealed.body = Body::Sent(bytes.clone());
        Some((bytes, sealed))
    }

    /// The frame that was next is under way, unless all of it has to go again since.
    pub(super) fn advance(&mut self, epoch: u64, seq: u64) {
        if self.epoch == epoch && self.sealed.get(self.cursor).is_some_and(|sealed| sealed.seq == seq) {
            self.cursor += 1;
        }
    }

    /// Which numbering of frames this is.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Forgets what is acknowledged and gives it back. An acknowledgement of what was never sent counts for nothing.
    pub(super) fn acknowledged(&mut self, ack: u64) -> Vec<Sealed> {
        if ack > self.reached {
            return Vec::new();
        }
        let count = self.sealed.iter().take_while(|sealed| sealed.seq <= ack).count();
        let mut done: Vec<Sealed> = self.sealed.drain(..count).collect();
        self.cursor = self.cursor.saturating_sub(count);
        for sealed in &mut done {
            self.bytes = self.bytes.saturating_sub(sealed.len().saturating_sub(HEAD));
            self.waiting = self.waiting.saturating_sub(usize::from(sealed.records));
            if let Body::Sent(bytes) = std::mem::replace(&mut sealed.body, Body::Fresh(Vec::new()))
                && self.spare.len() < SPARE
                && let Ok(room) = bytes.try_into_mut()
            {
                self.spare.push(room.into());
            }
        }
        done
    }

    /// All that is not acknowledged has to go again.
    pub(super) fn again(&mut self) {
        self.cursor = 0;
    }

    /// Empties the frame with this range of questions of all that was asked and told in it.
    pub(super) fn refuse(&mut self, first: u64, asks: u16) {
        let refused = self.sealed.iter_mut().find(|sealed| sealed.asks == asks && sealed.first == first);
        if let Some(sealed) = refused {
            sealed.keep(|kind| !matches!(kind, Kind::Ask | Kind::Tell));
        }
        self.count();
    }

    /// Takes what was never sent away, and empties what was: their numbers are still to be acknowledged.
    pub(super) fn abandon(&mut self) {
        self.open = None;
        self.last = self.reached;
        self.sealed.retain(|sealed| sealed.seq <= self.reached);
        self.cursor = self.cursor.min(self.sealed.len());
        self.sealed.iter_mut().for_each(|sealed| sealed.keep(|_| false));
        self.count();
    }

    fn count(&mut self) {
        let open = self.open.iter().map(|open| (open.bytes.len(), open.records));
        let all = self.sealed.iter().map(|sealed| (sealed.len(), sealed.records)).chain(open);
        (self.bytes, self.waiting) = all.fold((0, 0), |(bytes, records), (length, more)| {
            (bytes + length.saturating_sub(HEAD), records + usize::from(more))
        });
    }

    /// Gives the room back that is kept for frames to come.
    pub(super) fn shrink(&mut self) {
        self.spare = Vec::new();
    }

    /// Begins anew, with a peer that has seen nothing.
    pub(super) fn reset(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::new() };
    }
}

impl Sealed {
    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Fresh(bytes) => bytes,
            Body::Sent(bytes) => bytes,
        }
    }

    /// Leaves only the records that pass; a frame without any keeps one that means nothing.
    pub(super) fn keep(&mut self, passes: impl Fn(Kind) -> bool) {
        let mut kept = [0; HEAD].to_vec();
        let mut records = 0;
        if let Ok(frame) = Bincode.frame(self.bytes()) {
            for record in frame.records.iter().filter(|record| passes(record.top.kind)) {
                Bincode.put_record(record.top, &[record.payload], &mut kept);
                records += 1;
            }
        }
        if records == 0 {
            Bincode.put_record(Top::new(Kind::Cancel, 0), &[], &mut kept);
            records = 1;
        }
        (self.body, self.records, self.asks) = (Body::Fresh(kept), records, 0);
    }
}

/// The beginning of a frame, its head still to be written. On a busy lane it gets its whole room at once: to grow into
/// it record by record costs more than to send it.
fn blank(spare: Option<Vec<u8>>, busy: bool) -> Vec<u8> {
    let mut bytes = spare.unwrap_or_else(|| Vec::with_capacity(if busy { FRAME } else { HEAD }));
    bytes.clear();
    bytes.resize(HEAD, 0);
    bytes
}

fn put_head(bytes: &mut [u8], head: &Head) {
    let mut written = Vec::with_capacity(HEAD);
    Bincode.put_head(head, &mut written);
    if let Some(place) = bytes.get_mut(..HEAD) {
        place.copy_from_slice(&written);
    }
}

/// Takes time off the milliseconds that the records of a frame have left.
fn age(bytes: &mut [u8], ms: u32) {
    const LEFT: usize = 16;
    const LENGTH: usize = 45;
    let mut at = HEAD;
    while let Some(length) = bytes.get(at + LENGTH..at + RECORD).and_then(|length| length.try_into().ok()) {
        let chunk = bytes[at] == Kind::Chunk as u8;
        if let Some(left) = bytes.get_mut(at + LEFT..at + LEFT + 4).filter(|_| !chunk) {
            let before = u32::from_le_bytes([left[0], left[1], left[2], left[3]]);
            left.copy_from_slice(&before.saturating_sub(ms).to_le_bytes());
        }
        at += RECORD + u64::from_le_bytes(length) as usize;
    }
}
