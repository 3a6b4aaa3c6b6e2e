//! The supervision tree as a user of the crate sees it: events, snapshots, orders. Time is paused, so waits cost nothing
//! and a test that would hang fails instead.

mod basics;
mod escalation;
mod orders;
mod restarting;
mod stage;
mod stopping;
mod storm;
mod table;
