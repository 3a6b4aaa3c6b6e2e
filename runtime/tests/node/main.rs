//! A node end to end on both embedded wings: asks, tasks, delegation, supervision as users meet them.
//!
//! Time is paused, so waits cost nothing and bounds are exact; that holds on SQLite too, whose writer runs on tokio's
//! blocking threads, for which a paused clock stands still.

#[macro_use]
mod kit;

mod access;
mod approval;
mod asks;
mod breaker;
mod budget;
mod budgets;
mod bulkhead;
mod cancel;
mod common;
mod delegation;
mod effects;
mod fair;
mod fallback;
mod faults;
mod fork;
mod loops;
mod parking;
mod people;
mod replay;
mod schedules;
mod stateful;
mod stops;
mod storm;
mod supervision;
mod tasks;
#[cfg(feature = "testing")]
mod tools;
mod versions;
mod workflow;
