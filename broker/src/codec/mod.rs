//! The binary form of what nodes say to each other: frames of records.
//!
//! Only lanes between nodes are binary; everything that a person, a disk or another language reads is JSON. A frame is a
//! head of 32 bytes and up to 64 records, each 53 bytes and a payload; all numbers are little-endian and of fixed width,
//! and the payload is opaque, so no type of a user ever meets this codec. What stands behind [`Codec`] is bincode, which
//! is no longer maintained: its layout of fixed width is read by other crates, and golden bytes hold it in place, so to
//! replace it is a matter of one file.
//!
//! # Guarantees
//! Any bytes are a frame or an error, in time proportional to their number: no type on the wire is recursive or of size
//! zero, every length is checked against a limit before memory is taken, and bytes beyond the last record are an error.
//! A frame is checked as a whole before its first record can be seen.

use std::fmt;

mod bincode;
mod frame;
#[cfg(test)]
mod tests;

pub(crate) use bincode::Bincode;
pub(crate) use frame::{Flags, Frame, HEAD, Head, Kind, Letter, MAX_FRAME, MAX_HOPS, MAX_RECORDS, RECORD, Record, Top};

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Longer than [`MAX_FRAME`].
    TooLong(usize),
    /// Of another protocol, or of a version that this program does not know.
    Foreign,
    /// More records than [`MAX_RECORDS`].
    TooMany(u16),
    /// It ends in the middle, or a length points beyond its end.
    Short,
    /// So many bytes follow the last record.
    Trailing(usize),
    /// A record of a kind that this program does not know.
    Kind(u8),
    /// The address of a message cannot be read.
    Letter,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(size) => write!(f, "a frame of {size} bytes is over the limit of {MAX_FRAME}"),
            Self::Foreign => f.write_str("it does not begin like a frame of version 1"),
            Self::TooMany(records) => write!(f, "a frame of {records} records is over the limit of {MAX_RECORDS}"),
            Self::Short => f.write_str("it ends in the middle"),
            Self::Trailing(bytes) => write!(f, "{bytes} bytes follow its last record"),
            Self::Kind(kind) => write!(f, "kind {kind} of record is unknown"),
            Self::Letter => f.write_str("the address of a message cannot be read"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Turns frames into bytes and bytes into frames. Reading borrows from the bytes and copies nothing.
pub(crate) trait Codec {
    /// Appends a head: [`HEAD`] bytes.
    fn put_head(&self, head: &Head, out: &mut Vec<u8>);

    /// Appends a record: [`RECORD`] bytes, then the parts of its payload one after the other.
    fn put_record(&self, top: Top, payload: &[&[u8]], out: &mut Vec<u8>);

    /// Appends the address of a message, as the first part of its payload.
    fn put_letter(&self, letter: &Letter<'_>, out: &mut Vec<u8>);

    /// The same into `room`, and how long it is; nothing when it does not fit.
    fn fit_letter(&self, letter: &Letter<'_>, room: &mut [u8]) -> Option<usize>;

    /// Reads a whole frame.
    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Malformed>;

    /// Reads the address at the beginning of a payload; the rest is the message's body.
    fn letter<'a>(&self, payload: &'a [u8]) -> Result<(Letter<'a>, &'a [u8]), Malformed>;
}
