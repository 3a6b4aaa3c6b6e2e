//! From a message of the log to the fact that it tells.
//!
//! The server copies records and changes as they are, so the words are put together here, by the same functions that
//! every wing uses. A document that does not read as what it should be is a fact too: somebody who writes by hand, or a
//! newer release, must not stop those who read.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::Millis;
use crate::event::{self, Event, NewEvent};
use crate::facts;
use crate::id::{RunId, TaskId};
use crate::nats::js::Raw;
use crate::nats::state::document;
use crate::nats::{names, record};
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::task::{Entry, Task};

/// Who says what somebody put there by hand.
const EXTERNAL: &str = "external";

/// A published fact as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Published {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) time: Millis,
    pub(super) agent: String,
    pub(super) run: Option<RunId>,
    pub(super) task: Option<TaskId>,
    pub(super) payload: Payload,
}

/// Where the server copied a message from.
struct Source<'a> {
    stream: &'a str,
    seq: u64,
    subject: &'a str,
}

/// What a message of the log tells.
pub(super) enum Told {
    /// All of it.
    Fact(Event),
    /// That state was changed. The message is as it stands in the stream of state, and does not say what was there before.
    Changed(Raw),
}

/// Reads a message of the log.
pub(super) fn read(raw: &Raw) -> Told {
    let source = raw.headers.get("Nats-Stream-Source").map(ToString::to_string);
    let fact = match source.as_deref().and_then(origin) {
        Some(source) if source.stream == names::STATE => {
            let changed = Raw { subject: source.subject.to_owned(), seq: source.seq, ..raw.clone() };
            if document::key(source.subject).is_some() {
                return Told::Changed(changed);
            }
            None
        }
        Some(source) if source.stream == names::RUNS => recorded(raw, source.subject),
        _ => published(raw),
    };
    let (time, fact) = fact.unwrap_or_else(|| (raw.at, unreadable(raw)));
    Told::Fact(Event::new(raw.seq, time, fact))
}

/// The fact of a change, once it is known what was there before it.
pub(super) fn changed(raw: &Raw, state: &Raw, previous: Option<Payload>) -> Event {
    match document::change(state, previous) {
        Some(change) => Event::new(raw.seq, change.at, facts::changed(&change)),
        None => Event::new(raw.seq, raw.at, unreadable(raw)),
    }
}

/// The server's words: stream, sequence, filters, their transforms, the subject it had there, and a mark.
fn origin(header: &str) -> Option<Source<'_>> {
    let mut parts = header.split(' ');
    let (stream, seq) = (parts.next()?, parts.next()?.parse().ok()?);
    Some(Source { stream, seq, subject: parts.nth(2)? })
}

/// The fact that a record of a run's log stands for, and its time.
fn recorded(raw: &Raw, subject: &str) -> Option<(Millis, NewEvent)> {
    let (id, kind) = record::parse_subject(subject)?;
    if let Some(status) = record::ending(kind) {
        let (outcome, mark) = record::read_end(raw, &id, status, None);
        let task = Task { key: mark.key, ..stub(id, outcome.capability.clone()) };
        let told = facts::ended(&task, &outcome).into_iter().find(|fact| fact.kind == kind_of(raw))?;
        return Some((outcome.finished_at, told));
    }
    match kind {
        record::SUBMITTED => {
            let document: record::Submitted = serde_json::from_slice(&raw.body).ok()?;
            Some((document.at, facts::created(&document.task)))
        }
        record::STARTED => {
            let document: record::Started = serde_json::from_slice(&raw.body).ok()?;
            let task = stub(id, document.capability);
            Some((document.at, facts::started(&task, document.attempt, &document.node)))
        }
        _ => {
            let document: record::Noted = serde_json::from_slice(&raw.body).ok()?;
            let Entry::Claimed { attempt, node, .. } = document.entry else { return None };
            Some((document.at, facts::started(&stub(id, document.capability), attempt, &node)))
        }
    }
}

/// As much of a task as a record names.
fn stub(id: TaskId, capability: CapabilityName) -> Task {
    let run = id.run();
    Task { id, ..Task::root(run, capability, Payload::null(), 0) }
}

fn published(raw: &Raw) -> Option<(Millis, NewEvent)> {
    let Published { kind, time, agent, run, task, payload } = serde_json::from_slice(&raw.body).ok()?;
    Some((time, NewEvent { kind, agent, run, task, payload }))
}

/// What is left when nothing else can be said: its subject and its body.
fn unreadable(raw: &Raw) -> NewEvent {
    let text = String::from_utf8_lossy(&raw.body);
    let payload = Payload::from_json(text.clone()).unwrap_or_else(|_| json!(text).into());
    let run = raw.subject.split('.').nth(4).filter(|_| raw.subject.split('.').count() == 5);
    NewEvent {
        kind: kind_of(raw),
        agent: EXTERNAL.into(),
        run: run.and_then(|run| RunId::parse(run).ok()),
        task: None,
        payload,
    }
}

/// The type that a subject names; one that holds an underscore itself is told right only by its document.
fn kind_of(raw: &Raw) -> String {
    raw.subject.split('.').nth(3).unwrap_or(event::CONTEXT_UPDATED).replace('_', ".")
}
