//! The contract for shared state: versioned entries, compare-and-set, watch, full history.
//!
//! A key is `run.<run>.name`, `team.<team>.name` or `global.name`. A write that expects a version is applied, or meets
//! a conflict, or its acknowledgement is lost: three different answers, because only the first two are known.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::BoxFuture;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId};
use crate::payload::Payload;
use crate::subject::{self, BadName};

pub(crate) mod spare;

/// Changes between two snapshots of all state, unless configured.
pub const SNAPSHOT_EVERY: u64 = 100;
/// How many changes a watcher may fall behind at least before it is told `Lagged`.
pub const WATCH_BACKLOG: usize = 4_096;
/// The longest key.
pub const MAX_KEY: usize = 400;

/// Who shares a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The agents of one run.
    Run(RunId),
    /// The agents of one team.
    Team(Arc<str>),
    /// Everybody.
    Global,
}

/// A place in shared state.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// What the names begin with under which the runtime keeps state of its own, in any scope.
pub const RESERVED: &str = "callboard-";

impl Key {
    /// Reads a key. After the scope come one or more tokens of `[A-Za-z0-9_-]`, joined by dots.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("state key", text, "`run.<run>.name`, `team.<team>.name` or `global.name`");
        let names = match text.split_once('.') {
            Some(("global", names)) => names,
            Some(("run" | "team", rest)) => {
                let (owner, names) = rest.split_once('.').ok_or_else(bad)?;
                subject::token("state key", owner).map_err(|_| bad())?;
                names
            }
            _ => return Err(bad()),
        };
        if text.len() > MAX_KEY || names.split('.').any(|t| subject::token("state key", t).is_err()) {
            return Err(bad());
        }
        Ok(Self(text.into()))
    }

    /// The key `name` in `scope`.
    pub fn new(scope: &Scope, name: &str) -> Result<Self, BadName> {
        Self::parse(&match scope {
            Scope::Run(run) => format!("run.{run}.{name}"),
            Scope::Team(team) => format!("team.{team}.{name}"),
            Scope::Global => format!("global.{name}"),
        })
    }

    /// Who shares it.
    pub fn scope(&self) -> Scope {
        let mut parts = self.0.splitn(3, '.');
        match (parts.next(), parts.next()) {
            (Some("run"), Some(run)) => RunId::parse(run).map_or(Scope::Global, Scope::Run),
            (Some("team"), Some(team)) => Scope::Team(team.into()),
            _ => Scope::Global,
        }
    }

    /// Whether the runtime keeps it for itself: its name begins with [`RESERVED`]. Agents may read it and not write it.
    pub fn is_reserved(&self) -> bool {
        let scope = if self.0.starts_with("global.") { 1 } else { 2 };
        self.0.split('.').nth(scope).is_some_and(|name| name.starts_with(RESERVED))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key is `prefix` or lies below it (`prefix.…`); every key lies below the empty prefix.
    pub fn is_below(&self, prefix: &str) -> bool {
        let rest = self.0.strip_prefix(prefix);
        prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// What stands at a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Payload,
    /// Increases with every change of the key; never reused, also not after a delete.
    pub version: u64,
    /// Who wrote it.
    pub updated_by: String,
    /// When.
    pub updated_at: Millis,
}

/// What a writer expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Anything.
    Any,
    /// This version; 0: nothing.
    Version(u64),
}

/// In which task something was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(TaskId, u32)", into = "(TaskId, u32)")]
pub struct Author {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: u32,
    /// The number of the last record of the task's log that this attempt had seen; 0: none, or not known. Stores keep it
    /// beside the pair of the others, which is all that older versions read.
    pub record: u64,
}

impl From<(TaskId, u32)> for Author {
    fn from((task, attempt): (TaskId, u32)) -> Self {
        Self { task, attempt, record: 0 }
    }
}

impl From<Author> for (TaskId, u32) {
    fn from(author: Author) -> Self {
        (author.task, author.attempt)
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// What the writer expects to find there.
    pub expect: Expect,
    /// The new value; none deletes.
    pub value: Option<Payload>,
    /// Who writes.
    pub by: String,
    /// The task on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Author>,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// Applied; the key is at this version now.
    Applied(u64),
    /// Not applied: the key is at another version. The current entry, if there is one.
    Conflict(Option<StateEntry>),
    /// The acknowledgement was lost: it may or may not have been applied.
    Unknown,
}

impl Put {
    /// The version, or the error that a caller matches on.
    pub fn into_version(self, key: &Key, expect: Expect) -> Result<u64> {
        match self {
            Self::Applied(version) => Ok(version),
            Self::Conflict(current) => Err(Error::Conflict {
                key: key.as_str().into(),
                expected: match expect {
                    Expect::Any => 0,
                    Expect::Version(v) => v,
                },
                actual: current.map_or(0, |e| e.version),
            }),
            Self::Unknown => Err(Error::Unknown { what: format!("a write to {key}").into() }),
        }
    }
}

/// One change of a key, as history keeps it and a watcher sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its place among all changes of all keys, from 1, without gaps.
    pub sequence: u64,
    /// The key.
    pub key: Key,
    /// The new value; none: deleted.
    pub value: Option<Payload>,
    /// The value before; none: there was none.
    pub previous: Option<Payload>,
    /// The version that this change made.
    pub version: u64,
    /// Who.
    pub by: String,
    /// When.
    pub at: Millis,
    /// The task on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Author>,
}

/// A point in the history of all state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the first so many changes.
    Sequence(u64),
    /// After all changes up to and including this time.
    Time(Millis),
}

/// What a watcher reads: the current entries first (as changes with no previous value), then every change in order.
pub trait Watch: Send {
    /// The next change; `Lagged` when the watcher fell too far behind, after which it has ended (only where changes are
    /// not read from where they are stored).
    fn next(&mut self) -> BoxFuture<'_, Result<Change>>;
}

/// Shared state. Linearizable per key.
///
/// # Cancellation
/// Dropping the future of a write leaves it unknown whether it was applied.
pub trait States: Send + Sync {
    /// Entries by key, in the order asked.
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>>;

    /// All entries whose key is `prefix` or lies below it (`prefix.…`); an empty prefix means all.
    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>>;

    /// Writes, one answer each, in order. Deleting what is not there is applied when `Expect` allows it.
    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>>;

    /// Watches a key and all keys below it.
    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>>;

    /// The changes of one key, oldest first.
    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>>;

    /// All entries as they were at a moment: the nearest snapshot before it, and the changes since.
    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_who_shares_it() {
        assert_eq!(Key::parse("run.r-1.plan").unwrap().scope(), Scope::Run(RunId::parse("r-1").unwrap()));
        assert_eq!(Key::parse("team.qa.rules.style").unwrap().scope(), Scope::Team("qa".into()));
        assert_eq!(Key::parse("global.prices").unwrap().scope(), Scope::Global);
        for bad in ["", "plan", "run.r-1", "global.", "global.a..b", "team.a b.c", "local.x", "global.a*"] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
    }
}
