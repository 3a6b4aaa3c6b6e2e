use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use serde_json::Value;

use super::{DEADLINE, DEFAULT_QUEUE, OnTimeout, Question, queue};
use crate::call::{Delegation, Reply};
use crate::host::Host;
use crate::payload::schema;
use crate::{Context, Payload};

/// A question to people, as a value with options. Awaiting it gives the answer.
///
/// # Errors
/// `Expired` when nobody answered in time and nothing else was declared for that; `Decode` for a question or a queue that
/// does not fit, and for an answer that is not a `T`; `Denied` outside a task.
///
/// # Cancellation
/// Dropping it while its handler goes on takes the question back. When the handler itself ends early the question stays,
/// and the next attempt finds it, answered or not.
#[must_use = "nobody is asked until it is awaited"]
pub struct Human<T> {
    pub(super) host: Arc<dyn Host>,
    pub(super) question: Question,
    pub(super) queue: String,
    pub(super) key: Option<String>,
    pub(super) within: Duration,
    pub(super) is_about_doubt: bool,
    pub(super) types: PhantomData<fn() -> T>,
}

impl Context {
    /// Asks a person, and waits for the answer as long as it takes. See [`human`](crate::human).
    pub fn human<T: Payload>(&self, question: Question) -> Human<T> {
        Human {
            host: self.host().clone(),
            question,
            queue: DEFAULT_QUEUE.into(),
            key: None,
            within: DEADLINE,
            is_about_doubt: false,
            types: PhantomData,
        }
    }
}

impl<T: Payload> Human<T> {
    /// Who is asked: those who answer `human.<queue>`. Default `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// A name of your own for the question, where its words may vary between attempts.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// That it is about an effect in doubt, under the key that such a question has.
    pub(crate) fn about_doubt(self, key: String) -> Self {
        Self { key: Some(key), is_about_doubt: true, ..self }
    }

    /// How long to wait. Default [`DEADLINE`]; the deadline of the task that asks can only shorten it.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// The answer when nobody gives one in time. What cannot be written as JSON is `null`.
    pub fn or(mut self, answer: &T) -> Self {
        self.question.on_timeout = OnTimeout::Answer(serde_json::to_value(answer).unwrap_or_default());
        self
    }

    /// Who is asked instead when nobody answers in time, with as much time again.
    pub fn or_escalate(mut self, queue: impl Into<String>) -> Self {
        self.question.on_timeout = OnTimeout::Escalate(queue.into());
        self
    }

    /// The answer, with who gave it (`Reply::agent`).
    pub async fn full(mut self) -> Result<Reply<T>> {
        if self.question.choices.is_empty() && self.question.schema.is_null() {
            self.question.schema = (*schema::<T>()).clone();
        }
        self.question.check()?;
        let (asked, key) = (self.question.clone(), self.key.clone());
        let answered = self.put(&self.queue, key.clone(), asked.clone()).await;
        match (answered, asked.on_timeout.clone()) {
            (Err(Error::Expired), OnTimeout::Answer(value)) => {
                let how = format!("nobody answered within {} s", self.within.as_secs());
                self.host.degrade(format!("{}: {how}", self.queue));
                let degraded = Some(how);
                typed(Reply { value, agent: String::new(), attempt: 0, took: self.within, degraded })
            }
            (Err(Error::Expired), OnTimeout::Escalate(to)) => {
                let key = key.map(|key| format!("{key}:{to}"));
                let again = Question { on_timeout: OnTimeout::Fail, ..asked };
                typed(self.put(&to, key, again).await?)
            }
            (answered, _) => typed(answered?),
        }
    }

    async fn put(&self, to: &str, key: Option<String>, question: Question) -> Result<Reply<Value>> {
        let words = question.question.clone();
        let value = serde_json::to_value(question)
            .map_err(|e| Error::decode(format!("the question cannot be written as JSON: {e}")))?;
        let mut asked = Delegation::over(self.host.clone(), queue(to)?, value).deadline(self.within).describe(words);
        if let Some(key) = key {
            asked = asked.key(key);
        }
        asked.order.is_about_doubt = self.is_about_doubt;
        asked.full().await
    }
}

impl<T: Payload> IntoFuture for Human<T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.full().await?.value) })
    }
}

fn typed<T: Payload>(reply: Reply<Value>) -> Result<Reply<T>> {
    let Reply { value, agent, attempt, took, degraded } = reply;
    let value = serde_json::from_value(value)
        .map_err(|e| Error::decode(format!("{agent} answered with something else than was asked for: {e}")))?;
    Ok(Reply { value, agent, attempt, took, degraded })
}

impl<T> fmt::Debug for Human<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Human({}: {})", self.queue, self.question.question)
    }
}
