//! What follows from a record: its event, its dead letter, the outcome that a wing decides by itself.
//!
//! The wings store differently and must say the same, so the words are put together here, once. Pure: time is an
//! argument. A payload is encoded only when somebody reads it.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::clock::{Millis, millis};
use crate::code;
use crate::dead_letter::{NewDeadLetter, Reason};
use crate::error::{Class, Error, Remote, Result};
use crate::event::{self, NewEvent};
use crate::id::NodeName;
use crate::messages::{Address, Message};
use crate::payload::{MAX_PAYLOAD, Payload};
use crate::queue::{Place, Spent};
use crate::state::{Change, Scope};
use crate::suspect::Death;
use crate::task::{Outcome, Status, Task};
use crate::tasks::{Child, MAX_PARK, Park};

/// Who says what the wing itself decided.
pub const SELF: &str = "callboard";

/// Where a task stood when the wing ended it.
#[derive(Clone, Debug, Default)]
pub struct Stood {
    /// Attempts begun.
    pub attempts: u32,
    /// How often it was handed out.
    pub claims: u32,
    /// Who held it, and since when.
    pub held: Option<(NodeName, Millis)>,
    /// The deaths of processes that count against it.
    pub deaths: Vec<Death>,
}

impl From<&Place> for Stood {
    fn from(place: &Place) -> Self {
        let held = place.held.as_ref().map(|held| (held.node.clone(), held.since));
        Self { attempts: place.item.attempts(), claims: place.item.claims, held, deaths: Vec::new() }
    }
}

/// Checks a task at the door: that it belongs to its run and fits the limits. The size of its input.
///
/// # Errors
/// `Decode`, `TooLarge`.
pub fn admit(task: &Task) -> Result<usize> {
    if task.id.run() != task.run || task.base.run() != task.run {
        return Err(Error::decode(format!("task {} does not belong to run {}", task.id, task.run)));
    }
    let words = task.description.as_ref().map_or(0, String::len) + task.key.as_ref().map_or(0, String::len);
    let size = task.input.json()?.len() + words;
    if size > MAX_PAYLOAD {
        return Err(Error::TooLarge { what: "task".into(), size, limit: MAX_PAYLOAD });
    }
    Ok(size)
}

/// Whether the task `given` asks for what the one `recorded` under its id asks for.
///
/// # Errors
/// `Diverged`, with both hashes; `Decode` for an input that is no JSON.
pub fn same_input(recorded: &Task, given: &Task) -> Result<()> {
    if recorded.input.json()? == given.input.json()? {
        return Ok(());
    }
    let (recorded_hash, given_hash) = (recorded.input.content_hash()?, given.input.content_hash()?);
    if recorded_hash == given_hash {
        return Ok(());
    }
    let key = given.key.as_deref().unwrap_or(given.id.as_str());
    Err(Error::Diverged { key: key.into(), recorded: recorded_hash.into(), given: given_hash.into() })
}

/// `task.created`.
pub fn created(task: &Task) -> NewEvent {
    #[derive(Serialize)]
    struct Created {
        capability: crate::subject::CapabilityName,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<crate::id::TaskId>,
        generation: u32,
    }
    let payload = Created {
        capability: task.capability.clone(),
        key: task.key.clone(),
        parent: task.parent.clone(),
        generation: task.generation,
    };
    of_task(event::TASK_CREATED, task.from.as_deref().unwrap_or(SELF), task, Payload::of(payload))
}

/// `task.started`, at each claim.
pub fn started(task: &Task, attempt: u32, node: &NodeName) -> NewEvent {
    #[derive(Serialize)]
    struct Started {
        capability: crate::subject::CapabilityName,
        attempt: u32,
    }
    let payload = Started { capability: task.capability.clone(), attempt };
    of_task(event::TASK_STARTED, node.as_str(), task, Payload::of(payload))
}

