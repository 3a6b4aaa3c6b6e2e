//! What an agent is, what it may use, and the ready-made ones.

pub mod context;
pub mod extract;
pub mod failure;
pub mod host;
pub mod service;
pub mod source;

pub use context::Context;
pub use failure::{Failure, OrFail};
pub use service::{Grant, Restart, Service, Shutdown, TaskInfo};
