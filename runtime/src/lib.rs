//! A distributed, actor-based runtime for teams of AI agents.

pub mod period;
mod settings;
pub mod tree;
pub mod workflow;