/// The event of an outcome; a completed one also says that there is a new result. The result itself stays with the
/// outcome, so that the log does not hold everything twice.
pub fn ended(task: &Task, outcome: &Outcome) -> Vec<NewEvent> {
    #[derive(Serialize)]
    struct Ended {
        capability: crate::subject::CapabilityName,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Remote>,
        #[serde(skip_serializing_if = "Option::is_none")]
        degraded: Option<String>,
    }
    let kind = match outcome.status {
        Status::Completed => event::TASK_COMPLETED,
        Status::Cancelled => event::TASK_CANCELLED,
        Status::Expired => event::TASK_EXPIRED,
        Status::Skipped => event::TASK_SKIPPED,
        Status::Failed | Status::Pending | Status::InProgress => event::TASK_FAILED,
    };
    let payload = Ended {
        capability: outcome.capability.clone(),
        attempt: outcome.attempt,
        node: outcome.node.clone(),
        error: outcome.error.clone().map(|e| Remote { partial: None, ..e }),
        degraded: outcome.degraded.clone(),
    };
    let by = outcome.agent.as_deref().or(outcome.node.as_ref().map(NodeName::as_str)).unwrap_or(SELF);
    let mut facts = vec![of_task(kind, by, task, Payload::of(payload))];
    if outcome.status == Status::Completed {
        let name = task.key.as_deref().unwrap_or(task.id.as_str());
        facts.push(of_task(event::CONTEXT_UPDATED, by, task, json!({ "result": name }).into()));
    }
    facts
}

/// `context.updated` for a change of shared state, with the value before it.
pub fn changed(change: &Change) -> NewEvent {
    #[derive(Serialize)]
    struct Changed {
        key: crate::state::Key,
        version: u64,
        change: u64,
        value: Option<Payload>,
        previous: Option<Payload>,
    }
    let scope = match change.key.scope() {
        Scope::Run(run) => Some(run),
        Scope::Team(_) | Scope::Global => None,
    };
    let payload = Changed {
        key: change.key.clone(),
        version: change.version,
        change: change.sequence,
        value: change.value.clone(),
        previous: change.previous.clone(),
    };
    NewEvent {
        kind: event::CONTEXT_UPDATED.into(),
        agent: change.by.clone(),
        run: change.task.as_ref().map(|by| by.task.run()).or(scope),
        task: change.task.as_ref().map(|by| by.task.clone()),
        payload: Payload::of(payload),
    }
}

/// From when on a task that is given back may be handed out again. At once is 0 and not now: a clock that is set back must
/// not make anybody wait.
pub fn not_before(now: Millis, delay: Duration) -> Millis {
    if delay.is_zero() { 0 } else { now.saturating_add(millis(delay)) }
}

/// The dead letter and the outcome of a task that the queue found spent; the letter is stored first.
pub fn spent(task: &Task, stood: &Stood, why: Spent, now: Millis) -> (NewDeadLetter, Outcome) {
    let (reason, status, error) = match why {
        Spent::Expired => (Reason::Expired, Status::Expired, task.overdue()),
        Spent::TooManyClaims => {
            let message = format!("it was claimed {} times and no attempt came to an end", stood.claims);
            (Reason::TooManyClaims, Status::Failed, remote(code::ATTEMPTS, message))
        }
        Spent::Unserved(version) => {
            let message = format!("version {version} of its agent began it, and nobody serves that any more");
            (Reason::NoRecipient, Status::Failed, remote(code::VERSION, message))
        }
        Spent::Deadly => (Reason::TooManyClaims, Status::Failed, remote(code::DEADLY, deadly(&stood.deaths))),
    };
    let letter = dead_task(task, reason, Some(error.message.clone()));
    (letter, decided(task, stood, status, error, now))
}

