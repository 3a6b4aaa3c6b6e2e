use std::future::Future;

use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::Entry;

use super::Context;
use crate::host::Spend;
use crate::{Payload, Result};

impl Context {
    /// A named piece of work that may harmlessly be done again (a read, a model call, the clock, a random choice). Its
    /// result is recorded, and a later attempt of the task gets the record without doing the work. Outside a task
    /// nothing is recorded.
    ///
    /// The work may borrow from the handler; write it `async || Ok(..)`.
    ///
    /// # Errors
    /// `Exhausted` when the budget leaves no step, `Decode` when the name was used before in this attempt, or when the record is of another type; `Failed`, with
    /// the class of the work's own failure. A failure is not recorded.
    ///
    /// # Cancellation
    /// Work that was dropped before its result was recorded is done again.
    pub async fn step<'a, T, F, Fut>(&'a self, name: impl Into<String>, work: F) -> Result<T, Error>
    where
        T: Payload,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.recorded_or_done(name.into(), None, work).await
    }

    /// As [`step`](Self::step), and says what the result is made from: a prompt, a query. It is recorded by its hash, so
    /// that a replay after the prompt has changed names this step. A later attempt gets the record whatever it is made
    /// from now.
    ///
    /// # Errors
    /// As [`step`](Self::step); `Decode` also when `input` cannot be written as JSON.
    ///
    /// # Cancellation
    /// As [`step`](Self::step).
    pub async fn step_from<'a, I, T, F, Fut>(&'a self, name: impl Into<String>, input: &I, work: F) -> Result<T, Error>
    where
        I: serde::Serialize + Sync + ?Sized,
        T: Payload,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let name = name.into();
        let unwritable = |e: serde_json::Error| {
            Error::decode(format!("what step {name} is made from cannot be written as JSON: {e}"))
        };
        let input = Body::from_json(serde_json::to_string(input).map_err(unwritable)?)?.content_hash()?;
        self.recorded_or_done(name, Some(input), work).await
    }

    async fn recorded_or_done<'a, T, F, Fut>(&'a self, name: String, input: Option<String>, work: F) -> Result<T, Error>
    where
        T: Payload,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        if let Some(recorded) = self.host.recorded_from(&name, input.as_deref())? {
            return recorded.take();
        }
        self.host.spend(Spend { steps: 1, ..Spend::default() }).await?;
        let busy = self.host.busy();
        let value = work().await.map_err(|failure| Error::Failed {
            to: format!("step {name}").into(),
            failure: Box::new(failure.into_remote()),
        })?;
        drop(busy);
        if self.host.facts().task.is_some() {
            let text = serde_json::to_string(&value)
                .map_err(|e| Error::decode(format!("the result of step {name} cannot be written as JSON: {e}")))?;
            self.host.record(Entry::Step { name, value: Body::from_json(text)?, input }).await?;
        }
        Ok(value)
    }
}
