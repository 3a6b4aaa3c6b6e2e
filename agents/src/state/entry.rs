use std::ops::Deref;

use callboard_broker::clock::Millis;
use callboard_broker::error::Result;
use callboard_broker::state::{self, StateEntry};

use super::version;
use crate::Payload;

/// What stands at a key. Derefs to the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// Increases with every change of the key; what [`State::set_if`](super::State::set_if) takes.
    pub revision: u64,
    /// Who wrote it.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at: Millis,
}

impl<T> Entry<T> {
    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Payload> Entry<T> {
    pub(super) fn of(entry: StateEntry, version: u32) -> Result<Self> {
        let value = version::open(&entry.key, entry.value, version)?;
        Ok(Self { value, revision: entry.version, by: entry.updated_by, at: entry.updated_at })
    }
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// Written.
    Set(Entry<T>),
    /// Removed.
    Deleted {
        /// The revision of the removal.
        revision: u64,
        /// Who removed it.
        by: String,
    },
}

impl<T: Payload> Change<T> {
    pub(super) fn of(change: state::Change, version: u32) -> Result<Self> {
        let (revision, by) = (change.version, change.by);
        Ok(match change.value {
            None => Self::Deleted { revision, by },
            Some(value) => {
                let value = version::open(&change.key, value, version)?;
                Self::Set(Entry { value, revision, by, at: change.at })
            }
        })
    }
}
