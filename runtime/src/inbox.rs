//! What people are asked, and their answers.
//!
//! A question is a task of a capability `human.<queue>` ([`human`](crate::human)). The inbox reads the queues without
//! claiming anything, so any number of people look at the same questions; an answer is recorded as the task's outcome,
//! where the first one holds.

use std::collections::BTreeSet;
use std::time::Duration;

use callboard_agents::human::{DEFAULT_QUEUE, PREFIX, Question};
use callboard_broker::Broker;
use callboard_broker::clock::Millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Recorded, TaskFilter, TaskView, Until};
use serde_json::Value;

use crate::schema;

/// How long one wait for an answer lasts before it is begun again, and the wait after one that failed.
const LOOK: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);
/// The longest name of a person, in bytes.
pub const MAX_NAME: usize = 200;

/// The questions of a broker. Cheap to make.
#[derive(Clone, Debug)]
pub struct Inbox {
    broker: Broker,
}

/// A question with where it comes from.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The task that is the question.
    pub task: Task,
    /// Who is asked: what follows `human.`.
    pub queue: String,
    /// The question.
    pub question: Question,
    /// Where it stands: `pending` until it is answered, taken back or too late.
    pub status: Status,
    /// Its answer, or how else it ended.
    pub outcome: Option<Outcome>,
}

impl Asked {
    /// When it has to be answered.
    pub fn deadline(&self) -> Millis {
        self.task.deadline
    }

    fn of(view: TaskView) -> Result<Self> {
        let TaskView { task, status, outcome, .. } = view;
        let queue = task.capability.as_str().strip_prefix(PREFIX);
        let queue = queue.ok_or_else(|| {
            Error::not_found(format!("question {}: {} is no queue of people", task.id, task.capability))
        })?;
        // What was put in by hand need not be a whole question: then all of it is what is asked.
        let question = task.input.read().or_else(|_| Ok::<_, Error>(Question::new(task.input.json()?)))?;
        Ok(Self { queue: queue.to_owned(), question, status, outcome, task })
    }
}

impl Inbox {
    /// The inbox of a broker.
    pub fn of(broker: &Broker) -> Self {
        Self { broker: broker.clone() }
    }

    /// The questions that wait, of one queue or of all, oldest first within each; at most 1,000 of a queue.
    ///
    /// A broker on NATS with more than 4,096 queued tasks does not say what all of its queues are: then all are `default`,
    /// and others have to be named.
    ///
    /// # Errors
    /// `Decode` for a queue that is no name.
    pub async fn open(&self, queue: Option<&str>) -> Result<Vec<Asked>> {
        let named = |name: &str| CapabilityName::parse(&format!("{PREFIX}{name}"));
        let queues = match queue {
            Some(name) => BTreeSet::from([named(name)?]),
            None => {
                let known = self.broker.tasks.depth().await?.into_iter().map(|(capability, _)| capability);
                known.filter(CapabilityName::is_human).chain([named(DEFAULT_QUEUE)?]).collect()
            }
        };
        let mut open = Vec::new();
        for capability in queues {
            let status = vec![Status::Pending];
            let filter = TaskFilter { capability: Some(capability), status, ..TaskFilter::default() };
            let views = self.broker.tasks.list(filter).await?;
            open.extend(views.into_iter().map(Asked::of).collect::<Result<Vec<_>>>()?);
        }
        Ok(open)
    }

    /// One question, answered or not.
    ///
    /// # Errors
    /// `NotFound`, also when the task is no question.
    pub async fn get(&self, task: TaskId) -> Result<Asked> {
        let view = self.broker.tasks.get(vec![task.clone()]).await?.pop().flatten();
        Asked::of(view.ok_or_else(|| Error::not_found(format!("question {task}")))?)
    }

    /// Resolves when a question has been answered, was taken back or is too late.
    pub async fn ended(&self, task: &TaskId) {
        loop {
            match self.broker.tasks.wait(vec![task.clone()], Until::All, LOOK).await {
                Ok(ended) if !ended.is_empty() => return,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Answers a question in the name of `who`. `Already` when the same person gave the same answer before.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for who may not answer it; `Decode` for what is none of its choices or (with the feature
    /// `schema`) does not fit its schema; `Conflict` when it has an answer already, was taken back or is too late.
    pub async fn answer(&self, task: TaskId, answer: Value, who: &str) -> Result<Recorded> {
        let asked = self.check(task, &answer, who).await?;
        let now = self.broker.clock.now();
        let outcome = Outcome::of(&asked.task, Status::Completed, None, now);
        let output = Payload::from(answer);
        self.broker.tasks.conclude(Outcome { output, agent: Some(who.into()), ..outcome }).await
    }

    /// Whether it would be an answer to the question, if it came first: the question.
    ///
    /// # Errors
    /// As of [`answer`](Self::answer), but for `Conflict`.
    pub async fn check(&self, task: TaskId, answer: &Value, who: &str) -> Result<Asked> {
        if who.trim().is_empty() || who.len() > MAX_NAME {
            return Err(Error::decode(format!("who answers is named in 1 to {MAX_NAME} bytes")));
        }
        let asked = self.get(task).await?;
        asked.question.admits(who)?;
        asked.question.is_choice(answer)?;
        let fits = schema::fits(&asked.question.schema, answer);
        fits.map_err(|why| Error::decode(format!("not an answer to this: {why}")))?;
        Ok(asked)
    }
}
