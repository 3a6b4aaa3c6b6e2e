//! How a state is stored: whole, or as what has changed since a snapshot of it.
//!
//! A state that changes little at a time would fill history with copies of itself. So once a change is much smaller than
//! the state, a snapshot is put beside it and the entry holds only the difference, until the next snapshot is due.

use std::sync::Arc;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Author, Expect, Key, Put, StateEntry, States};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Stateful;
use super::home::Home;
use super::patch::Patch;
use crate::Failure;
use crate::state::{Party, put};

/// What stands at the key of a state.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Version of the state's type.
    version: u32,
    /// The whole state, unless there is a snapshot.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    state: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Since>,
    /// The task that made the change, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    /// What that task is answered with when it is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Body>,
    /// Where it is awake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<Home>,
}

/// What has changed since a snapshot.
#[derive(Serialize, Deserialize)]
struct Since {
    /// The revision of the snapshot.
    snapshot: u64,
    /// How many changes it was.
    changes: u32,
    patch: Option<Patch>,
}

/// A state as it was found.
pub(super) struct Found<S> {
    pub(super) state: S,
    at: At,
}

/// A snapshot: its revision, the number of changes since, and it.
type Base = (u64, u32, Value);

/// Where a state was found.
struct At {
    /// The state as it was, of the version as it is now.
    before: Value,
    /// 0 when there was none.
    revision: u64,
    /// The snapshot on which it rests, with the number of changes since.
    base: Option<Base>,
    /// The newest snapshot; 0 when there is none.
    snapshot: u64,
    last: Option<(TaskId, Body)>,
    home: Option<Home>,
}

impl<S: DeserializeOwned> Found<S> {
    /// Where it is awake.
    pub(super) fn home(&self) -> Option<&Home> {
        self.at.home.as_ref()
    }

    /// The revision on which it rests that is awake here; none where it is read for each request.
    pub(super) fn awake_at(&self) -> Option<u64> {
        self.at.home.as_ref().map(|_| self.at.revision)
    }

    /// The task that made the last change, with its response.
    pub(super) fn last(&self) -> Option<(TaskId, Body)> {
        self.at.last.clone()
    }

    /// The same as it was found, whatever a handler has changed since.
    pub(super) fn undone(self) -> Option<Self> {
        let state = serde_json::from_value(self.at.before.clone()).ok()?;
        Some(Self { state, ..self })
    }
}

/// The state at one key, on behalf of one request.
pub(super) struct Store {
    states: Arc<dyn States>,
    key: Key,
    /// Where snapshots of it are.
    beside: Key,
    party: Party,
    snapshot_every: u32,
}

impl Store {
    pub(super) fn new(states: Arc<dyn States>, party: Party, key: Key, snapshot_every: u32) -> Result<Self> {
        let beside = Key::parse(&format!("{key}._snapshot"))?;
        Ok(Self { states, key, beside, party, snapshot_every })
    }

    pub(super) async fn load<A: Stateful>(&self) -> crate::Result<Found<A::State>> {
        let mut found = self.states.get(vec![self.key.clone(), self.beside.clone()]).await?.into_iter();
        let (entry, beside) = (found.next().flatten(), found.next().flatten());
        let snapshot = beside.as_ref().map_or(0, |e| e.version);
        let Some(entry) = entry else {
            let state = A::State::default();
            let before = serde_json::to_value(&state)?;
            let at = At { before, revision: 0, base: None, snapshot, last: None, home: None };
            return Ok(Found { state, at });
        };
        let stored: Stored = entry.value.read()?;
        let (value, mut base) = match stored.since {
            None => (stored.state, None),
            Some(since) => {
                let base = self.snapshot(since.snapshot, beside).await?;
                let mut value = base.clone();
                since.patch.map_or(Ok(()), |patch| patch.apply(&mut value))?;
                (value, Some((since.snapshot, since.changes, base)))
            }
        };
        let state = if stored.version == A::STATE_VERSION {
            serde_json::from_value(value)?
        } else if stored.version < A::STATE_VERSION {
            base = None;
            A::migrate(stored.version, value)?
        } else {
            let (key, found, known) = (&self.key, stored.version, A::STATE_VERSION);
            return Err(Failure::permanent(format!("{key} is a state of version {found}, newer than {known}")));
        };
        let (before, last) = (serde_json::to_value(&state)?, stored.task.zip(stored.response));
        Ok(Found { state, at: At { before, revision: entry.version, base, snapshot, last, home: stored.home } })
    }

    /// Writes down that the state is awake on this node from now on. None when somebody else was quicker.
    pub(super) async fn wake<A: Stateful>(
        &self,
        found: Found<A::State>,
        node: &str,
    ) -> crate::Result<Option<Found<A::State>>> {
        let mut at = found.at;
        let mut stored = match self.states.get(vec![self.key.clone()]).await?.pop().flatten() {
            Some(entry) if entry.version == at.revision => entry.value.read()?,
            None if at.revision == 0 => {
                let (version, state) = (A::STATE_VERSION, at.before.clone());
                Stored { version, state, since: None, task: None, response: None, home: None }
            }
            _ => return Ok(None),
        };
        let home = Home { node: node.to_owned(), epoch: at.home.map_or(1, |home| home.epoch + 1) };
        stored.home = Some(home.clone());
        let (value, expect) = (Body::of(stored), Expect::Version(at.revision));
        match put(&*self.states, self.key.clone(), expect, Some(value), &self.party).await? {
            Put::Applied(revision) => {
                at.revision = revision;
                at.home = Some(home);
                Ok(Some(Found { at, ..found }))
            }
            // Whether it was applied shows when it is loaded again.
            Put::Conflict(_) | Put::Unknown => Ok(None),
        }
    }

