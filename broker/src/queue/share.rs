//! Whose turn it is among the priorities, so that what is less urgent waits longer but not forever.

use crate::task::Priority;

/// Which priority is looked at first in a turn. When nothing of it waits the most urgent goes first. Of 16 turns 12 are
/// `high`, 3 are `normal` and 1 is `bulk`.
pub fn first(turn: u64) -> Priority {
    match turn % 16 {
        15 => Priority::Bulk,
        3 | 7 | 11 => Priority::Normal,
        _ => Priority::High,
    }
}

/// How many of the next `slots` turns belong to each of the less urgent priorities.
#[cfg(feature = "nats")]
pub fn less_urgent(turn: u64, slots: usize) -> [(Priority, usize); 2] {
    [Priority::Bulk, Priority::Normal].map(|of| (of, (turn..).take(slots).filter(|turn| first(*turn) == of).count()))
}
