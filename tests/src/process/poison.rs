//! What the program `poison_node` is asked for.

use callboard::payload;

/// How a piece of work ends.
#[payload]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With a result.
    Well,
    /// With a failure, each time.
    Fails,
    /// With its process.
    Aborts,
}

/// A piece of work.
#[payload]
#[derive(Clone, Copy)]
pub struct Work {
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// How it ends.
    pub how: How,
}
