//! The documents of a run's log, and what a task's log says when it is read.
//!
//! A record stands on `cb.v1.run.<run>.<task>.<kind>`. Beside the records of the contract there are four that only
//! this wing needs: `submitted` holds the task itself, `started` is a first claim, `lapsed` ends the claim of a holder
//! that gave no sign of life, `unserved` says since when nobody serves the version that began the task. They carry no
//! number, so a log reads the same on every wing; but a `lapsed` whose holder's process died is a record of the contract
//! too. Each document names its
//! `writer`, a mark of one single write: whoever does not know whether a write was stored looks for it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::js::Raw;
use crate::clock::Millis;
use crate::code;
use crate::error::{Class, Error, Remote, Result};
use crate::id::{NodeName, TaskId};
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::task::{BegunBy, Entry, Outcome, Record, Release, Status, Task, Version};

pub(crate) const SUBMITTED: &str = "submitted";
pub(crate) const STARTED: &str = "started";
pub(crate) const LAPSED: &str = "lapsed";
pub(crate) const UNSERVED: &str = "unserved";

/// A task was stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Submitted {
    pub(crate) writer: String,
    pub(crate) at: Millis,
    pub(crate) task: Task,
}

/// A task was handed out for the first time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) writer: String,
    pub(crate) at: Millis,
    pub(crate) capability: CapabilityName,
    pub(crate) attempt: u32,
    pub(crate) node: NodeName,
    /// Where its queue message is given back by whoever takes over.
    #[serde(default)]
    pub(crate) ack: String,
}

/// A claim ended without its holder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lapsed {
    pub(crate) writer: String,
    pub(crate) at: Millis,
    /// Who held the task.
    pub(crate) node: Option<NodeName>,
    /// Who says so.
    pub(crate) by: NodeName,
    /// When its process died: the record of that.
    #[serde(flatten)]
    pub(crate) death: Option<DeathNote>,
}

/// That the process of a holder died, as a record of the contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeathNote {
    pub(crate) n: u64,
    pub(crate) capability: CapabilityName,
    pub(crate) entry: Entry,
    /// The mark of the claim that it ended.
    pub(crate) of: String,
}

/// Nobody serves the version that began a task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unserved {
    pub(crate) writer: String,
    pub(crate) at: Millis,
    pub(crate) version: Version,
    /// Who says so.
    pub(crate) by: NodeName,
}

/// A record of the contract.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) writer: String,
    pub(crate) n: u64,
    pub(crate) at: Millis,
    pub(crate) capability: CapabilityName,
    pub(crate) entry: Entry,
    /// Of a parked task: when all its attempts must have ended, for those who keep the time of what stands in no queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Millis>,
    /// Of a claim: where its queue message is given back by whoever takes over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) ack: String,
}

/// What an outcome's document says beside the outcome.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndMark {
    pub(crate) writer: String,
    /// The claim that recorded it; 0: none did.
    pub(crate) lease: u64,
    /// The key under which its parent delegated the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// The document of an outcome: its own fields, and the mark's beside them.
pub(crate) fn end_document(outcome: &Outcome, mark: &EndMark) -> Result<String> {
    // Flattening would read the output as a tree, and it is verbatim text.
    let unwritable = |e: serde_json::Error| Error::decode(format!("the outcome cannot be written: {e}"));
    let mut text = serde_json::to_string(outcome).map_err(unwritable)?;
    let mark = serde_json::to_string(mark).map_err(unwritable)?;
    text.pop();
    text.push(',');
    text.push_str(&mark[1..]);
    Ok(text)
}

/// An outcome as a worker in any language may have written it: what it leaves out follows from the subject.
#[derive(Default, Deserialize)]
#[serde(default)]
struct LooseEnd {
    capability: Option<CapabilityName>,
    output: Payload,
    error: Option<Value>,
    degraded: Option<String>,
    attempt: u32,
    generation: Option<u32>,
    parent: Option<TaskId>,
    node: Option<NodeName>,
    agent: Option<String>,
    started_at: Option<Millis>,
    finished_at: Option<Millis>,
}

