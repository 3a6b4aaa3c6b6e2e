use std::sync::Arc;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Expect, Key, Put, StateEntry, States};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Stateful;
use crate::state::{Party, put};
use crate::{Context, Failure};

/// What stands at the key of a state.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Version of the state's type.
    version: u32,
    state: Value,
    /// The task that made the change, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    /// What that task is answered with when it is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Body>,
}

/// A state as it was found.
pub(super) struct Found<S> {
    pub(super) state: S,
    /// 0 when there was none.
    pub(super) revision: u64,
    last: Option<(TaskId, Body)>,
}

/// The state at one key, on behalf of one request.
pub(super) struct Store {
    states: Arc<dyn States>,
    key: Key,
    party: Party,
}

impl Store {
    pub(super) fn new(ctx: &Context, key: Key) -> Self {
        Self { states: ctx.host().states(), key, party: ctx.party() }
    }

    pub(super) async fn load<A: Stateful>(&self) -> crate::Result<Found<A::State>> {
        let Some(entry) = self.entry().await? else {
            return Ok(Found { state: A::State::default(), revision: 0, last: None });
        };
        let stored: Stored = entry.value.read()?;
        let state = if stored.version == A::STATE_VERSION {
            serde_json::from_value(stored.state)?
        } else if stored.version < A::STATE_VERSION {
            A::migrate(stored.version, stored.state)?
        } else {
            let (key, found, known) = (&self.key, stored.version, A::STATE_VERSION);
            return Err(Failure::permanent(format!("{key} is a state of version {found}, newer than {known}")));
        };
        Ok(Found { state, revision: entry.version, last: stored.task.zip(stored.response) })
    }

    /// The response with which an earlier attempt of this task left the state.
    pub(super) async fn recorded<S>(&self, found: &mut Found<S>) -> Result<Option<Body>> {
        let Some((task, attempt)) = &self.party.task else { return Ok(None) };
        if let Some((_, response)) = found.last.take_if(|(last, _)| last == task) {
            return Ok(Some(response));
        }
        if *attempt == 1 {
            return Ok(None);
        }
        // Others may have changed the state since then, so the last entry does not tell; history forgets nothing.
        let history = self.states.history(self.key.clone()).await?;
        let is_ours = |by: &Option<(TaskId, u32)>| by.as_ref().is_some_and(|(by, _)| by == task);
        let Some(change) = history.into_iter().rev().find(|change| is_ours(&change.task)) else { return Ok(None) };
        let Some(value) = change.value else { return Ok(None) };
        Ok(value.read::<Stored>()?.response)
    }

    /// Stores a change if nobody else has changed the state since it was found.
    pub(super) async fn save(&self, version: u32, found: u64, state: Value, response: &Body) -> Result<()> {
        let task = self.party.task.as_ref().map(|(task, _)| task.clone());
        let response = task.is_some().then(|| response.clone());
        let value = Body::of(Stored { version, state, task, response });
        let expect = Expect::Version(found);
        let written = put(&*self.states, self.key.clone(), expect, Some(value.clone()), &self.party).await?;
        if written == Put::Unknown && self.entry().await?.is_some_and(|now| now.version > found && now.value == value) {
            return Ok(());
        }
        written.into_version(&self.key, expect).map(drop)
    }

    async fn entry(&self) -> Result<Option<StateEntry>, Error> {
        Ok(self.states.get(vec![self.key.clone()]).await?.pop().flatten())
    }
}
