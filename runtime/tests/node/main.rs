//! A node end to end on both embedded wings: asks, tasks, delegation, supervision as users meet them.
//!
//! Time is paused, so waits cost nothing and bounds are exact; that holds on SQLite too, whose writer runs on tokio's
//! blocking threads, for which a paused clock stands still.

#[macro_use]
mod kit;

mod asks;
mod breaker;
mod budget;
mod budgets;
mod delegation;
mod effects;
mod fallback;
mod faults;
mod loops;
mod parking;
mod stops;
mod storm;
mod supervision;
mod tasks;
mod workflow;
