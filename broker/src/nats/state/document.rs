//! What a message of the bucket says.
//!
//! The value stands beside who wrote it and when. What a person puts there with the server's own tools is a value too:
//! any JSON that is not such a document, and any text that is not JSON.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::Millis;
use crate::nats::js::Raw;
use crate::nats::names;
use crate::payload::Payload;
use crate::state::{Author, Change, Key, StateEntry};

/// Who has written what somebody put there by hand.
const EXTERNAL: &str = "external";

/// The body of a change.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    /// None in a delete, whose header says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'a Payload>,
    pub(super) updated_by: &'a str,
    pub(super) updated_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<&'a Author>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<u64>,
    /// A mark of this one write, by which a writer without an answer finds out.
    pub(super) writer: &'a str,
}

/// A change as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) value: Option<Payload>,
    pub(crate) by: String,
    pub(crate) at: Millis,
    pub(crate) task: Option<Author>,
    pub(crate) writer: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mark {
    updated_by: Option<String>,
    updated_at: Option<Millis>,
    task: Option<Author>,
    record: u64,
    writer: String,
}

impl Mark {
    fn author(&mut self) -> Option<Author> {
        self.task.take().map(|task| Author { record: self.record, ..task })
    }
}

#[derive(Deserialize)]
struct Valued {
    value: Payload,
    updated_by: String,
    updated_at: Millis,
}

/// Reads a stored change.
pub(crate) fn read(raw: &Raw) -> Content {
    let mark = || serde_json::from_slice::<Mark>(&raw.body).unwrap_or_default();
    if is_delete(raw) {
        let mut mark = mark();
        let task = mark.author();
        let Mark { updated_by, updated_at, writer, .. } = mark;
        let by = updated_by.unwrap_or_else(|| EXTERNAL.into());
        return Content { value: None, by, at: updated_at.unwrap_or(raw.at), task, writer };
    }
    if let Ok(Valued { value, updated_by: by, updated_at: at }) = serde_json::from_slice(&raw.body) {
        let mut mark = mark();
        return Content { value: Some(value), by, at, task: mark.author(), writer: mark.writer };
    }
    let text = String::from_utf8_lossy(&raw.body);
    let value = Payload::from_json(text.clone()).unwrap_or_else(|_| json!(text).into());
    Content { value: Some(value), by: EXTERNAL.into(), at: raw.at, task: None, writer: String::new() }
}

fn is_delete(raw: &Raw) -> bool {
    let operation = raw.headers.get("KV-Operation").map(ToString::to_string);
    matches!(operation.as_deref(), Some("DEL" | "PURGE")) || raw.headers.get("Nats-Marker-Reason").is_some()
}

/// The key of a subject; none when somebody chose a key that is none of ours.
pub(crate) fn key(subject: &str) -> Option<Key> {
    let key = subject.strip_prefix("$KV.")?.strip_prefix(names::STATE_BUCKET)?.strip_prefix('.')?;
    Key::parse(key).ok()
}

/// The entry that a change made; none when it deleted one.
pub(super) fn entry(raw: &Raw) -> Option<StateEntry> {
    let Content { value, by, at, .. } = read(raw);
    Some(StateEntry { key: key(&raw.subject)?, value: value?, version: raw.seq, updated_by: by, updated_at: at })
}

/// A change, with the value before it.
pub(crate) fn change(raw: &Raw, previous: Option<Payload>) -> Option<Change> {
    let Content { value, by, at, task, .. } = read(raw);
    let key = key(&raw.subject)?;
    Some(Change { sequence: raw.seq, key, value, previous, version: raw.seq, by, at, task })
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;
    use crate::id::TaskId;

    fn raw(body: &str) -> Raw {
        let (subject, body) = ("$KV.cb_state.global.a".into(), body.to_owned().into());
        Raw { subject, seq: 7, at: 5, headers: HeaderMap::new(), body, pending: 0 }
    }

    #[test]
    fn a_document_reads_as_it_was_written() {
        let task = Author { task: TaskId::parse("run").unwrap(), attempt: 2, record: 7 };
        let value = Payload::from_json("null").unwrap();
        let document = Document {
            value: Some(&value),
            updated_by: "lead",
            updated_at: 9,
            task: Some(&task),
            record: Some(7),
            writer: "w",
        };
        let read = read(&raw(&serde_json::to_string(&document).unwrap()));
        assert_eq!((read.value, read.by.as_str(), read.at, read.task), (Some(value), "lead", 9, Some(task)));
        assert_eq!(read.writer, "w");
    }

    #[test]
    fn a_task_is_known_with_and_without_its_record() {
        for (more, record) in [(r#","record":7"#, 7), ("", 0)] {
            let body =
                format!(r#"{{"value":1,"updated_by":"lead","updated_at":9,"task":["run",2]{more},"writer":"w"}}"#);
            let task = read(&raw(&body)).task.unwrap();
            assert_eq!((task.task.as_str(), task.attempt, task.record), ("run", 2, record));
            assert_eq!(serde_json::to_string(&task).unwrap(), r#"["run",2]"#, "what older versions read");
        }
    }

    #[test]
    fn what_is_put_by_hand_is_a_value() {
        for (body, value) in
            [("{\"value\":1}", json!({ "value": 1 })), ("3", json!(3)), ("not JSON", json!("not JSON"))]
        {
            let read = read(&raw(body));
            assert_eq!((read.value, read.by.as_str(), read.at), (Some(value.into()), EXTERNAL, 5));
        }
    }

    #[test]
    fn a_delete_has_no_value_whatever_its_body() {
        for operation in ["DEL", "PURGE"] {
            let mut deleted = raw("{\"value\":1}");
            deleted.headers.insert("KV-Operation", operation);
            assert!(read(&deleted).value.is_none() && entry(&deleted).is_none());
        }
    }
}
