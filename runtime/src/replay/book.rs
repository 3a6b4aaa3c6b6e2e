//! The log of a task as a replay reads it: what may be asked for, and where the first difference is. Pure.
//!
//! A handler is asked for nothing in particular; it asks. So a difference is found in one of three places: it asks for
//! what is not in the log, it gives back something else than was recorded, or it ends without having asked for a record
//! that its attempt had made. The record that is named is the first one, in the order of the log, that nobody has asked
//! for by then.

use std::collections::HashMap;

use callboard_agents::host::Order;
use callboard_agents::keys::{self, ChildKeys};
use callboard_broker::clock::Millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Record};
use serde::Serialize;

/// How much of a value is shown.
const SHOWN: usize = 120;

/// The first record of a task that its handler would not make again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The task.
    pub task: TaskId,
    /// The number of the record in the log of that task; one more than the log has means its outcome.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Millis,
    /// Its kind: `step`, `effect`, `delegated`, or the status of the outcome.
    pub kind: String,
    /// Its name or key; empty for an outcome.
    pub key: String,
    /// What was recorded.
    pub recorded: String,
    /// What the handler asked for, or came to, instead.
    pub asked: String,
}

/// Why a replay is over before its handler is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It would not go the way that is recorded.
    Diverged(Box<Divergence>),
    /// It went all the way that is recorded, and nobody knows what comes after.
    Cut(String),
}

/// One record that a handler has to ask for.
#[derive(Debug)]
struct Line {
    n: u64,
    at: Millis,
    kind: &'static str,
    key: String,
    recorded: String,
    /// Whether the last attempt made it: then the last attempt has to ask for it.
    is_due: bool,
    was_asked: bool,
}

/// A recorded step.
#[derive(Debug)]
struct Step {
    line: usize,
    value: Payload,
    input: Option<String>,
}

/// A recorded delegation.
#[derive(Debug)]
struct Child {
    line: usize,
    id: TaskId,
    capability: CapabilityName,
    input_hash: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    task: TaskId,
    /// Whether the task was completed: then its handler finds all that it asks for.
    is_complete: bool,
    /// The attempt whose records are being read; a first claim leaves none.
    attempt: u32,
    lines: Vec<Line>,
    steps: HashMap<String, Step>,
    children: HashMap<String, Child>,
    keys: ChildKeys,
    over: Option<Over>,
}

impl Book {
    pub(super) fn new(task: &TaskId, log: &[Record], is_complete: bool) -> Self {
        let (lines, steps, children) = Default::default();
        let keys = ChildKeys::default();
        let mut book = Self { task: task.clone(), is_complete, attempt: 1, lines, steps, children, keys, over: None };
        for record in log {
            book.add(record);
        }
        book
    }

    fn add(&mut self, record: &Record) {
        let line = self.lines.len();
        let (key, recorded) = match &record.entry {
            Entry::Claimed { attempt, .. } if *attempt > self.attempt => {
                // What comes now is the work of another attempt.
                self.attempt = *attempt;
                self.lines.iter_mut().for_each(|line| line.is_due = false);
                return;
            }
            Entry::Step { name, value, input } => {
                self.steps.insert(name.clone(), Step { line, value: value.clone(), input: input.clone() });
                (name, shown(value.json().unwrap_or_default()))
            }
            Entry::Effect { name, value } => (name, shown(value.json().unwrap_or_default())),
            Entry::Delegated { key, child, capability, input_hash } => {
                let (id, capability, input_hash) = (child.clone(), capability.clone(), input_hash.clone());
                let recorded = format!("{capability} with input {input_hash}");
                self.children.insert(key.clone(), Child { line, id, capability, input_hash });
                (key, recorded)
            }
            Entry::Claimed { .. }
            | Entry::Released { .. }
            | Entry::Parked { .. }
            | Entry::Intent { .. }
            | Entry::Undone { .. }
            | Entry::Died { .. } => return,
        };
        let (n, at, kind, key) = (record.n, record.at, record.entry.kind(), key.clone());
        // What people are asked about an effect in doubt no handler asks for by itself.
        let was_asked = keys::is_of_doubt(&key);
        self.lines.push(Line { n, at, kind, key, recorded, is_due: true, was_asked });
    }

