//! One agent as an actor, and the pool of cells that serves a capability.
//!
//! | file | holds |
//! |---|---|
//! | `pool` | what the cells of one service share: queues, figures, grants |
//! | `actor` | a cell: the actor that owns the work, and the pumps that feed its slots |
//! | `slot` | a slot is needed to be polled, not to wait |
//! | `attempt`, `answer` | one task, one message, from claim to last write |
//! | `work` | a handler under all that may end it early |
//! | `decide` | what becomes of a task after an attempt: pure |
//! | `host`, `journal`, `grants` | the inside of a `Context` |
//! | `hub`, `stats`, `catch` | what all cells share; counters; panics |

mod actor;
mod answer;
mod attempt;
mod catch;
mod decide;
mod grants;
mod host;
pub(crate) mod hub;
mod journal;
pub(crate) mod pool;
mod slot;
pub(crate) mod stats;
pub(crate) mod work;
