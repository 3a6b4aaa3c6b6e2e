//! One agent as an actor, and the pool of cells that serves a capability.
//!
//! | file | holds |
//! |---|---|
//! | `pool` | what the cells of one service share: queues, figures, grants |
//! | `actor`, `pump`, `voice` | a cell: the actor that owns the work, what feeds its slots, what it says and hears |
//! | `slot` | a slot is needed to be polled, not to wait |
//! | `attempt`, `settle`, `answer` | one task from claim to last write; one message |
//! | `work` | a handler under all that may end it early |
//! | `decide`, `declined` | what becomes of a task after an attempt, or without one: pure |
//! | `host`, `chain`, `account`, `journal`, `effects`, `append`, `orphans`, `grants` | the inside of a `Context` |
//! | `heart` | claims, kept alive and written back whatever happens |
//! | `hub`, `stats`, `catch` | what all cells share; counters; panics |

mod account;
mod actor;
mod answer;
mod append;
mod attempt;
mod catch;
mod chain;
mod decide;
mod declined;
mod effects;
mod grants;
pub(crate) mod heart;
mod host;
pub(crate) mod hub;
mod journal;
mod orphans;
pub(crate) mod pool;
mod pump;
mod settle;
mod slot;
pub(crate) mod stats;
mod voice;
pub(crate) mod work;
