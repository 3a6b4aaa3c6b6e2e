//! The log of a task, record by record.

use callboard::broker::task::{Entry, Record, Release};
use serde::Serialize;
use serde_json::Value;

use crate::ids::short;
use crate::output::{Page, time};

/// One record.
#[derive(Serialize)]
pub(super) struct Line {
    sequence: u64,
    at: String,
    kind: &'static str,
    /// The name of a step or an effect, the key of a child.
    key: Option<String>,
    /// All of it, as it is stored.
    record: Value,
    #[serde(skip)]
    said: String,
}

impl Line {
    pub(super) fn of(record: &Record) -> Line {
        let (key, said) = told(&record.entry);
        Line {
            sequence: record.n,
            at: time::date(record.at),
            kind: record.entry.kind(),
            key,
            record: serde_json::to_value(&record.entry).unwrap_or(Value::Null),
            said,
        }
    }

    pub(super) fn text(&self, page: Page) -> String {
        let (at, key) = (time::clock(&self.at), self.key.as_deref().unwrap_or_default());
        let line = format!("{:>5}  {at}  {:9}  {key}  {}", self.sequence, self.kind, self.said);
        page.fit(line.trim_end(), page.columns)
    }
}

/// The key of a record and the rest of it in words.
fn told(entry: &Entry) -> (Option<String>, String) {
    let json = |value: &callboard::broker::payload::Payload| value.json().unwrap_or("?").to_owned();
    match entry {
        Entry::Claimed { attempt, node, version } => {
            let version = version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
            (None, format!("attempt {attempt} on {node}{version}"))
        }
        Entry::Released { reason, error, .. } => {
            let why = match reason {
                Release::Retry => "to be tried again",
                Release::Declined => "declined",
                Release::Drained => "handed back",
            };
            let error = error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            (None, format!("{why}{error}"))
        }
        Entry::Step { name, value, .. } | Entry::Effect { name, value } => (Some(name.clone()), json(value)),
        Entry::Delegated { key, child, capability, .. } => {
            (Some(key.clone()), format!("{capability}, task {}", short(child.as_str())))
        }
        Entry::Parked { on } => {
            let on: Vec<&str> = on.iter().map(|task| short(task.as_str())).collect();
            (None, format!("until one has ended of {}", on.join(", ")))
        }
        Entry::Intent { name, key, .. } => (Some(name.clone()), format!("begins, with key {key}")),
        Entry::Undone { name } => (Some(name.clone()), "was certainly not done".into()),
        Entry::Died { node, beside: 0, .. } => (None, format!("the process of {node}, which ran nothing else")),
        Entry::Died { node, beside, .. } => (None, format!("the process of {node}, with {beside} other tasks")),
    }
}
