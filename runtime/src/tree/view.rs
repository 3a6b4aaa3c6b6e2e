//! A tree as it stands, readable at any moment without asking any of its actors.
//!
//! Supervisors write what they know into shared nodes (see `node`); a snapshot reads those. So a stuck child, a busy
//! supervisor and a tree that has given up are all shown just the same.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::ExitReason;
use super::spec::{Kind, Restart, Strategy};

/// A whole tree at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TreeInfo {
    /// The root supervisor with everything below it.
    pub root: ChildInfo,
    /// Killed children of this tree that are not gone yet. More than zero means that threads are stuck.
    pub zombies: u32,
}

/// One child at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChildInfo {
    /// Ids joined by `/` from the root.
    pub path: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// When it is restarted.
    pub restart: Restart,
    /// What it is doing.
    #[serde(flatten)]
    pub state: ChildState,
    /// For how long it has been in that state.
    #[serde(rename = "for_ms", with = "millis")]
    pub since: Duration,
    /// Its starts so far, failed ones included.
    pub starts: u64,
    /// How it ended the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitReason>,
    /// What the child itself publishes; `null` when it publishes nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stats: Value,
    /// For a supervisor.
    #[serde(flatten)]
    pub supervisor: Option<SupervisorInfo>,
}

/// What only supervisors have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SupervisorInfo {
    /// Which children it restarts together.
    pub strategy: Strategy,
    /// Restarts done within the last `period`.
    pub restarts: u32,
    /// One more than this, and it gives up.
    pub max_restarts: u32,
    /// The length of the sliding window.
    #[serde(rename = "period_ms", with = "millis")]
    pub period: Duration,
    /// In start order.
    pub children: Vec<ChildInfo>,
}

impl ChildInfo {
    /// Its id: the last part of its path.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The children of a supervisor; none for a worker.
    pub fn children(&self) -> &[ChildInfo] {
        self.supervisor.as_ref().map_or(&[], |supervisor| &supervisor.children)
    }

    /// The child with this path, this one included.
    pub fn find(&self, path: &str) -> Option<&ChildInfo> {
        if *self.path == *path {
            return Some(self);
        }
        self.children().iter().find_map(|child| child.find(path))
    }
}

/// What a child is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChildState {
    /// Its start is running, or its turn has not come.
    Starting,
    /// It runs.
    Running,
    /// It runs, finishes what it has and takes nothing new.
    Draining,
    /// It failed and waits for its next start.
    Backoff {
        /// How long still.
        #[serde(rename = "retry_in_ms", with = "millis")]
        retry_in: Duration,
    },
    /// It was asked to stop and has not ended.
    Stopping,
    /// It ended or was stopped and is not started again by itself.
    Stopped,
    /// It failed and is not started again: its supervisor gave up.
    Failed,
    /// It was killed and is not gone.
    Zombie,
}

/// What a child wants shown beside its state, for instance its queue and its latencies. Read from other threads at any
/// time, so it must be quick and must not wait for the child.
pub trait ChildStats: Send + Sync + 'static {
    /// A JSON object of the child's own figures.
    fn stats(&self) -> Value;

    /// It finishes what it has and takes nothing new; shown as [`ChildState::Draining`].
    fn draining(&self) -> bool {
        false
    }
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
