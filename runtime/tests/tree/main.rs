//! The supervision tree as a user of the crate sees it: events, snapshots, orders. Time is paused, so waits cost nothing
//! and a test that would hang fails instead.

mod basics;
mod stage;
mod table;