/// The deaths for which a task is given up, in words.
fn deadly(deaths: &[Death]) -> String {
    let (first, last) = (deaths.first().map_or(0, |death| death.at), deaths.last().map_or(0, |death| death.at));
    let mut nodes: Vec<&str> = deaths.iter().map(|death| death.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let (nodes, times) = (nodes.join(", "), deaths.len());
    let within = Duration::from_millis(last.saturating_sub(first));
    format!("{times} times its process died while it ran alone, on {nodes}, within {:.1} s", within.as_secs_f64())
}

/// The outcome of a task that was cancelled.
pub fn cancelled(task: &Task, stood: &Stood, by: &str, now: Millis) -> Outcome {
    let error = Remote { class: Class::Cancelled, ..remote(code::CANCELLED, by.into()) };
    decided(task, stood, Status::Cancelled, error, now)
}

/// The outcome with which a child is stored; none when it is to be done.
///
/// # Errors
/// `Decode` when it is of another task or not final; `TooLarge`.
pub fn stored_with(child: &Child, now: Millis) -> Result<Option<Outcome>> {
    match child {
        Child::Queued(_) => Ok(None),
        Child::Skipped(task, why) => Ok(Some(skipped(task, why, now))),
        Child::Ended(task, outcome) => conclusion(task, (**outcome).clone()).map(Some),
    }
}

/// The outcome of a task that was stored as not to be begun.
pub fn skipped(task: &Task, why: &str, now: Millis) -> Outcome {
    Outcome::of(task, Status::Skipped, Some(remote(code::UNDELIVERED, why.into())), now)
}

/// Checks what a task is to be parked on.
///
/// # Errors
/// `Decode` for nothing, `TooLarge` for more than [`MAX_PARK`].
pub fn parkable(park: &Park) -> Result<()> {
    match park.on.len() {
        0 => Err(Error::decode(format!("task {} cannot be parked on nothing", park.fence.task))),
        size if size > MAX_PARK => {
            Err(Error::TooLarge { what: "the list of tasks to wait for".into(), size, limit: MAX_PARK })
        }
        _ => Ok(()),
    }
}

/// Checks an outcome that nobody wrote under a claim, and completes it with what the task says.
///
/// # Errors
/// `Decode` when it is not final, or of another task; `TooLarge`.
pub fn conclusion(task: &Task, outcome: Outcome) -> Result<Outcome> {
    if outcome.task != task.id || !outcome.status.is_final() {
        return Err(Error::decode(format!(
            "an outcome \"{}\" of task {} does not end task {}",
            outcome.status, outcome.task, task.id
        )));
    }
    let size = outcome.output.json()?.len();
    if size > MAX_PAYLOAD {
        return Err(Error::TooLarge { what: "answer".into(), size, limit: MAX_PAYLOAD });
    }
    let (run, capability, generation) = (task.run.clone(), task.capability.clone(), task.generation);
    Ok(Outcome { run, capability, generation, parent: task.parent.clone(), ..outcome })
}

/// Whether two outcomes of a task say the same, whenever they were given.
pub fn says_the_same(one: &Outcome, other: &Outcome) -> bool {
    let output = |outcome: &Outcome| outcome.output.value().ok();
    one.status == other.status && one.agent == other.agent && one.error == other.error && output(one) == output(other)
}

/// What is answered when a task cannot be concluded because somebody holds it, or ended it otherwise.
pub fn taken(task: &crate::id::TaskId, records: u64) -> Error {
    Error::Conflict { key: format!("task {task}").into(), expected: 0, actual: records }
}

/// What a write under a task that has ended is answered with.
pub fn after(outcome: &Outcome) -> Error {
    match (outcome.status, &outcome.error) {
        (Status::Cancelled, Some(error)) => Error::Cancelled { by: error.message.as_str().into() },
        (Status::Cancelled, None) => Error::Cancelled { by: SELF.into() },
        _ => Error::Replaced,
    }
}

/// What a child is answered with whose parent has ended.
pub fn orphaned(parent: &Outcome) -> Error {
    match after(parent) {
        cancelled @ Error::Cancelled { .. } => cancelled,
        _ => Error::Cancelled { by: format!("the end of its parent, which is {}", parent.status).into() },
    }
}

/// The dead letter of a task.
pub fn dead_task(task: &Task, reason: Reason, error: Option<String>) -> NewDeadLetter {
    NewDeadLetter {
        reason,
        capability: task.capability.as_str().into(),
        to: task.id.as_str().into(),
        from: task.from.clone().unwrap_or_else(|| SELF.into()),
        task: Some(task.id.clone()),
        body: task.input.clone(),
        error,
    }
}

/// The dead letter of a message.
pub fn dead_message(message: &Message, reason: Reason, error: Option<String>) -> NewDeadLetter {
    let capability = match &message.to {
        Address::Capability(name) => name.as_str(),
        Address::Agent(_) => "agent",
    };
    let to = match &message.to {
        Address::Capability(name) => name.as_str(),
        Address::Agent(name) => name,
    };
    NewDeadLetter {
        reason,
        capability: capability.into(),
        to: to.into(),
        from: message.from.as_ref().into(),
        task: None,
        body: message.body.clone(),
        error,
    }
}

fn decided(task: &Task, stood: &Stood, status: Status, error: Remote, now: Millis) -> Outcome {
    let (node, started_at) = stood.held.clone().unzip();
    Outcome { attempt: stood.attempts, node, started_at, ..Outcome::of(task, status, Some(error), now) }
}

fn remote(code: &str, message: String) -> Remote {
    Remote { class: Class::Permanent, code: code.into(), message, retry_after_ms: None, partial: None, fatal: false }
}

fn of_task(kind: &str, by: &str, task: &Task, payload: Payload) -> NewEvent {
    NewEvent { kind: kind.into(), agent: by.into(), run: Some(task.run.clone()), task: Some(task.id.clone()), payload }
}
