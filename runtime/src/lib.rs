//! A distributed, actor-based runtime for teams of AI agents.

pub mod tree;
pub mod workflow;