    /// All children that the log names.
    pub(super) fn children(&self) -> Vec<TaskId> {
        self.children.values().map(|child| child.id.clone()).collect()
    }

    /// The capabilities that the log names.
    pub(super) fn capabilities(&self) -> Vec<CapabilityName> {
        self.children.values().map(|child| child.capability.clone()).collect()
    }

    /// How many records were asked for.
    pub(super) fn asked(&self) -> u64 {
        self.lines.iter().filter(|line| line.was_asked).count() as u64
    }

    /// Why it is over, once it is.
    pub(super) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// The recorded result of a step, which was made from an input of this hash if one is given.
    pub(super) fn step(&mut self, name: &str, input: Option<&str>) -> Result<Payload> {
        let Some(step) = self.steps.get(name) else { return Err(self.missing(&format!("step {name}"))) };
        let (line, value) = (step.line, step.value.clone());
        let another = |asked: &&str| step.input.as_ref().is_some_and(|recorded| recorded != asked);
        if let Some(asked) = input.filter(another) {
            let recorded = format!("step {name} from input {}", step.input.as_deref().unwrap_or("-"));
            return Err(self.differs(line, recorded, format!("step {name} from input {asked}")));
        }
        self.lines[line].was_asked = true;
        Ok(value)
    }

    /// Whether there is such a step.
    pub(super) fn has_step(&self, name: &str) -> bool {
        self.steps.contains_key(name)
    }

    /// An effect that was done, in this log or that of an earlier generation.
    pub(super) fn effect(&mut self, name: &str) {
        for line in &mut self.lines {
            line.was_asked |= line.kind == "effect" && line.key == name;
        }
    }

    /// The child that was delegated for an order.
    pub(super) fn child(&mut self, order: &Order) -> Result<TaskId> {
        let (key, input_hash) = (self.keys.key(order)?, order.input.content_hash()?);
        let asked = format!("{} with input {input_hash} as {key}", order.capability);
        let Some(child) = self.children.get(&key) else { return Err(self.missing(&asked)) };
        let (line, id) = (child.line, child.id.clone());
        if child.capability != order.capability || child.input_hash != input_hash {
            let recorded = format!("{} with input {} as {key}", child.capability, child.input_hash);
            return Err(self.differs(line, recorded, asked));
        }
        self.lines[line].was_asked = true;
        Ok(id)
    }

    /// The handler asked for something that is not in the log. Either it differs from what made the log, or the log ends
    /// here because somebody ended the task.
    pub(super) fn missing(&mut self, asked: &str) -> Error {
        let unasked = |due: bool| self.lines.iter().position(|line| !line.was_asked && line.is_due == due);
        // Of a completed task also what an earlier attempt made: its last one had it from there.
        let line = unasked(true).or_else(|| unasked(false).filter(|_| self.is_complete));
        match line {
            Some(line) => {
                let Line { kind, key, recorded, .. } = &self.lines[line];
                let recorded = format!("{kind} {key}: {recorded}");
                self.differs(line, recorded, asked.to_owned())
            }
            None if self.is_complete => {
                let (sequence, at) = self.end();
                let recorded = "the task completed".to_owned();
                self.diverged(sequence, at, ("completed", ""), recorded, asked.to_owned())
            }
            None => self.cut(format!("its log ends before {asked}")),
        }
    }

    /// Nobody can say whether it would go on as it did.
    pub(super) fn cut(&mut self, why: String) -> Error {
        self.over.get_or_insert_with(|| Over::Cut(why.clone()));
        Error::decode(format!("the replay is over: {why}"))
    }

    /// The handler has ended, so it asks for nothing more: the first record of its attempt that it did not ask for.
    pub(super) fn close(&mut self, ended: &str) {
        if let Some(line) = self.lines.iter().position(|line| line.is_due && !line.was_asked) {
            let Line { kind, key, recorded, .. } = &self.lines[line];
            let recorded = format!("{kind} {key}: {recorded}");
            self.differs(line, recorded, ended.to_owned());
        }
    }

