//! What really happened in a simulation, as somebody outside who sees everything would note it down.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::contract::invariants::{Done, Seen};

/// The notes of one seed. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<(Instant, Mutex<Notes>)>);

/// All that was noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// What the wing was seen to do, in order.
    pub seen: Vec<Seen>,
    /// The effects that were done, in order.
    pub done: Vec<Done>,
    /// Counts that were begun, and that were known to be applied.
    pub counts: (u64, u64),
    /// All of it in words, with the virtual milliseconds since the beginning.
    pub trace: Vec<String>,
}

impl Notes {
    /// One number for everything that happened and when.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.trace.hash(&mut hasher);
        hasher.finish()
    }
}

impl Ledger {
    /// An empty one, whose time begins now.
    pub fn new() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }

    /// Virtual milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What was noted so far.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something in words.
    pub fn say(&self, what: impl AsRef<str>) {
        let line = format!("{:>9} {}", self.now(), what.as_ref());
        self.notes().trace.push(line);
    }

    /// Notes what the wing did.
    pub fn saw(&self, seen: Seen) {
        self.say(format!("{seen:?}"));
        self.notes().seen.push(seen);
    }

    /// Notes an effect that was done.
    pub fn did(&self, done: Done) {
        self.say(format!("{done:?}"));
        self.notes().done.push(done);
    }

    /// How often the effect of this name was done.
    pub fn times(&self, name: &str) -> usize {
        self.notes().done.iter().filter(|done| done.name == name).count()
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}