/// The outcome on a subject, with its mark. `task` is what was submitted, when that is known.
pub(crate) fn read_end(raw: &Raw, id: &TaskId, status: Status, task: Option<&Task>) -> (Outcome, EndMark) {
    let mark: EndMark = serde_json::from_slice(&raw.body).unwrap_or_default();
    let loose: LooseEnd = serde_json::from_slice(&raw.body).unwrap_or_default();
    let unknown = || CapabilityName::parse("unknown").unwrap_or_else(|_| unreachable!("a name that fits the grammar"));
    let capability = loose.capability.or_else(|| task.map(|task| task.capability.clone())).unwrap_or_else(unknown);
    let outcome = Outcome {
        task: id.clone(),
        run: id.run(),
        capability,
        status,
        output: loose.output,
        error: loose.error.map(loose_error),
        degraded: loose.degraded,
        attempt: loose.attempt,
        generation: loose.generation.or(task.map(|task| task.generation)).unwrap_or(1),
        parent: loose.parent.or_else(|| task.and_then(|task| task.parent.clone())),
        node: loose.node,
        agent: loose.agent,
        started_at: loose.started_at,
        finished_at: loose.finished_at.unwrap_or(raw.at),
    };
    (outcome, mark)
}

fn loose_error(error: Value) -> Remote {
    let whole: Result<Remote, _> = serde_json::from_value(error.clone());
    whole.unwrap_or_else(|_| Remote {
        class: Class::Unclassified,
        code: error["code"].as_str().unwrap_or(code::FAILED).to_owned(),
        message: error["message"].as_str().or(error.as_str()).map_or_else(|| error.to_string(), str::to_owned),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    })
}

/// The final status that a kind of record stands for.
pub(crate) fn ending(kind: &str) -> Option<Status> {
    let all = [Status::Completed, Status::Failed, Status::Cancelled, Status::Expired, Status::Skipped];
    all.into_iter().find(|status| status.as_str() == kind)
}

/// The task and the kind that a record's subject, or a hint's, names.
pub(crate) fn parse_subject(subject: &str) -> Option<(TaskId, &str)> {
    let mut tokens = subject.split('.').skip(4);
    let (task, kind) = (tokens.next()?, tokens.next()?);
    Some((TaskId::parse(task).ok()?, kind))
}

/// A claim as the log tells it.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) attempt: u32,
    pub(crate) node: NodeName,
    pub(crate) since: Millis,
    /// The mark of its record.
    pub(crate) writer: String,
    /// Where its queue message is acknowledged.
    pub(crate) ack: String,
}

/// All that the log of one task says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) task: Option<Task>,
    /// The mark of whoever stored it.
    pub(crate) submitter: String,
    /// The sequence of `submitted`: its place in the order of submission.
    pub(crate) seq: u64,
    /// The sequence of the newest record; 0: there is none.
    pub(crate) last: u64,
    pub(crate) log: Vec<Record>,
    /// How often it was handed out.
    pub(crate) claims: u32,
    /// Attempts begun.
    pub(crate) attempts: u32,
    /// The claim that stands.
    pub(crate) held: Option<Claimed>,
    /// Whether the next claim begins no new attempt.
    pub(crate) free: bool,
    pub(crate) not_before: Millis,
    /// Which version it stays with.
    pub(crate) begun_by: BegunBy,
    /// Since when it is known that nobody serves that, if it has not been claimed since.
    pub(crate) unserved: Option<Millis>,
    /// What it was laid aside for, until it is claimed again.
    pub(crate) parked: Option<Vec<TaskId>>,
    /// The mark of the newest claim that ended with the process of its holder.
    pub(crate) died: Option<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) mark: EndMark,
}