    /// The handler came to another end than is recorded.
    pub(super) fn ends(&mut self, kind: &str, at: Millis, recorded: &str, came_to: &str) {
        let (sequence, _) = self.end();
        let (recorded, asked) = apart(recorded, came_to);
        self.diverged(sequence, at, (kind, ""), recorded, asked);
    }

    fn end(&self) -> (u64, Millis) {
        self.lines.last().map_or((1, 0), |line| (line.n + 1, line.at))
    }

    fn differs(&mut self, line: usize, recorded: String, asked: String) -> Error {
        let Line { n, at, kind, key, .. } = &self.lines[line];
        let (n, at, kind, key) = (*n, *at, *kind, key.clone());
        self.diverged(n, at, (kind, &key), recorded, asked)
    }

    fn diverged(
        &mut self,
        sequence: u64,
        at: Millis,
        (kind, key): (&str, &str),
        recorded: String,
        asked: String,
    ) -> Error {
        let task = self.task.clone();
        let error = Error::decode(format!("the replay diverges at record {sequence}: {recorded} then, {asked} now"));
        let found = Divergence { task, sequence, at, kind: kind.into(), key: key.into(), recorded, asked };
        self.over.get_or_insert(Over::Diverged(Box::new(found)));
        error
    }
}

/// The beginning of a text.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}

/// Two texts from a little before the place where they part.
fn apart(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 3);
    let cut = |text: &str| {
        let before = if from > 0 { "..." } else { "" };
        format!("{before}{}", shown(&text.chars().skip(from).collect::<String>()))
    };
    (cut(one), cut(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(entries: Vec<Entry>, is_complete: bool) -> Book {
        let log: Vec<Record> = entries.into_iter().zip(1..).map(|(entry, n)| Record { n, at: n * 10, entry }).collect();
        Book::new(&TaskId::parse("r1").unwrap(), &log, is_complete)
    }

    fn step(name: &str) -> Entry {
        Entry::Step { name: name.into(), value: Payload::of(name.to_owned()), input: Some(format!("of {name}")) }
    }

    fn diverged(book: &Book) -> (u64, &str) {
        match book.over() {
            Some(Over::Diverged(found)) => (found.sequence, &found.key),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_renamed_step_is_named_at_its_record() {
        let mut book = book(vec![step("one"), step("two"), step("three")], true);
        book.step("one", None).unwrap();
        book.step("deux", None).unwrap_err();
        assert_eq!(diverged(&book), (2, "two"));
    }

    #[test]
    fn another_input_of_a_step_is_named_and_no_input_is_not_compared() {
        let mut book = book(vec![step("one"), step("two")], true);
        book.step("one", Some("of one")).unwrap();
        book.step("two", Some("another")).unwrap_err();
        assert_eq!(diverged(&book), (2, "two"));
    }

    #[test]
    fn a_step_that_is_gone_is_named_when_the_handler_has_ended() {
        let mut book = book(vec![step("one"), step("two"), step("three")], true);
        book.step("one", None).unwrap();
        book.step("three", None).unwrap();
        book.close("its end");
        assert_eq!(diverged(&book), (2, "two"));
    }

    #[test]
    fn a_step_more_than_the_log_has_is_a_difference_only_where_the_task_was_completed() {
        for (is_complete, differs) in [(true, true), (false, false)] {
            let mut book = book(vec![step("one")], is_complete);
            book.step("one", None).unwrap();
            book.step("two", None).unwrap_err();
            assert_eq!(matches!(book.over(), Some(Over::Diverged(_))), differs, "{:?}", book.over());
        }
    }

    #[test]
    fn what_an_earlier_attempt_recorded_need_not_be_asked_for() {
        let node = callboard_broker::id::NodeName::parse("n").unwrap();
        let mut book =
            book(vec![step("only once"), Entry::Claimed { attempt: 2, node, version: None }, step("two")], true);
        book.step("two", None).unwrap();
        book.close("its end");
        assert_eq!(book.over(), None);
    }

    #[test]
    fn two_ends_are_shown_where_they_part() {
        let (one, other) = apart(&format!("{}a", "x".repeat(500)), &format!("{}b", "x".repeat(500)));
        assert!(one.ends_with("xa") && other.ends_with("xb") && one.len() < 60, "{one} {other}");
    }
}
