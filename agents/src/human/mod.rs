//! People as workers: a question is a task of the capability `human.<queue>`, and its answer is the outcome.
//!
//! So a question survives every process, an agent that waits for one is found again by its next attempt, other branches
//! go on meanwhile, and there is no second mechanism: deadlines, dead letters, lists and logs are those of tasks. Nobody
//! claims such a task. People read the queue (`callboard inbox`) and record the outcome; of two answers the first holds
//! and the second is told so.
//!
//! ```
//! use callboard_agents::human::{self, Question};
//! use callboard_agents::testing::World;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> callboard_agents::Result<()> {
//! let world = World::new().answers(human::queue("default")?, |_| Ok("ship it".into()));
//! let ctx = world.context();
//! let answer: String = ctx.human(Question::new("ship version 2?").choices(["ship it", "wait"])).await?;
//! assert_eq!(answer, "ship it");
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use callboard_broker::error::Error;
use serde_json::Value;

use crate::{Capability, payload};

mod approval;
mod approval_of_call;
mod ask;
mod doubt;
mod fit;
#[cfg(test)]
mod tests;

pub(crate) use approval::Verdict;
pub use approval::{Approval, Decision, Work};
pub(crate) use approval_of_call::OfCall;
pub use ask::Human;
pub use doubt::Doubt;
pub use fit::{MAX_CHOICES, MAX_WHO};

/// How long a question waits for its answer unless it says so: 7 days. It never outlives the task that asks.
pub const DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);
/// What the capabilities of people begin with.
pub use callboard_broker::subject::HUMAN as PREFIX;

/// The queue that is meant when none is named.
pub const DEFAULT_QUEUE: &str = "default";

/// The queue of whoever prompted a node from outside: over its door they are asked themselves, as `query` of the Synadia
/// Agent Protocol, under this name. Elsewhere it is a queue like any other.
pub const CALLER: &str = "caller";

/// The capability of a queue of people: `human.<queue>`.
///
/// # Errors
/// `Decode` when the queue's name does not fit: lowercase letters, digits and dots.
pub fn queue(name: &str) -> Result<Capability<Value, Value>, Error> {
    Capability::named(&format!("{PREFIX}{name}"))
}

/// What a person is asked: the input of a task of `human.<queue>`.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// In words.
    pub question: String,
    /// What a person has to know to answer it. Any JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub context: Value,
    /// The answers that there are; empty: any that fits `schema`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// JSON Schema of an answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub schema: Value,
    /// Who may answer, by name; empty: whoever may use the inbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub who: Vec<String>,
    /// What happens when nobody answers in time.
    #[serde(default, skip_serializing_if = "OnTimeout::is_default")]
    pub on_timeout: OnTimeout,
}

/// What happens when nobody answers in time.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// Whoever asked gets [`Error::Expired`].
    #[default]
    Fail,
    /// This is the answer.
    Answer(Value),
    /// The question goes to this queue, once, with as much time again.
    Escalate(String),
}

impl OnTimeout {
    fn is_default(&self) -> bool {
        *self == Self::Fail
    }
}

impl Question {
    /// A question in words, to be answered by anybody with anything that fits the type that is asked for.
    pub fn new(question: impl Into<String>) -> Self {
        Self {
            question: question.into(),
            context: Value::Null,
            choices: Vec::new(),
            schema: Value::Null,
            who: Vec::new(),
            on_timeout: OnTimeout::Fail,
        }
    }

    /// What a person has to know to answer it.
    pub fn context(mut self, context: impl Into<Value>) -> Self {
        self.context = context.into();
        self
    }

    /// The answers that there are.
    pub fn choices<S: Into<String>>(mut self, choices: impl IntoIterator<Item = S>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// Who may answer, by name.
    pub fn who<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.who = names.into_iter().map(Into::into).collect();
        self
    }
}