impl Story {
    /// Reads records of one task, in the order of the stream.
    pub(crate) fn read<'a>(records: impl IntoIterator<Item = &'a Raw>) -> Self {
        let mut story = Self::default();
        for raw in records {
            story.add(raw);
        }
        story
    }

    /// The number of the newest record of the contract.
    pub(crate) fn n(&self) -> u64 {
        self.log.last().map_or(0, |record| record.n)
    }

    /// The attempt that the next claim begins or goes on with.
    pub(crate) fn next_attempt(&self) -> u32 {
        if self.free { self.attempts.max(1) } else { self.attempts + 1 }
    }

    /// Whether the next claim has to leave a record of the contract.
    pub(crate) fn was_claimed(&self) -> bool {
        self.claims > 0 || !self.log.is_empty()
    }

    fn add(&mut self, raw: &Raw) {
        let Some((id, kind)) = parse_subject(&raw.subject) else { return };
        self.last = self.last.max(raw.seq);
        if let Some(status) = ending(kind) {
            let (outcome, mark) = read_end(raw, &id, status, self.task.as_ref());
            self.held = None;
            (self.outcome, self.mark) = (Some(outcome), mark);
            return;
        }
        match kind {
            SUBMITTED => {
                if let Ok(document) = serde_json::from_slice::<Submitted>(&raw.body) {
                    (self.task, self.seq, self.submitter) = (Some(document.task), raw.seq, document.writer);
                }
            }
            STARTED => {
                if let Ok(document) = serde_json::from_slice::<Started>(&raw.body) {
                    let Started { writer, at, attempt, node, ack, .. } = document;
                    self.begun_by.claimed(None);
                    self.claimed(Claimed { attempt, node, since: at, writer, ack });
                }
            }
            LAPSED => {
                self.held = None;
                self.begun_by.settle();
                let death = serde_json::from_slice::<Lapsed>(&raw.body)
                    .ok()
                    .and_then(|document| Some((document.at, document.death?)));
                if let Some((at, DeathNote { n, entry, of, .. })) = death {
                    if let Entry::Died { beside, not_before, .. } = &entry {
                        (self.free, self.not_before) = (*beside > 0, *not_before);
                    }
                    self.died = Some(of);
                    self.log.push(Record { n, at, entry });
                }
            }
            UNSERVED => {
                if let Ok(document) = serde_json::from_slice::<Unserved>(&raw.body) {
                    self.unserved = Some(document.at);
                }
            }
            // A record that cannot be read still counts as one: whoever has not seen it was replaced.
            _ => {
                if let Ok(document) = serde_json::from_slice::<Noted>(&raw.body) {
                    self.noted(document);
                }
            }
        }
    }

    fn noted(&mut self, document: Noted) {
        let Noted { n, at, entry, writer, ack, .. } = document;
        self.begun_by.add(&entry);
        match &entry {
            Entry::Claimed { attempt, node, .. } => {
                self.claimed(Claimed { attempt: *attempt, node: node.clone(), since: at, writer, ack });
            }
            Entry::Released { reason, not_before, .. } => {
                self.held = None;
                self.free = matches!(reason, Release::Declined | Release::Drained);
                self.not_before = *not_before;
            }
            Entry::Parked { on } => {
                self.held = None;
                // The claim counts for nothing: the next one goes on with the same attempt.
                self.claims = self.claims.saturating_sub(1);
                self.free = true;
                self.parked = Some(on.clone());
            }
            Entry::Step { .. }
            | Entry::Delegated { .. }
            | Entry::Intent { .. }
            | Entry::Effect { .. }
            | Entry::Undone { .. }
            | Entry::Died { .. } => {}
        }
        self.log.push(Record { n, at, entry });
    }

    fn claimed(&mut self, claimed: Claimed) {
        self.claims += 1;
        self.attempts = self.attempts.max(claimed.attempt);
        self.free = false;
        self.unserved = None;
        self.not_before = 0;
        self.parked = None;
        self.held = Some(claimed);
    }
}
