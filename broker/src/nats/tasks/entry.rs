//! Queue messages: a task as it waits, also when it was put there by hand.

use serde::Deserialize;
use serde_json::Value;

use crate::budget::Budget;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::task::{DEFAULT_DEADLINE_MS, Priority, Retry, Task};
use crate::trace::TraceContext;

/// A task in the queue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) task: Task,
    /// The mark of whoever put it there; empty when that was done by hand.
    pub(super) writer: String,
}

/// The body of a queue message.
pub(super) fn write(task: &Task, mark: &str) -> Result<String> {
    let unwritable = |e: serde_json::Error| Error::decode(format!("the task cannot be written: {e}"));
    let task = serde_json::to_string(task).map_err(unwritable)?;
    let mark = serde_json::to_string(mark).map_err(unwritable)?;
    // In front, so that all that follows is as in the record of the submission, and stands once where it stands in pieces.
    Ok(format!("{{\"writer\":{mark},{}", &task[1..]))
}

/// What a subject of the queue names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) capability: CapabilityName,
    pub(super) priority: Priority,
    pub(super) task: TaskId,
}

/// Reads `cb.v1.task.<capability>.<priority>.<task>`.
pub(super) fn address(subject: &str) -> Result<Address> {
    let mut tokens = subject.split('.').skip(3);
    let mut next = || tokens.next().unwrap_or_default();
    let capability = CapabilityName::from_token(next())?;
    let priority = match next() {
        "high" => Priority::High,
        "normal" => Priority::Normal,
        "bulk" => Priority::Bulk,
        other => return Err(Error::decode(format!("\"{other}\" is not a priority: high, normal or bulk"))),
    };
    Ok(Address { capability, priority, task: TaskId::parse(next())? })
}

/// A task put in by hand needs its input and nothing else.
#[derive(Deserialize)]
struct ByHand {
    input: Payload,
    description: Option<String>,
    deadline: Option<Millis>,
    timeout_ms: Option<Millis>,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    budget: Budget,
    #[serde(default, deserialize_with = "TraceContext::read")]
    traceparent: Option<TraceContext>,
    from: Option<String>,
}

/// Reads a queue message that arrived at `at`.
///
/// # Errors
/// `Decode`, with what is wrong.
pub(super) fn read(subject: &str, body: &[u8], at: Millis) -> Result<Entry> {
    let address = address(subject)?;
    let marked: Value = serde_json::from_slice(body).map_err(|e| Error::decode(format!("not a task: {e}")))?;
    let writer = marked["writer"].as_str().unwrap_or_default().to_owned();
    if marked.get("id").is_some() {
        let task: Task = serde_json::from_slice(body).map_err(|e| Error::decode(format!("not a task: {e}")))?;
        if task.id != address.task || task.capability != address.capability {
            let what = format!("task {} for {} stands on {subject}", task.id, task.capability);
            return Err(Error::decode(what));
        }
        crate::facts::admit(&task)?;
        return Ok(Entry { task, writer });
    }
    let given: ByHand = serde_json::from_slice(body)
        .map_err(|e| Error::decode(format!("not a task: {e}; at least {{\"input\": ...}} is needed")))?;
    let root = Task::root(address.task.run(), address.capability, given.input, at);
    if root.id != address.task {
        return Err(Error::decode(format!("{} names a child of a run: it needs its whole document", address.task)));
    }
    let task = Task {
        priority: address.priority,
        description: given.description,
        deadline: given.deadline.unwrap_or(at + DEFAULT_DEADLINE_MS),
        timeout_ms: given.timeout_ms,
        retry: given.retry,
        traceparent: given.traceparent,
        from: given.from,
        ..root
    };
    let task = task.budgeted(given.budget);
    crate::facts::admit(&task)?;
    Ok(Entry { task, writer })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "cb.v1.task.diag-echo.high.t1";

    #[test]
    fn by_hand_only_the_input_is_needed() {
        let entry = read(SUBJECT, br#"{"input":{"text":"x"}}"#, 1_000).unwrap();
        let task = entry.task;
        assert_eq!((task.id.as_str(), task.run.as_str(), task.capability.as_str()), ("t1", "t1", "diag.echo"));
        assert_eq!(
            (task.priority, task.created_at, task.deadline),
            (Priority::High, 1_000, 1_000 + DEFAULT_DEADLINE_MS)
        );
        assert_eq!(entry.writer, "");
        let budgeted = read(SUBJECT, br#"{"input":1,"budget":{"tasks":3,"wall_ms":500}}"#, 1_000).unwrap().task;
        assert_eq!((budgeted.budget.tasks, budgeted.deadline), (Some(3), 1_500));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let capability = CapabilityName::parse("diag.echo").unwrap();
        let run = crate::id::RunId::parse("t1").unwrap();
        let task = Task { priority: Priority::High, ..Task::root(run, capability, Payload::null(), 5) };
        let entry = read(SUBJECT, write(&task, "00000001.7").unwrap().as_bytes(), 9).unwrap();
        assert_eq!((entry.task, entry.writer.as_str()), (task, "00000001.7"));
    }

    #[test]
    fn what_cannot_be_a_task_says_why() {
        for (subject, body, why) in [
            (SUBJECT, "{", "not a task"),
            (SUBJECT, "{}", "input"),
            ("cb.v1.task.diag-echo.soon.t1", r#"{"input":1}"#, "priority"),
            ("cb.v1.task.diag-echo.high.t_1", r#"{"input":1}"#, "task id"),
            ("cb.v1.task.diag-echo.high.t_0123456789abcdef0123456789abcdef", r#"{"input":1}"#, "whole document"),
        ] {
            let refusal = read(subject, body.as_bytes(), 0).unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
