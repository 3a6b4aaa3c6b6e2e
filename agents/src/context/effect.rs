use std::future::Future;

use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::Entry;
use serde_json::Value;

use super::Context;
use crate::host::{Spend, Standing};
use crate::human::Doubt;
use crate::payload::schema;
use crate::{Payload, Result, keys, payload};

/// How often people are asked again who answered a doubt with a result of the wrong type.
const MAX_ASKS: u32 = 3;

/// What people say of an effect that may or may not have been done: the answer to the question that
/// [`Context::effect`] puts to `human.default`.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(tag = "was", rename_all = "snake_case")]
pub enum Resolution {
    /// It was done, with this result.
    Done {
        /// What the effect would have returned.
        #[serde(default)]
        result: Value,
    },
    /// It was not done: it is done now.
    NotDone,
    /// Nobody can tell, or it does not matter any more: the task fails.
    GiveUp {
        /// Why.
        #[serde(default)]
        why: String,
    },
}

impl Context {
    /// A named piece of work with a consequence outside (a payment, a mail, a write to a foreign system) that must never
    /// be silently repeated. Its intent is recorded, then it is done, then its result is recorded; a later attempt or
    /// generation of the task gets the result without doing it again.
    ///
    /// An intent without a result is *in doubt*: the process died in between, or the work gave up without knowing. Then a
    /// person is asked, on `human.default`, with exactly what is unknown, and answers a [`Resolution`]. A task that ends
    /// otherwise than completed with an effect in doubt asks too; that answer is there for a retry of it. Work that failed
    /// and knows that nothing was done says so with [`Failure::not_done`](crate::Failure::not_done), and is tried again.
    ///
    /// Each time that it is begun it is a step for the budget; what people are asked is nothing.
    ///
    /// Outside a task nothing is recorded, because an ask is not repeated either.
    ///
    /// # Errors
    /// `Exhausted` when the budget leaves no step, `Decode` when the name was used before in this attempt, or when the
    /// record is of another type; `Failed`, with the class of the work's own failure, or when a person gave up; whatever
    /// the store answers, and then it was not begun.
    ///
    /// # Cancellation
    /// Work that was dropped before its result was recorded is in doubt. A question to people stays when it is dropped:
    /// so does the doubt.
    pub async fn effect<'a, T, F, Fut>(&'a self, name: impl Into<String>, work: F) -> Result<T, Error>
    where
        T: Payload,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let name = name.into();
        let key = match self.host.effect(&name).await? {
            Standing::Done(value) => return value.take(),
            Standing::Open(key) => key,
            Standing::InDoubt { key, intents } => match self.resolve(&name, &key, intents).await? {
                Some(value) => return Ok(value),
                None => key,
            },
        };
        self.intend(&name, &key, false).await?;
        let _busy = self.host.busy();
        self.done(&name, work().await).await
    }

    /// As [`effect`](Self::effect), for another side that knows repeats by a key: the work gets the key, which is the same
    /// in every attempt and generation of the task. In doubt it is done again with that key, and nobody is asked.
    ///
    /// # Errors
    /// As for [`effect`](Self::effect).
    pub async fn effect_keyed<'a, T, F, Fut>(&'a self, name: impl Into<String>, work: F) -> Result<T, Error>
    where
        T: Payload,
        F: FnOnce(String) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let name = name.into();
        let key = match self.host.effect(&name).await? {
            Standing::Done(value) => return value.take(),
            Standing::Open(key) => {
                self.intend(&name, &key, true).await?;
                key
            }
            Standing::InDoubt { key, .. } => key,
        };
        let _busy = self.host.busy();
        self.done(&name, work(key).await).await
    }

    async fn intend(&self, name: &str, key: &str, keyed: bool) -> Result<(), Error> {
        self.host.spend(Spend { steps: 1, ..Spend::default() }).await?;
        self.host.record(Entry::Intent { name: name.into(), key: key.into(), keyed }).await
    }

    async fn done<T: Payload>(&self, name: &str, done: Result<T>) -> Result<T, Error> {
        match done {
            Ok(value) => {
                self.note(name, &value).await?;
                Ok(value)
            }
            Err(failure) => {
                if failure.is_not_done() {
                    self.host.record(Entry::Undone { name: name.into() }).await?;
                }
                Err(Error::Failed { to: format!("effect {name}").into(), failure: Box::new(failure.into_remote()) })
            }
        }
    }

    async fn note<T: Payload>(&self, name: &str, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string(value)
            .map_err(|e| Error::decode(format!("the result of effect {name} cannot be written as JSON: {e}")))?;
        self.host.record(Entry::Effect { name: name.into(), value: Body::from_json(text)? }).await
    }

    /// What people say of an effect in doubt: its result, or none when it was not done.
    async fn resolve<T: Payload>(&self, name: &str, key: &str, intents: u32) -> Result<Option<T>, Error> {
        let facts = self.host.facts();
        let doubt = Doubt {
            effect: name,
            key,
            intents,
            capability: &facts.capability,
            task: facts.task.as_ref(),
            run: facts.run.as_ref(),
            agent: &facts.agent,
        };
        for ask in 1..=MAX_ASKS {
            let asked = self.human::<Resolution>(doubt.question((*schema::<T>()).clone()));
            match asked.about_doubt(keys::of_doubt(name, intents, ask)).await? {
                Resolution::Done { result } => {
                    if let Ok(value) = serde_json::from_value::<T>(result) {
                        self.note(name, &value).await?;
                        return Ok(Some(value));
                    }
                }
                Resolution::NotDone => {
                    self.host.record(Entry::Undone { name: name.into() }).await?;
                    return Ok(None);
                }
                Resolution::GiveUp { why } => {
                    let failure = crate::Failure::permanent(format!("given up by a person: {why}"));
                    let to = format!("effect {name}").into();
                    return Err(Error::Failed { to, failure: Box::new(failure.into_remote()) });
                }
            }
        }
        Err(Error::decode(format!("no answer to what effect {name} returned has its type, after {MAX_ASKS} answers")))
    }
}
