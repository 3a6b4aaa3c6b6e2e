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
//! | [`door`] | what strangers come in by: from a prompt to a run and its answer |
//! | `http` | models and agents over HTTP, with the feature `http` |
//! | `mcp` | tools over the Model Context Protocol, with the feature `mcp` |
//! | `models` | what stands round the models of a node |
//! | [`inbox`] | what people are asked, and their answers |
//! | [`schedule`] | work that is submitted at its time |
//! | [`mcp_servers`] | MCP servers, supervised; their client with the feature `mcp` |
//! | [`fork`] | new runs that begin with the records of others |
//! | [`replay`] | runs that ended, run again against their logs |
//! | `apart` | futures that go on while nobody polls who waits for them |
//! | `limits` | what keeps a run finite |
//! | [`telemetry`] | traces and metrics over OpenTelemetry, with the feature `otel` |
//! | [`diag`] | agents that do what they are told, for operators and tests |
//! | [`broker`], [`agents`] | the crates below, whole |

// `#[payload]` names this crate, also in it.
extern crate self as callboard;

mod apart;
mod cell;
pub mod diag;
pub mod door;
pub mod exit;
pub mod fork;
#[cfg(feature = "http")]
pub mod http;
pub mod inbox;
mod limits;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod mcp_servers;
mod models;
mod node;
pub mod period;
pub mod replay;
pub mod resilience;
pub mod schedule;
mod schema;
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
pub use settings::budget::BudgetDoc;
pub use settings::node as config;
pub use settings::node::Config;
pub use tree::Strategy;
pub use workflow::Workflow;
