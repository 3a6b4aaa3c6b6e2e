//! Real processes under test: a child that dies with its owner, what it left behind, and what that must look like.
//!
//! The program [`kill_node`](../../kill_node/index.html) does known work and counts each execution by a line in a
//! [`ledger`], outside of the store that it is killed over. What the store says is read from a [copy](recorded) of its
//! files, so no counter of ours is trusted and nothing is repaired by looking.

mod child;
mod counter;
pub mod ledger;
pub mod place;
pub mod poison;
pub mod recorded;
pub mod till;
mod verdict;

pub use child::{Child, Ended};
pub use counter::{Counter, Post};
pub use ledger::Line;
pub use recorded::Recorded;
pub use verdict::{Life, incomplete, repeated};

/// A number that follows from the one before it (SplitMix64): enough to scatter kills, and the same for the same seed.
pub fn scatter(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
