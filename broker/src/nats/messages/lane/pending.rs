//! The asks and notifications that wait for the other side, by number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// Numbers of large payloads have this bit, so that those of the others are contiguous within a frame.
pub(super) const LARGE: u64 = 1 << 63;

/// A table by numbers that we give out, or a peer of ours.
pub(crate) type ByNumber<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// One that waits.
#[derive(Debug)]
pub(super) struct Entry<W> {
    pub(super) waiter: W,
    /// Accepted as soon as its frame is acknowledged.
    pub(super) tell: bool,
    pub(super) deadline: Instant,
    /// The time that was given.
    pub(super) limit: Duration,
    /// The frame that it is in; none while it is in pieces.
    pub(super) seq: Option<u64>,
}

/// The table. Numbers are given out in order and never twice.
#[derive(Debug)]
pub(super) struct Pending<W> {
    entries: ByNumber<Entry<W>>,
    last: u64,
    last_large: u64,
}

impl<W> Pending<W> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::default(), last: 0, last_large: LARGE }
    }

    /// Gives the next number out.
    pub(super) fn insert(&mut self, entry: Entry<W>) -> u64 {
        self.last += 1;
        self.entries.insert(self.last, entry);
        self.last
    }

    /// A number for what travels in pieces, question or answer.
    pub(super) fn large(&mut self) -> u64 {
        self.last_large += 1;
        self.last_large
    }

    /// Lets a question in pieces wait under a number from [`large`](Self::large).
    pub(super) fn insert_large(&mut self, number: u64, entry: Entry<W>) {
        self.entries.insert(number, entry);
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry<W>> {
        self.entries.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Entry<W>> {
        self.entries.remove(&number)
    }

    /// Takes those of a range that pass.
    pub(super) fn take(&mut self, numbers: Range<u64>, passes: impl Fn(&Entry<W>) -> bool) -> Vec<Entry<W>> {
        let passing = |number| self.entries.get(&number).is_some_and(&passes);
        let numbers: Vec<u64> = numbers.filter(|number| passing(*number)).collect();
        numbers.into_iter().filter_map(|number| self.entries.remove(&number)).collect()
    }

    /// Takes those whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(u64, Entry<W>)> {
        self.entries.extract_if(|_, entry| entry.deadline <= now).collect()
    }

    /// Takes all of them.
    pub(super) fn drain(&mut self) -> Vec<Entry<W>> {
        self.entries.drain().map(|(_, entry)| entry).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Numbers that we give out ourselves are spread well enough as they are.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        // The table takes its groups from the low bits and its tags from the high ones.
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl std::fmt::Debug for AsItIs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AsItIs")
    }
}
