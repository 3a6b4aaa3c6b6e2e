//! What strangers come in by: a prompt or a request becomes a run, whose progress is told and whose output is the answer.
//!
//! A run and not an ask, because a prompt may take minutes and is worked on by many nodes: whatever becomes of one of
//! them, the work goes on. Every door (`node::outside` on NATS, [`http`](crate::http), [`mcp`](crate::mcp)) speaks
//! its own protocol and shares what is here.
//!
//! | file | holds |
//! |---|---|
//! | `desk` | what may be asked for, and from words to a task |
//! | `visit` | a run that somebody listens to |
//! | `attended` | a visit that ends when nobody listens any more, or its time is over |
//! | `listed` | capabilities as nodes tell of them, and read again |
//! | `spent` | what a run has used of models |
//!
//! # Guarantees
//! Only capabilities that were named as public are reached, and only runs of these are shown. A request is read by the
//! agent that will get it before anything is stored.

mod attended;
mod desk;
mod listed;
mod spent;
mod visit;

pub use attended::{Attended, TELLS};
pub use desk::{Desk, Order};
pub use listed::listed;
pub(crate) use listed::told;
pub use spent::spent;
pub use visit::{Told, Visit};
