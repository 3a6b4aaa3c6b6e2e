//! What stands in for a child that failed for good.
//!
//! The chain is data, tried in the order in which it was declared, and each step only when all before it came to
//! nothing. Every choice follows from the log of the task that delegated: children by their keys, and what was found
//! among earlier responses as a recorded step. So a parent that runs again after a crash makes the same choice.

mod cache;
mod chain;
#[cfg(test)]
mod tests;

use std::time::Duration;

use callboard_broker::payload::Payload as Body;
use callboard_broker::subject::CapabilityName;
use serde_json::Value;

use super::Began;
pub use chain::outcome;

/// How a child is to be done, beside what its order says.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What is tried when it failed for good, in this order.
    pub fallbacks: Vec<Fallback>,
    /// After which time a second one is delegated, at most [`MAX_HEDGE`](super::MAX_HEDGE); none: never.
    pub hedge: Option<Duration>,
    /// What was delegated so far.
    pub(crate) began: Began,
}

/// One thing to try when a child failed for good.
#[derive(Clone, Debug)]
pub enum Fallback {
    /// Another capability, with the same input and the same options.
    Capability(CapabilityName),
    /// The newest response of the same capability to the same input, of any run, when it is not older than this. Only
    /// delegations that declare it leave their responses behind for it.
    Cached(Duration),
    /// What the agent had kept when it gave up.
    Partial,
    /// People: who answers this capability, and the JSON Schema of an answer.
    Human(CapabilityName, Value),
    /// This response, as if it had been given.
    Value(Body),
}
