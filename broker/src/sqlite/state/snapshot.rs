//! When a snapshot of all state is taken.
//!
//! The past is rebuilt from the nearest snapshot before it and the changes since. A snapshot copies every entry, so one is
//! due after a set number of changes, or after as many as there are entries if those are more: then all snapshots together
//! never take more room than the changes between them.

use rusqlite::Connection;

use super::super::fault::Done;
use super::super::file;
use crate::state::Change;

/// See the module. All but `every` follows from the file.
pub(in super::super) struct Snapshots {
    every: u64,
    last: u64,
    /// How many entries there are.
    pub(super) entries: u64,
}

impl Snapshots {
    /// One is due after so many changes at the earliest.
    pub(in super::super) fn new(every: u64) -> Self {
        Self { every: every.max(1), last: 0, entries: 0 }
    }

    pub(in super::super) fn reload(&mut self, conn: &Connection) -> Done<()> {
        self.last = file::number(conn, "SELECT max(sequence) FROM snapshot", [])?;
        self.entries = file::number(conn, "SELECT count(*) FROM state", [])?;
        Ok(())
    }

    pub(super) fn count(&mut self, change: &Change) {
        match (&change.previous, &change.value) {
            (None, Some(_)) => self.entries += 1,
            (Some(_), None) => self.entries = self.entries.saturating_sub(1),
            _ => (),
        }
    }

    pub(super) fn is_due(&self, sequence: u64) -> bool {
        sequence.saturating_sub(self.last) >= self.every.max(self.entries)
    }

    pub(super) fn taken(&mut self, sequence: u64) {
        self.last = sequence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_never_costs_more_than_the_changes_before_it() {
        let mut few = Snapshots::new(100);
        few.entries = 3;
        assert!(!few.is_due(99) && few.is_due(100));
        few.taken(100);
        assert!(!few.is_due(199) && few.is_due(200));
        let mut many = Snapshots::new(100);
        many.entries = 5_000;
        assert!(!many.is_due(4_999) && many.is_due(5_000));
    }
}
