//! One agent as an actor, and the pool of cells that serves a capability.
//!
//! | file | holds |
//! |---|---|
//! | `pool` | what the cells of one service share: queues, figures, grants |
//! | `actor`, `pump`, `voice` | a cell: the actor that owns the work, what feeds its slots, what it says and hears |
//! | `slot`, `load`, `bulk` | a slot is needed to be polled, not to wait, which is known from what is open; bulk leaves some free |
//! | `attempt`, `settle`, `answer` | one task from claim to last write; one message |
//! | `work` | a handler under all that may end it early |
//! | `decide`, `declined` | what becomes of a task after an attempt, or without one: pure |
//! | `host`, `chain`, `account`, `journal`, `effects`, `inherit`, `append`, `orphans`, `places`, `grants`, `guarded` | the inside of a `Context` |
//! | `quarantine` | suspects of having killed a process, with nothing beside them |
//! | `homes` | states of stateful agents that are awake here, as other nodes ask for them |
//! | `quit` | what a node and a cell are told to do with what is at work |
//! | `heart` | claims, kept alive and written back whatever happens |
//! | `hub`, `stats`, `catch` | what all cells share; counters; panics |

mod account;
mod actor;
mod answer;
mod append;
mod attempt;
mod bulk;
pub(crate) mod catch;
pub(crate) mod chain;
mod decide;
mod declined;
pub(crate) mod effects;
pub(crate) mod grants;
pub(crate) mod guarded;
pub(crate) mod heart;
pub(crate) mod homes;
mod host;
pub(crate) mod hub;
mod inherit;
mod journal;
mod load;
mod orphans;
mod places;
pub(crate) mod pool;
mod pump;
pub(crate) mod quarantine;
pub(crate) mod quit;
mod settle;
mod slot;
pub(crate) mod stats;
mod voice;
pub(crate) mod work;
