//! A distributed, actor-based runtime for teams of AI agents.
//!
//! This crate is what users add: it runs agents as actors and re-exports what they need of the others.
//!
//! | module | what it is for |
//! |---|---|
//! | `node` | a running node: build it, ask it, submit to it, stop it |
//! | [`tree`] | supervision in OTP's words |
//! | [`workflow`] | graphs of tasks |
//! | [`team`] | the research team under supervision |
//! | [`resilience`] | what keeps a failure from spreading |
//! | [`exit`] | what a process says by its exit code |
//! | `cell` | one agent as an actor, and pools of them |
//! | [`inbox`] | what people are asked, and their answers |
//! | `limits` | what keeps a run finite |
//! | [`telemetry`] | traces and metrics over OpenTelemetry, with the feature `otel` |
//! | [`diag`] | agents that do what they are told, for operators and tests |
//! | [`broker`], [`agents`] | the crates below, whole |

// `#[payload]` names this crate, also in it.
extern crate self as callboard;

mod cell;
pub mod diag;
pub mod exit;
pub mod inbox;
mod limits;
mod node;
pub mod period;
pub mod resilience;
mod settings;
pub mod team;
pub mod telemetry;
pub mod tree;
pub mod workflow;

pub use callboard_agents as agents;
pub use callboard_agents::*;
pub use callboard_broker as broker;
pub use cell::hub::{Note, Said};
pub use cell::stats::{Reading, quantile};
#[cfg(feature = "nats")]
pub use node::broker_options;
pub use node::{Child, Event, Node, NodeBuilder, Submit, Supervisor, built_in};
pub use settings::node as config;
pub use settings::node::Config;
pub use tree::Strategy;
pub use workflow::Workflow;
