//! What keeps a failure from spreading: decisions as pure functions of what was seen and of the time, and thin shells
//! that share them.
//!
//! | module | what it does |
//! |---|---|
//! | `breaker` | when a capability is given a rest, and when it is tried again |
//! | `budget` | how many retries a run may spend |
//! | `breakers` | the breakers of a node, shared with all nodes of its broker |
//!
//! Retries are decided in `cell::decide`, what stands in for failed work in `callboard_agents::call::fallback`.

pub mod breaker;
pub(crate) mod breakers;
pub mod budget;
