//! What keeps a failure from spreading: decisions as pure functions of what was seen and of the time, and thin shells
//! that share them.
//!
//! | module | what it does |
//! |---|---|
//! | `breaker` | when a capability is given a rest, and when it is tried again |
//! | `budget` | how many retries a run may spend |
//! | `bulkhead` | how many asks for one capability are under way at a time |
//! | `breakers` | the breakers of a node, shared with all nodes of its broker |
//! | `pass` | what a request that a breaker let through holds until it has ended |
//! | `rate` | when the next may begin, at a rate that many keep together |
//! | `shared` | entries of state that all nodes change together |
//!
//! Retries are decided in `cell::decide`, what stands in for failed work in `callboard_agents::call::fallback`.

pub mod breaker;
pub(crate) mod breakers;
pub mod budget;
pub mod bulkhead;
pub(crate) mod pass;
pub mod rate;
pub(crate) mod shared;
