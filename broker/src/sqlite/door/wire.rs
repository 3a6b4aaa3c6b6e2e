//! What is said through the door: one line of JSON each way.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::id::TaskId;
use crate::payload::Payload;
use crate::state::{Author, Expect, Key, Put, StateEntry, Write};
use crate::task::{Outcome, Task};
use crate::tasks::{Recorded, Submitted};
use crate::told::Told;

/// The longest line in either direction.
pub(super) const MAX_LINE: usize = 16 << 20;

/// What any process may ask of the owner: `{"cancel": {"task": "...", "by": "..."}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Ask {
    Submit(Vec<Task>),
    Cancel {
        task: TaskId,
        by: String,
    },
    Retry(TaskId),
    Conclude(Box<Outcome>),
    Put(Vec<Writing>),
    Publish(Vec<NewEvent>),
    RetryDead(u64),
    PurgeDead(Option<u64>),
    /// A verb of the node that owns the store.
    Call {
        verb: String,
        body: Value,
    },
}

impl Ask {
    /// Whether asking twice does no more than asking once.
    pub(super) fn may_be_repeated(&self) -> bool {
        match self {
            Self::Submit(_)
            | Self::Cancel { .. }
            | Self::Retry(_)
            | Self::Conclude(_)
            | Self::RetryDead(_)
            | Self::PurgeDead(_) => true,
            Self::Put(_) | Self::Publish(_) | Self::Call { .. } => false,
        }
    }
}

/// A write of state, in which deleting and writing `null` are told apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Writing {
    key: Key,
    expect: Expect,
    to: To,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<Author>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum To {
    Set(Payload),
    Delete,
}

impl From<Write> for Writing {
    fn from(write: Write) -> Self {
        let Write { key, expect, value, by, task } = write;
        Self { key, expect, to: value.map_or(To::Delete, To::Set), by, task }
    }
}

impl From<Writing> for Write {
    fn from(writing: Writing) -> Self {
        let Writing { key, expect, to, by, task } = writing;
        let value = match to {
            To::Set(value) => Some(value),
            To::Delete => None,
        };
        Self { key, expect, value, by, task }
    }
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Reply {
    Submitted(Vec<Answer<Stored>>),
    Tasks(Vec<TaskId>),
    Task(TaskId),
    Concluded(Ended),
    Put(Vec<Answer<Written>>),
    Published(Vec<Answer<u64>>),
    Count(u64),
    Value(Value),
}

/// A result as a document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Answer<T> {
    Ok(T),
    Error(Told),
}

impl<T> Answer<T> {
    /// Documents of results.
    pub(in super::super) fn of<V: Into<T>>(results: Vec<Result<V>>) -> Vec<Self> {
        results.into_iter().map(|result| Self::one(result.map(Into::into))).collect()
    }

    pub(super) fn one(result: Result<T>) -> Self {
        result.map_or_else(|error| Self::Error(error.into()), Self::Ok)
    }

    pub(in super::super) fn into_result<V: From<T>>(self) -> Result<V> {
        match self {
            Self::Ok(value) => Ok(value.into()),
            Self::Error(told) => Err(told.into()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Stored {
    New,
    Known,
}

impl From<Submitted> for Stored {
    fn from(submitted: Submitted) -> Self {
        match submitted {
            Submitted::New => Self::New,
            Submitted::Known => Self::Known,
        }
    }
}

impl From<Stored> for Submitted {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::New => Self::New,
            Stored::Known => Self::Known,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Ended {
    Now,
    Before,
}

impl From<Recorded> for Ended {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::New => Self::Now,
            Recorded::Already => Self::Before,
        }
    }
}

impl From<Ended> for Recorded {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Now => Self::New,
            Ended::Before => Self::Already,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Written {
    Applied(u64),
    Conflict(Option<StateEntry>),
    Unknown,
}

impl From<Put> for Written {
    fn from(put: Put) -> Self {
        match put {
            Put::Applied(version) => Self::Applied(version),
            Put::Conflict(current) => Self::Conflict(current),
            Put::Unknown => Self::Unknown,
        }
    }
}

impl From<Written> for Put {
    fn from(written: Written) -> Self {
        match written {
            Written::Applied(version) => Self::Applied(version),
            Written::Conflict(current) => Self::Conflict(current),
            Written::Unknown => Self::Unknown,
        }
    }
}

/// A document as a line.
///
/// # Errors
/// `TooLarge`, `Decode`.
pub(super) fn line(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut line =
        serde_json::to_vec(document).map_err(|e| Error::decode(format!("cannot be written as JSON: {e}")))?;
    line.push(b'\n');
    match line.len() {
        size if size > MAX_LINE => Err(Error::TooLarge { what: "request".into(), size, limit: MAX_LINE }),
        _ => Ok(line),
    }
}

/// Writes a line.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> std::io::Result<()> {
    to.write_all(line).await?;
    to.flush().await
}

/// Reads a line; none at the end.
///
/// # Errors
/// `Decode` for what is no such document or too long; `Unavailable` when the other side is gone.
pub(super) async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<T>> {
    let mut line = Vec::new();
    let limit = MAX_LINE as u64 + 1;
    let read = from.take(limit).read_until(b'\n', &mut line).await;
    match read.map_err(|e| Error::unavailable(format!("the other process: {e}")))? {
        0 => Ok(None),
        _ if line.len() > MAX_LINE => Err(Error::decode(format!("a line of more than {MAX_LINE} bytes"))),
        // A process that is killed while it writes leaves half a line, and nothing is made of that.
        _ if !line.ends_with(b"\n") => Ok(None),
        _ => serde_json::from_slice(&line).map(Some).map_err(|e| Error::decode(format!("not understood: {e}"))),
    }
}
