//! On which node a state is.
//!
//! A state is awake on one node at a time, its *home*, which the entry of the state names. Waking it writes that down, so
//! whoever has it awake knows that nobody else has: from then on each change is one conditional write, and a request that
//! changes nothing looks only whether the entry is still the same. A node that gets a request for a state of another one has that let go of it first, after the request
//! it works on. A home that is gone, or does not answer, is not waited for: the next one writes itself down in its place,
//! with the next *epoch*, and with that the entry is another, so that whatever the old home still writes meets a conflict.
//!
//! The idea that a state is where its requests are, and moves, is that of virtual actors (Microsoft Orleans).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::store::Found;

/// States of one agent that are awake on one node, unless it says so; of more the one that was used least lately sleeps.
pub const AWAKE: usize = 1_000;
/// How long a state stays awake that nobody asks for.
pub(super) const SLEEPS_AFTER: Duration = Duration::from_secs(300);

/// Where a state is awake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Home {
    /// The node's name.
    pub(super) node: String,
    /// Which waking it was, from 1.
    pub(super) epoch: u64,
}

/// What came of asking another node to let go of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It has.
    Done,
    /// It works on it and will.
    NotYet,
    /// It is gone, or does not answer.
    Gone,
}

/// The states that are awake on one node, as other nodes ask for them. Supplied by whoever runs the agents.
pub trait Homes: Send + Sync {
    /// This node's name.
    fn node(&self) -> &str;

    /// Says who keeps the states below a key of shared state; saying it again changes nothing.
    fn keep(&self, below: &str, keeper: Arc<dyn Keeper>);

    /// Asks another node to let go of a state below such a key, for a request that came over these hops; the last is its
    /// own.
    ///
    /// # Errors
    /// `Loop`, when what that node does with the state waits for this very request.
    fn ask<'a>(
        &'a self,
        node: &'a str,
        below: &'a str,
        key: &'a str,
        hops: Vec<Arc<str>>,
    ) -> BoxFuture<'a, Result<Move, Error>>;
}

/// Who keeps states awake.
pub trait Keeper: Send + Sync {
    /// Whether a request that came over these hops may wait until it is let go of.
    ///
    /// # Errors
    /// `Loop`, when who works on it waits for that request.
    fn check(&self, key: &str, hops: &[Arc<str>]) -> Result<(), Error>;

    /// Lets go of a state, after the requests for it that are here already.
    fn let_go<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()>;
}

/// The states of one agent that are awake here and not at work.
pub(super) struct Awake<S> {
    limit: usize,
    states: Mutex<HashMap<String, (Found<S>, Instant)>>,
}

impl<S> Awake<S> {
    /// At most so many; none: each sleeps after its request.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, states: Mutex::default() }
    }

    /// The state at a key, for a request that has its turn.
    pub(super) fn take(&self, key: &str) -> Option<Found<S>> {
        self.lock().remove(key).map(|(found, _)| found)
    }

    /// Keeps it awake for the next request.
    pub(super) fn put(&self, key: &str, found: Found<S>) {
        let (mut states, now) = (self.lock(), Instant::now());
        states.insert(key.to_owned(), (found, now));
        states.retain(|_, (_, used)| now.duration_since(*used) < SLEEPS_AFTER);
        if states.len() > self.limit
            && let Some(least) = states.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())
        {
            states.remove(&least);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Found<S>, Instant)>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
