//! Work that people approve, edit or reject before it is delegated.
//!
//! The question is a child like any other, so everything follows from the log of the task that delegates: the question
//! and its answer first, then the child with the input that was approved. A parent that runs again finds both. Who said
//! no is not made up for by other agents: the child is recorded as skipped, with the reason.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::Entry;
use serde_json::{Value, json};

use super::{DEADLINE, DEFAULT_QUEUE, Human, OnTimeout, Question};
use crate::host::{Host, Order};
use crate::payload;

/// How often people are asked again who edited an input into one that does not fit.
const MAX_ASKS: u32 = 3;

/// What people say of work that is about to be delegated: `"approve"`, `{"edit": INPUT}` or `{"reject": "why"}`.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is done as it stands.
    Approve,
    /// It is done with this input.
    Edit(Value),
    /// It is not done, for this reason.
    Reject(String),
}

/// Who is asked before work is delegated, and what holds when they are silent. A queue's name is one too.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    queue: String,
    who: Vec<String>,
    within: Duration,
    on_timeout: OnTimeout,
}

impl Default for Approval {
    fn default() -> Self {
        Self::of(DEFAULT_QUEUE)
    }
}

impl From<&str> for Approval {
    fn from(queue: &str) -> Self {
        Self::of(queue)
    }
}

impl Approval {
    /// By those who answer `human.<queue>`, within [`DEADLINE`]; when nobody answers it is not done.
    pub fn of(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), who: Vec::new(), within: DEADLINE, on_timeout: OnTimeout::Fail }
    }

    /// Only by these, by name. Default: whoever may use the inbox.
    pub fn who<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.who = names.into_iter().map(Into::into).collect();
        self
    }

    /// How long to wait. Default [`DEADLINE`]; the deadline of the task that delegates can only shorten it.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// What holds when nobody answers in time. What cannot be written as JSON is `null`, which is no decision.
    pub fn or(mut self, decision: &Decision) -> Self {
        self.on_timeout = OnTimeout::Answer(serde_json::to_value(decision).unwrap_or_default());
        self
    }

    /// Who is asked instead when nobody answers in time, with as much time again.
    pub fn or_escalate(mut self, queue: impl Into<String>) -> Self {
        self.on_timeout = OnTimeout::Escalate(queue.into());
        self
    }

    /// Asks, and gives back the order as it is to be done: with the input that was approved, or skipped for the reason
    /// that was given.
    ///
    /// # Errors
    /// `Decode` for a queue that is none, or when no input that fits came of 3 edits; what the host answers.
    ///
    /// # Cancellation
    /// As of a [`Human`].
    pub fn of_order<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        order: Order,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<Order>> {
        Box::pin(self.decided(host, order, work))
    }

    async fn decided(&self, host: &Arc<dyn Host>, order: Order, work: &Work) -> Result<Order> {
        let schema = work.schema(host, &order).await?;
        let question = self.question(host, &order, &schema)?;
        let key = order.key.as_ref().map(|key| format!("{key}:approval"));
        let fits = |edited: &Value| (work.fits)(&Body::from(edited.clone())).is_ok();
        match self.verdict(host, question, key, order.capability.as_str(), &fits).await? {
            Verdict::Approved => Ok(order),
            Verdict::Edited(input) => Ok(Order { input: Body::from(input), ..order }),
            Verdict::Rejected(why) => Ok(Order { skipped: Some(why), ..order }),
        }
    }

    /// Asks, and again while what is edited does not fit.
    pub(super) async fn verdict(
        &self,
        host: &Arc<dyn Host>,
        question: Question,
        key: Option<String>,
        of: &str,
        fits: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Result<Verdict> {
        for ask in 1..=MAX_ASKS {
            let again = if ask == 1 { String::new() } else { format!(":{ask}") };
            let human = Human::<Decision> {
                host: host.clone(),
                question: question.clone(),
                queue: self.queue.clone(),
                key: key.as_ref().map(|key| format!("{key}{again}")),
                within: self.within,
                is_about_doubt: false,
                types: std::marker::PhantomData,
            };
            let reply = match human.full().await {
                Ok(reply) => reply,
                Err(Error::Expired) => {
                    let why = format!("not approved: nobody answered within {} s", self.within.as_secs());
                    return Ok(Verdict::Rejected(why));
                }
                Err(error) => return Err(error),
            };
            match reply.value {
                Decision::Approve => return Ok(Verdict::Approved),
                Decision::Reject(why) => {
                    let by = if reply.agent.is_empty() { "default" } else { &reply.agent };
                    return Ok(Verdict::Rejected(format!("rejected by {by}: {why}")));
                }
                Decision::Edit(input) if fits(&input) => return Ok(Verdict::Edited(input)),
                Decision::Edit(_) => {}
            }
        }
        Err(Error::decode(format!("no input for {of} that fits came of {MAX_ASKS} edits")))
    }

    fn question(&self, host: &Arc<dyn Host>, order: &Order, schema: &Value) -> Result<Question> {
        let facts = host.facts();
        let mut context = json!({
            "capability": order.capability,
            "input": order.input.value()?,
            "agent": &*facts.agent,
            "task": facts.task.as_ref().map(ToString::to_string),
        });
        if let Some(words) = &order.description {
            context["description"] = words.as_str().into();
        }
        let question = format!("may {} be given this? approve, edit or reject it", order.capability);
        Ok(self.put(question, context, schema))
    }

    /// A question of whom it is for, over an input of this schema.
    pub(super) fn put(&self, words: String, context: Value, schema: &Value) -> Question {
        Question {
            schema: decision(schema),
            who: self.who.clone(),
            on_timeout: self.on_timeout.clone(),
            ..Question::new(words).context(context)
        }
    }
}

