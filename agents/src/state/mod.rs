//! Typed places in shared state.
//!
//! A write says which revision it expects, or that it does not care; [`State::update`] is the loop around the former.
//! A conflict is an error to match on and never an overwritten value.

mod entry;
mod key;
#[cfg(test)]
mod tests;
mod version;
mod watch;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use callboard_broker::clock::Clock;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::RunId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Author, Expect, Key, Put, States, Write};

use crate::Payload;
pub use entry::{Change, Entry};
pub use key::StateKey;

/// How often [`State::update`] tries again after a conflict. Each conflict means that somebody else got ahead, so this
/// many in a row are a sign of a key that everybody writes.
pub const UPDATE_TRIES: u32 = 100;

/// In whose name state is read and written.
#[derive(Clone, Debug)]
pub struct Party {
    /// The agent's name, or a client's.
    pub name: Arc<str>,
    /// The run whose state [`StateKey::run`] means.
    pub run: Option<RunId>,
    /// The team whose state [`StateKey::team`] means.
    pub team: Option<Arc<str>>,
    /// The task on whose behalf.
    pub task: Option<Author>,
}

impl Party {
    /// A client outside any run, team and task.
    pub fn client(name: &str) -> Self {
        Self { name: name.into(), run: None, team: None, task: None }
    }
}

/// Typed state at one key. Cheap to clone.
///
/// # Errors
/// Of every method: `Denied` when the agent was not granted the key, `NotFound` when the key is of a run or team and
/// there is none, `Decode` when what stands there is not a `T` or of a newer version.
///
/// # Cancellation
/// Dropping the future of a write leaves it unknown whether it was applied.
pub struct State<T> {
    states: Arc<dyn States>,
    key: Result<Key>,
    version: u32,
    party: Party,
    types: PhantomData<fn(T) -> T>,
}

impl<T: Payload> State<T> {
    /// The state at `key`, as `party` sees it.
    pub fn over(states: Arc<dyn States>, key: &StateKey<T>, party: Party) -> Self {
        let version = key.type_version();
        Self { states, key: key.of(&party), version, party, types: PhantomData }
    }

    /// The current entry; `None` when there is none.
    pub async fn get(&self) -> Result<Option<Entry<T>>> {
        let found = self.states.get(vec![self.key()?]).await?.pop().flatten();
        found.map(|entry| Entry::of(entry, self.version)).transpose()
    }

    /// Writes, whatever stands there. Returns the new revision.
    pub async fn set(&self, value: T) -> Result<u64> {
        self.write(Expect::Any, Some(&value)).await
    }

    /// Writes if the entry is at this revision; 0: only when there is none. Returns the new revision.
    ///
    /// # Errors
    /// `Conflict`, with the revision that is there; nothing was written.
    pub async fn set_if(&self, revision: u64, value: T) -> Result<u64> {
        self.write(Expect::Version(revision), Some(&value)).await
    }

    /// Removes the entry, if there is one. Returns the revision of the removal.
    pub async fn delete(&self) -> Result<u64> {
        self.write(Expect::Any, None).await
    }

    /// Reads, changes and writes, again when somebody else was quicker. What is not there yet begins as the default.
    ///
    /// # Errors
    /// `Conflict` after [`UPDATE_TRIES`] conflicts in a row.
    pub async fn update<F: FnMut(&mut T) + Send>(&self, mut change: F) -> Result<Entry<T>>
    where
        T: Default,
    {
        let (mut current, mut tries) = (self.get().await?, 1);
        loop {
            let (revision, mut value) = current.map_or_else(|| (0, T::default()), |e| (e.revision, e.value));
            change(&mut value);
            let expect = Expect::Version(revision);
            match self.put(expect, Some(&value)).await? {
                Put::Conflict(found) if tries < UPDATE_TRIES => {
                    tries += 1;
                    current = found.map(|entry| Entry::of(entry, self.version)).transpose()?;
                }
                put => {
                    let revision = put.into_version(&self.key()?, expect)?;
                    let (by, at) = (self.party.name.to_string(), Clock::system().now());
                    return Ok(Entry { value, revision, by, at });
                }
            }
        }
    }

    async fn write(&self, expect: Expect, value: Option<&T>) -> Result<u64> {
        self.put(expect, value).await?.into_version(&self.key()?, expect)
    }

    async fn put(&self, expect: Expect, value: Option<&T>) -> Result<Put> {
        let value = value.map(|v| version::seal(v, self.version)).transpose()?;
        put(&*self.states, self.key()?, expect, value, &self.party).await
    }

    fn key(&self) -> Result<Key> {
        self.key.clone()
    }
}

/// One write in the name of `party`.
pub(crate) async fn put(
    states: &dyn States,
    key: Key,
    expect: Expect,
    value: Option<Body>,
    party: &Party,
) -> Result<Put> {
    let write = Write { key, expect, value, by: party.name.to_string(), task: party.task.clone() };
    states
        .put(vec![write])
        .await
        .pop()
        .unwrap_or_else(|| Err(Error::unavailable("the store gave no answer to a write")))
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        let (states, key, party) = (self.states.clone(), self.key.clone(), self.party.clone());
        Self { states, key, version: self.version, party, types: PhantomData }
    }
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Ok(key) => write!(f, "State({key})"),
            Err(e) => write!(f, "State({e})"),
        }
    }
}
