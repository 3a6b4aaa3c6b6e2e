//! What holds of a node on the embedded wings holds on a NATS server: the very same tests, in real time.
//!
//! Goal: no promise of the runtime ends where the broker does. Method: the tests of `runtime/tests/node` that wait for
//! nothing long, each with a server of its own. Those that are left out need a paused clock, or several stores.
#![cfg(unix)]
#![allow(dead_code, reason = "what only tests use that are left out")]

#[macro_use]
mod kit;

#[path = "../../../runtime/tests/node/access.rs"]
mod access;
#[path = "../../../runtime/tests/node/approval.rs"]
mod approval;
#[path = "../../../runtime/tests/node/breaker.rs"]
mod breaker;
#[path = "../../../runtime/tests/node/budget.rs"]
mod budget;
#[path = "../../../runtime/tests/node/budgets.rs"]
mod budgets;
#[path = "../../../runtime/tests/node/bulkhead.rs"]
mod bulkhead;
#[path = "../../../runtime/tests/node/common.rs"]
mod common;
#[path = "../../../runtime/tests/node/delegation.rs"]
mod delegation;
#[path = "../../../runtime/tests/node/effects.rs"]
mod effects;
#[path = "../../../runtime/tests/node/fallback.rs"]
mod fallback;
#[path = "../../../runtime/tests/node/fork.rs"]
mod fork;
#[path = "../../../runtime/tests/node/loops.rs"]
mod loops;
#[path = "../../../runtime/tests/node/replay.rs"]
mod replay;
#[path = "../../../runtime/tests/node/stateful.rs"]
mod stateful;
#[path = "../../../runtime/tests/node/tools.rs"]
mod tools;
#[path = "../../../runtime/tests/node/workflow.rs"]
mod workflow;
