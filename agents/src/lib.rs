//! What an agent is, what it may use, and the ready-made ones.

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
pub mod keys;
pub mod payload;
mod serve;
pub mod service;
pub mod source;
pub mod state;
pub mod stateful;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topic;
pub mod updates;

pub use agent::Agent;
pub use call::{Ask, Delegation, Reply, Run, Tell};
pub use callboard_broker::error::{Class, Error, Remote};
pub use callboard_macros::payload;
pub use capability::Capability;
pub use context::Context;
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
