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
        let name = name.into();
        if let Some(recorded) = self.host.recorded(&name)? {
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
            self.host.record(Entry::Step { name, value: Body::from_json(text)? }).await?;
        }
        Ok(value)
    }
}
