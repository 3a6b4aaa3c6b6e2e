//! The question about an effect of which nobody knows whether it was done.

use callboard_broker::error::Result;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use serde_json::{Value, json};

use super::{DEADLINE, DEFAULT_QUEUE, Question, queue};
use crate::context::Resolution;
use crate::host::Order;
use crate::keys;
use crate::payload::schema;

/// An effect whose intent is recorded and whose end is not.
#[derive(Clone, Copy, Debug)]
pub struct Doubt<'a> {
    /// Its name.
    pub effect: &'a str,
    /// What tells the other side that a repeat is one.
    pub key: &'a str,
    /// How often it was begun.
    pub intents: u32,
    /// Of which capability.
    pub capability: &'a CapabilityName,
    /// In which task.
    pub task: Option<&'a TaskId>,
    /// In which run.
    pub run: Option<&'a RunId>,
    /// Who did it, or had it to do last.
    pub agent: &'a str,
}

impl Doubt<'_> {
    /// The question, with all that is known.
    pub(crate) fn question(&self, result_schema: Value) -> Question {
        let question = format!(
            "was the effect \"{}\" of {} done? its intent is recorded, its result is not: whoever did it was interrupted",
            self.effect, self.capability
        );
        let context = json!({
            "task": self.task.map(ToString::to_string),
            "run": self.run.map(ToString::to_string),
            "agent": self.agent,
            "effect": self.effect,
            "idempotency_key": self.key,
            "times_begun": self.intents,
            "result_schema": result_schema,
        });
        Question::new(question).context(context)
    }

    /// The question once its task has `ended` (a status): nobody waits for the answer, which is there for a retry.
    ///
    /// # Errors
    /// `Decode` when the name of the default queue did not fit.
    pub fn order(&self, ended: &str) -> Result<Order> {
        let mut question = self.question(Value::Null);
        question.question = format!(
            "{}; its task is {ended}, and the answer does not change that: it is kept for a retry of the task",
            question.question
        );
        question.schema = (*schema::<Resolution>()).clone();
        let words = question.question.clone();
        Ok(Order {
            key: Some(keys::of_doubt(self.effect, self.intents, 1)),
            deadline: Some(DEADLINE),
            description: Some(words),
            is_about_doubt: true,
            ..Order::new(queue(DEFAULT_QUEUE)?.id(), Payload::of(question))
        })
    }
}
