//! One call for all who want the same: the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::CacheKey;

/// How long anybody waits for the answer of somebody else before asking too.
const FLIGHT: Duration = Duration::from_secs(60);

type Line = Arc<tokio::sync::Mutex<()>>;

/// Who is asking for what.
#[derive(Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<CacheKey, Line>>>);

/// The turn to ask for something. Whoever waits gets it when this is dropped, and looks first whether there is an answer
/// by now: so one whose predecessor failed, or was dropped, asks in its place.
#[derive(Debug)]
pub(super) struct Turn {
    key: CacheKey,
    held: Option<OwnedMutexGuard<()>>,
    lines: Arc<Mutex<HashMap<CacheKey, Line>>>,
}

impl Flights {
    /// Waits for the turn, in order, or a minute.
    ///
    /// # Cancellation
    /// Dropping the future leaves the line.
    pub(super) async fn turn(&self, key: CacheKey) -> Turn {
        // Made before the wait, so that whoever leaves the line cleans up behind.
        let mut turn = Turn { key, held: None, lines: self.0.clone() };
        let line = lock(&self.0).entry(key).or_default().clone();
        turn.held = tokio::time::timeout(FLIGHT, line.lock_owned()).await.ok();
        turn
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut lines = lock(&self.lines);
        // Who waits, or has just been given the turn, holds the line too.
        if lines.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.key);
        }
    }
}

fn lock(lines: &Mutex<HashMap<CacheKey, Line>>) -> MutexGuard<'_, HashMap<CacheKey, Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
