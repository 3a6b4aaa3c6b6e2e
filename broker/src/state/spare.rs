//! Whose entries make room for new ones in a store that holds as many as it may.
//!
//! Every run leaves entries, and nobody takes them away: without this a store that is used for long enough would be full,
//! and stay so. What goes is the state of runs that are over, those first that wrote longest ago. A run that somebody may
//! still go on with keeps its own: while a task of it is open, and while a dead letter of it may be tried again.

use std::collections::HashMap;
use std::time::Duration;

use super::Key;
use crate::clock::{Millis, millis};
use crate::error::Error;
use crate::id::RunId;

/// Who takes entries away.
pub(crate) const BY: &str = "callboard";

/// When somebody is told to come again who found no room, and when it is worth another look.
const AGAIN: Duration = Duration::from_secs(1);

/// When it is worth looking for entries that may go.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    not_before: Millis,
}

impl Spare {
    /// Whether to look. A look goes through the entries of all runs, so none follows at once on one that found nothing.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        now >= self.not_before
    }

    /// Somebody has looked, and so many entries have gone.
    pub(crate) fn looked(&mut self, gone: usize, now: Millis) {
        self.not_before = if gone > 0 { 0 } else { now.saturating_add(millis(AGAIN)) };
    }
}

/// How many entries have to go in one look: more than one, because of what a look costs.
pub(crate) fn enough(keys: u64) -> usize {
    usize::try_from(keys / 100).unwrap_or(usize::MAX).max(1)
}

/// The entries of each run, of entries with their versions; those runs first whose newest entry is the oldest.
pub(crate) fn by_age(entries: impl IntoIterator<Item = (Key, u64)>) -> Vec<(RunId, Vec<Key>)> {
    let mut runs = HashMap::<RunId, (u64, Vec<Key>)>::new();
    for (key, version) in entries {
        let super::Scope::Run(run) = key.scope() else { continue };
        let (newest, keys) = runs.entry(run).or_default();
        *newest = version.max(*newest);
        keys.push(key);
    }
    let mut runs: Vec<_> = runs.into_iter().collect();
    runs.sort_unstable_by_key(|(_, (newest, _))| *newest);
    runs.into_iter().map(|(run, (_, keys))| (run, keys)).collect()
}

/// What somebody is told for whose entry there is no room.
pub(crate) fn full(keys: u64) -> Error {
    Error::Busy { to: format!("shared state, at most {keys} entries,").into(), retry_after: AGAIN }
}
