//! Large payloads: cut into pieces here, put together there.
//!
//! Pieces of several payloads take turns, and only a few are under way at a time, so a large payload delays the small
//! ones beside it by no more than a piece or two. It takes the place of its last piece in the order of the lane.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::codec::{Kind, Top};

/// Payloads of more bytes are cut.
pub(super) const CHUNK_FROM: usize = 64 << 10;
/// Bytes of a piece.
pub(super) const CHUNK: usize = 32 << 10;
/// Pieces that are under way at a time.
pub(super) const IN_FLIGHT: usize = 4;
/// Bytes that wait to be cut, and bytes that wait for their last piece.
pub(super) const MAX_BULK: usize = 32 << 20;
/// Payloads that wait for their last piece.
const MAX_PARTIAL: usize = 64;
/// How long one waits for its next piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// A payload on its way out.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) number: u64,
    /// The record that ends it.
    pub(super) top: Top,
    /// Since when `top.left` is counted.
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
    sent: usize,
    pieces: u32,
}

/// The next part of a transfer.
#[derive(Debug)]
pub(super) enum Piece {
    /// A piece in the middle, with its record.
    Middle(Top, Vec<u8>),
    /// The record that ends it: number, full length, and the rest.
    Last(Transfer, Vec<u8>),
}

/// Payloads on their way out, in turns.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    transfers: VecDeque<Transfer>,
    bytes: usize,
    pub(super) in_flight: usize,
}

impl Bulk {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MAX_BULK
    }

    pub(super) fn push(&mut self, number: u64, top: Top, bytes: Vec<u8>, at: Instant) {
        self.bytes += bytes.len();
        self.transfers.push_back(Transfer { number, top, at, bytes, sent: 0, pieces: 0 });
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.transfers.is_empty() && self.in_flight < IN_FLIGHT
    }

    pub(super) fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Piece> {
        let mut transfer = self.transfers.pop_front()?;
        let (from, total) = (transfer.sent, transfer.bytes.len());
        if total - from > CHUNK {
            let piece = transfer.bytes[from..from + CHUNK].to_vec();
            let top = Top { left: transfer.pieces, ..Top::new(Kind::Chunk, transfer.number) };
            (transfer.sent, transfer.pieces) = (from + CHUNK, transfer.pieces + 1);
            self.transfers.push_back(transfer);
            return Some(Piece::Middle(top, piece));
        }
        self.bytes -= total;
        let mut rest = Vec::with_capacity(16 + total - from);
        rest.extend_from_slice(&transfer.number.to_le_bytes());
        rest.extend_from_slice(&(total as u64).to_le_bytes());
        rest.extend_from_slice(&transfer.bytes[from..]);
        Some(Piece::Last(transfer, rest))
    }

    /// Stops one; whether there was one.
    pub(super) fn cancel(&mut self, number: u64) -> bool {
        let before = self.transfers.len();
        self.transfers.retain(|transfer| transfer.number != number);
        self.bytes = self.transfers.iter().map(|transfer| transfer.bytes.len()).sum();
        self.transfers.len() < before
    }
}

/// Payloads on their way in, by number.
#[derive(Debug, Default)]
pub(crate) struct Partials {
    partial: HashMap<u64, Partial>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    pieces: u32,
    at: Instant,
}

impl Partials {
    /// Adds a piece. What does not fit, or does not follow, spoils the whole: its last piece will not match.
    pub(crate) fn add(&mut self, number: u64, piece: u32, bytes: &[u8], now: Instant) {
        let known = self.partial.len();
        if !self.partial.contains_key(&number) && (piece != 0 || known >= MAX_PARTIAL) {
            return;
        }
        let fits = self.bytes + bytes.len() <= MAX_BULK;
        let partial = self.partial.entry(number).or_insert(Partial { bytes: Vec::new(), pieces: 0, at: now });
        if !fits || partial.pieces != piece {
            self.forget(number);
            return;
        }
        partial.bytes.extend_from_slice(bytes);
        (partial.pieces, partial.at) = (piece + 1, now);
        self.bytes += bytes.len();
    }

    /// The whole payload, from the payload of the record that ends it; none when a piece is missing.
    pub(crate) fn finish(&mut self, last: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = last.split_first_chunk::<8>()?;
        let (total, rest) = rest.split_first_chunk::<8>()?;
        let partial = self.partial.remove(&u64::from_le_bytes(*number))?;
        self.bytes -= partial.bytes.len();
        let mut bytes = partial.bytes;
        bytes.extend_from_slice(rest);
        (bytes.len() as u64 == u64::from_le_bytes(*total)).then_some(bytes)
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Drops one.
    pub(crate) fn forget(&mut self, number: u64) {
        if let Some(partial) = self.partial.remove(&number) {
            self.bytes -= partial.bytes.len();
        }
    }

    /// Drops those that nobody goes on with.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.partial.retain(|_, partial| now.duration_since(partial.at) < PATIENCE);
        self.bytes = self.partial.values().map(|partial| partial.bytes.len()).sum();
    }
}