    /// The snapshot of this revision: usually the newest, but a writer may have died between a snapshot and its entry.
    async fn snapshot(&self, revision: u64, newest: Option<StateEntry>) -> Result<Value> {
        if let Some(newest) = newest.filter(|e| e.version == revision) {
            return newest.value.read();
        }
        let history = self.states.history(self.beside.clone()).await?;
        let value = history.into_iter().find(|change| change.version == revision).and_then(|change| change.value);
        value.ok_or_else(|| Error::not_found(format!("snapshot {revision} at {}", self.beside)))?.read()
    }

    /// The response with which this task left the state, whose last change was `last`, when it was begun before; `again`
    /// says whether it may have been.
    pub(super) async fn recorded(&self, last: Option<(TaskId, Body)>, again: bool) -> Result<Option<Body>> {
        let Some(Author { task, .. }) = &self.party.task else { return Ok(None) };
        if let Some((_, response)) = last.filter(|(last, _)| last == task) {
            return Ok(Some(response));
        }
        if !again {
            return Ok(None);
        }
        // Others may have changed the state since then, so the last entry does not tell; history does, as far back as
        // the wing keeps it.
        let history = self.states.history(self.key.clone()).await?;
        let is_ours = |by: &Option<Author>| by.as_ref().is_some_and(|by| by.task == *task);
        for value in history.into_iter().rev().filter(|change| is_ours(&change.task)).filter_map(|change| change.value)
        {
            // It may only have woken it.
            let stored: Stored = value.read()?;
            if stored.task.as_ref() == Some(task) {
                return Ok(stored.response);
            }
        }
        Ok(None)
    }

    /// Stores what the handler changed, if nobody else has changed the state since it was found. The state as it is then;
    /// none when that has to be looked up.
    pub(super) async fn save<A: Stateful>(
        &self,
        found: Found<A::State>,
        response: &Body,
    ) -> crate::Result<Option<Found<A::State>>> {
        let after = serde_json::to_value(&found.state)?;
        if found.at.before == after {
            self.confirm(found.awake_at()).await?;
            return Ok(Some(found));
        }
        let Found { state: new, mut at } = found;
        let task = self.party.task.as_ref().map(|by| by.task.clone());
        let response = task.is_some().then(|| response.clone());
        let (since, base) = self.since(&at, &after).await?.unzip();
        let last = task.clone().zip(response.clone());
        let state = if since.is_some() { Value::Null } else { after.clone() };
        let value = Body::of(Stored { version: A::STATE_VERSION, state, since, task, response, home: at.home.clone() });
        let expect = Expect::Version(at.revision);
        let written = put(&*self.states, self.key.clone(), expect, Some(value.clone()), &self.party).await?;
        if written == Put::Unknown && self.holds(at.revision, &value).await? {
            return Ok(None);
        }
        at.revision = written.into_version(&self.key, expect)?;
        if let Some((snapshot, changes, _)) = &base
            && *changes == 0
        {
            at.snapshot = *snapshot;
        }
        at = At { before: after, base, last, ..at };
        Ok(Some(Found { state: new, at }))
    }

    /// What is said of a state that is awake here counts only when it still is: another node may have taken this one for
    /// dead. A write finds that out by itself.
    ///
    /// # Errors
    /// `Conflict` when it is not.
    pub(super) async fn confirm(&self, awake_at: Option<u64>) -> Result<()> {
        let Some(revision) = awake_at else { return Ok(()) };
        let now = self.states.get(vec![self.key.clone()]).await?.pop().flatten();
        match now {
            Some(entry) if entry.version == revision => Ok(()),
            now => Put::Conflict(now).into_version(&self.key, Expect::Version(revision)).map(drop),
        }
    }

    /// What is stored instead of the whole state, where that is worth it. Makes a snapshot when one is due.
    async fn since(&self, at: &At, state: &Value) -> crate::Result<Option<(Since, Base)>> {
        if let Some((snapshot, changes, base)) = &at.base
            && changes + 1 < self.snapshot_every
        {
            let patch = Patch::between(base, state);
            let (snapshot, changes) = (*snapshot, changes + 1);
            let small = is_small(&patch, state)?;
            return Ok(small.then(|| (Since { snapshot, changes, patch }, (snapshot, changes, base.clone()))));
        }
        if self.snapshot_every <= 1 || !is_small(&Patch::between(&at.before, state), state)? {
            return Ok(None);
        }
        let expect = Expect::Version(at.snapshot);
        let written =
            put(&*self.states, self.beside.clone(), expect, Some(Body::of(state.clone())), &self.party).await?;
        let snapshot = written.into_version(&self.beside, expect)?;
        Ok(Some((Since { snapshot, changes: 0, patch: None }, (snapshot, 0, state.clone()))))
    }

    /// Whether a write whose acknowledgement was lost was applied.
    async fn holds(&self, before: u64, value: &Body) -> Result<bool> {
        let now = self.states.get(vec![self.key.clone()]).await?.pop().flatten();
        Ok(now.is_some_and(|now| now.version > before && now.value == *value))
    }
}

/// Whether a change takes less than half of the room of the state.
fn is_small(patch: &Option<Patch>, state: &Value) -> crate::Result<bool> {
    Ok(2 * serde_json::to_string(patch)?.len() < serde_json::to_string(state)?.len())
}
