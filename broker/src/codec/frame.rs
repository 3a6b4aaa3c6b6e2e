//! What a frame consists of.

use ::bincode::{BorrowDecode, Encode};

use super::Malformed;

/// Bytes of a head.
pub(crate) const HEAD: usize = 32;
/// Bytes of a record without its payload.
pub(crate) const RECORD: usize = 53;
/// Records of a frame.
pub(crate) const MAX_RECORDS: usize = 64;
/// Bytes of a frame that is read. Ours are far smaller.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// Agents that a message may have passed through.
pub(crate) const MAX_HOPS: usize = crate::lineage::KEPT;

/// The first byte of every frame.
pub(super) const MAGIC: u8 = 0xCB;
/// The only version so far.
pub(super) const VERSION: u8 = 1;

/// What a head says besides its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Flags(pub(crate) u16);

impl Flags {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// Say at once that you are there.
    pub(crate) const PING: Self = Self(1);
    /// I am here.
    pub(crate) const PONG: Self = Self(2);
    /// I take nothing new.
    pub(crate) const DRAINING: Self = Self(4);
    /// Acknowledge soon: somebody waits for it.
    pub(crate) const RECEIPT: Self = Self(8);
    /// Send again what follows `ack`: something is missing.
    pub(crate) const AGAIN: Self = Self(16);

    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is said.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Head {
    pub(super) magic: u8,
    pub(super) version: u8,
    /// Records that follow; 0: the frame has no number of its own.
    pub(crate) records: u16,
    /// The sender's incarnation.
    pub(crate) boot: u32,
    /// The frame's number in this lane and pair of incarnations, from 1; without records, that of the last one before.
    pub(crate) seq: u64,
    /// The highest number seen from you without a gap.
    pub(crate) ack: u64,
    /// Your incarnation: the one that `ack` speaks of and that the frame is meant for.
    pub(crate) ack_boot: u32,
    /// What else there is to say.
    pub(crate) flags: Flags,
    pub(super) spare: u16,
}

impl Head {
    /// The head of a frame of ours.
    pub(crate) fn new(records: u16, boot: u32, seq: u64, ack: (u64, u32), flags: Flags) -> Self {
        let (ack, ack_boot) = ack;
        Self { magic: MAGIC, version: VERSION, records, boot, seq, ack, ack_boot, flags, spare: 0 }
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A question: the payload is a [`Letter`] and the body.
    Ask = 1,
    /// A notification: as an ask, and never answered unless it is refused.
    Tell = 2,
    /// An answer: the payload is its body, `code` the depth of the queue it came from.
    Reply = 3,
    /// An error in the place of an answer: the payload is a document.
    Error = 4,
    /// The queue is full: `code` is when to try again, in units of 10 ms.
    Busy = 5,
    /// Nobody serves the address here.
    NoAgent = 6,
    /// The asker no longer waits.
    Cancel = 7,
    /// The sender leaves: `code` 0, it finishes what it has; 1, it has finished.
    Goodbye = 8,
    /// A piece of a large payload: `correlation` is the number of the transfer, `left` that of the piece.
    Chunk = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Ask,
        Self::Tell,
        Self::Reply,
        Self::Error,
        Self::Busy,
        Self::NoAgent,
        Self::Cancel,
        Self::Goodbye,
        Self::Chunk,
    ];
    /// Set in the byte of a kind whose payload began in chunks: it starts with the transfer's number and full length.
    pub(super) const CHUNKED: u8 = 0x80;

    pub(super) fn of(byte: u8) -> Result<Self, Malformed> {
        let bare = byte & !Self::CHUNKED;
        Self::ALL.into_iter().find(|kind| *kind as u8 == bare).ok_or(Malformed::Kind(byte))
    }
}

/// A record without its payload, for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    /// What it is.
    pub(crate) kind: Kind,
    /// Whether its payload began in chunks.
    pub(crate) chunked: bool,
    /// Agents passed through so far.
    pub(crate) hops: u8,
    /// By kind.
    pub(crate) code: u16,
    /// Which question, by number in the asker's direction of the lane.
    pub(crate) correlation: u64,
    /// Milliseconds to the deadline.
    pub(crate) left: u32,
    /// W3C trace context: trace, span, flags; zeros without one.
    pub(crate) trace: [u8; 25],
}

impl Top {
    /// A record of which only the kind and the number matter.
    pub(crate) fn new(kind: Kind, correlation: u64) -> Self {
        Self { kind, chunked: false, hops: 0, code: 0, correlation, left: 0, trace: [0; 25] }
    }
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// All but the payload.
    pub(crate) top: Top,
    /// The payload, still in the frame.
    pub(crate) payload: &'a [u8],
}

/// A frame that was read and checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Its head.
    pub(crate) head: Head,
    /// Its records, as many as the head says.
    pub(crate) records: Vec<Record<'a>>,
}

/// The address of a message and who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub(crate) struct Letter<'a> {
    /// Whether `to` is the name of an agent, rather than of a capability.
    pub(crate) by_name: bool,
    /// Where to.
    pub(crate) to: &'a str,
    /// The capability in whose terms the body is written.
    pub(crate) capability: &'a str,
    /// The agent or client that sends it.
    pub(crate) from: &'a str,
    /// The run, or nothing.
    pub(crate) run: &'a str,
    /// The agents it passed through, at most [`MAX_HOPS`].
    pub(crate) hops: Vec<&'a str>,
}
