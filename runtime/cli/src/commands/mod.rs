//! One module for each noun: its arguments, and what its verbs do.

pub(crate) mod agent;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod inbox;
#[cfg(feature = "mcp")]
pub(crate) mod mcp;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod provision;
pub(crate) mod run;
pub(crate) mod schedule;
#[cfg(feature = "http")]
pub(crate) mod serve;
pub(crate) mod state;
pub(crate) mod task;
pub(crate) mod tree;
pub(crate) mod workflow;
