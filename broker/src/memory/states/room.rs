//! Writes as transactions on the store, and whose state makes room for them.

use super::super::store::Store;
use super::{StateRoom, below};
use crate::clock::Millis;
use crate::error::Result;
use crate::facts;
use crate::id::RunId;
use crate::state::{Expect, Key, Put, Write, spare};

impl StateRoom {
    /// Whether a write would be applied if there were room for one more entry.
    fn lacks_room_for(&self, write: &Write) -> bool {
        self.entries.len() >= self.limits.keys
            && write.value.is_some()
            && matches!(write.expect, Expect::Any | Expect::Version(0))
            && !self.entries.contains_key(&write.key)
    }

    fn keys_below(&self, prefix: &str) -> Vec<Key> {
        below(&self.entries, prefix).map(|entry| entry.key.clone()).collect()
    }
}

impl Store {
    /// Applies one write with what follows from it, or says why not.
    pub(super) fn put(&mut self, write: Write, now: Millis) -> Result<Put> {
        if self.states.lacks_room_for(&write) && self.states.spare.is_due(now) {
            self.make_room(now);
        }
        let (put, change) = self.states.put(write, now)?;
        if let Some(change) = change {
            self.events.add(facts::changed(&change), now);
        }
        Ok(put)
    }

    /// Clears the state of a run.
    pub(in super::super) fn clear_state_of(&mut self, run: &RunId, now: Millis) {
        let keys = self.states.keys_below(&format!("run.{run}"));
        self.clear(keys, now);
    }

    fn make_room(&mut self, now: Millis) {
        let (mut gone, enough) = (0, spare::enough(self.states.limits.keys as u64));
        let entries = below(&self.states.entries, "run").map(|entry| (entry.key.clone(), entry.version));
        for (run, keys) in spare::by_age(entries) {
            if gone >= enough {
                break;
            }
            if self.runs.is_over(&run) && !self.dead.has_any_of(&run) {
                gone += keys.len();
                self.clear(keys, now);
            }
        }
        self.states.spare.looked(gone, now);
    }

    /// Whoever watches or asks for the past sees it as the change that it is.
    fn clear(&mut self, keys: Vec<Key>, now: Millis) {
        for key in keys {
            let write = Write { key, expect: Expect::Any, value: None, by: spare::BY.into(), task: None };
            if let Ok((_, Some(change))) = self.states.put(write, now) {
                self.events.add(facts::changed(&change), now);
            }
        }
    }
}
