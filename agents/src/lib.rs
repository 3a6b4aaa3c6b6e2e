//! What an agent is, what it may use, and the ready-made ones.
//!
//! An agent is plain async Rust and sees no actor: whoever runs it supplies a [`host::Host`], which is all that is
//! inside a [`Context`]. So the same agent runs in a node and in a unit test, and nothing below the typed surface is
//! compiled once per capability.
//!
//! | module | what it holds |
//! |---|---|
//! | [`capability`], [`topic`], [`state`], [`mod@payload`] | contracts: what two parties share, as typed constants |
//! | [`agent`], [`mod@stateful`] | agents, and agents with a state that survives crashes |
//! | [`context`], [`call`], [`group`], [`updates`] | what an agent may use, and calls as values |
//! | [`human`] | people as workers |
//! | [`llm`] | language models |
//! | [`tool`] | what agents and models may have done: tools, their rules, and the loop |
//! | `http` (feature `web`) | posting to an address, and what a failure means |
//! | `reach` (feature `web`) | addresses that may be opened |
//! | [`failure`] | what a handler gives up with |
//! | [`service`], [`host`], [`keys`] | the seam to whoever runs agents, untyped |
//! | `testing` (feature `testing`) | the world of an agent under test |
//! | [`prompt`] | from words to a request, for callers that know no types |
//! | [`source`], [`extract`] | reading documents, and answering from them without a model |
//! | [`team`] | the research team: from a question and sources to a cited brief |
//!
//! # For whoever runs agents
//! A client's side of a node is a host without a task: `Ask::over`, `Tell::over` and `Tell::all` take any host,
//! `State::over` any store of state with a [`state::Party`] in whose name it is used, `Run::of_tasks` any store of tasks,
//! and `Updates::unfold` makes a typed stream of whatever can be asked for its next item.

// `#[payload]` names the crate `callboard`, for users; its own agents are served by the same attribute.
extern crate self as callboard;

pub mod agent;
pub mod call;
pub mod capability;
pub mod context;
pub mod extract;
pub mod failure;
pub mod group;
pub mod host;
#[cfg(feature = "web")]
pub mod http;
pub mod human;
pub mod keys;
pub mod llm;
pub mod net;
pub mod payload;
pub mod prompt;
#[cfg(feature = "web")]
pub mod reach;
mod serve;
pub mod service;
pub mod source;
pub mod state;
pub mod stateful;
pub mod team;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tool;
pub mod topic;
pub mod updates;

pub use agent::Agent;
pub use call::{Ask, Delegation, Reply, Run, Tell};
pub use callboard_broker::error::{Class, Error, Remote};
pub use callboard_macros::payload;
pub use capability::Capability;
pub use context::{Context, Resolution};
pub use failure::{Failure, OrFail};
pub use group::Group;
pub use payload::Payload;
pub use serde_json::{Value, json};
pub use service::{Grant, Restart, Service, Shutdown, TaskInfo};
pub use state::{Change, Entry, State, StateKey};
pub use stateful::{Stateful, StatefulAgent, StatefulService, stateful};
pub use topic::{EventKind, Topic};
pub use updates::Updates;

/// A result whose error is what a handler gives up with, unless it says otherwise.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What `#[payload]` refers to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use schemars;
    pub use serde;
}