/// What came of a question.
pub(crate) enum Verdict {
    /// It is done as it stands.
    Approved,
    /// It is done with this input.
    Edited(Value),
    /// It is not done, for this reason.
    Rejected(String),
}

/// What is known of the work that is to be approved: what its input looks like, and whether one is readable.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The JSON Schema of its input; none when only whoever serves it knows.
    pub schema: Option<fn() -> Arc<Value>>,
    /// Whether an input can be read.
    pub fits: fn(&Body) -> Result<()>,
}

impl Work {
    /// Work whose capability is known by name only: what is served here says what its input looks like.
    pub const NAMED: Self = Self { schema: None, fits: |_| Ok(()) };

    /// What is served differs from node to node, so what was found is recorded: the question is the same in each attempt.
    async fn schema(&self, host: &Arc<dyn Host>, order: &Order) -> Result<Value> {
        if let Some(schema) = self.schema {
            return Ok((*schema()).clone());
        }
        let Some(key) = &order.key else { return Ok(Value::Bool(true)) };
        let name = format!("approval.{key}");
        if let Some(recorded) = host.recorded(&name)? {
            return recorded.take();
        }
        let served = host.served().into_iter().find(|served| served.capability == order.capability);
        let schema = served.map_or(Value::Bool(true), |served| (*served.request).clone());
        host.record(Entry::Step { name, value: Body::from(schema.clone()), input: None }).await?;
        Ok(schema)
    }
}

/// The schema of a [`Decision`] over an input of this schema, whose own references stay within it.
fn decision(input: &Value) -> Value {
    let mut input = input.clone();
    if let Some(fields) = input.as_object_mut() {
        fields.insert("$id".into(), "urn:callboard:input".into());
    }
    let one = |name: &str, schema: Value| json!({ "type": "object", "properties": { name: schema }, "required": [name], "additionalProperties": false });
    json!({ "oneOf": [{ "const": "approve" }, one("edit", input), one("reject", json!({ "type": "string" }))] })
}
