//! What may be set when a store is opened, with its defaults.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::probe::Probe;
use crate::BoxFuture;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::{queue, state};

/// Which commits are forced to the disk before they are acknowledged.
///
/// All levels survive a process that is killed. The log of commits is an ordered prefix: what survives a power failure
/// is always everything up to some commit, never a later one without an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Those that a caller outside of a run is told of, and with each of them all that came before: nothing that the
    /// outside world has seen can be lost. The module `writer` has the rule.
    #[default]
    Edges,
    /// All.
    Always,
    /// None: the newest commits may be lost in a power failure.
    Never,
}

impl Sync {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Edges => "durable",
            Self::Always => "durable, every commit",
            Self::Never => "crash-safe",
        }
    }
}

/// How a store is opened. Every limit refuses the excess with an error that says so.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which commits are forced to the disk. Default [`Sync::Edges`].
    pub sync: Sync,
    /// The wing's clock. Default the system's.
    pub clock: Clock,
    /// Unfinished tasks, and bytes of their inputs, before `submit` answers `Busy`. Default 1,000,000 and 1 GiB.
    pub tasks: queue::Limits,
    /// Commands that may wait for the writer before callers get `Busy`. Default 4,096.
    pub commands: usize,
    /// Bytes of these commands. Default 16 MiB.
    pub command_bytes: usize,
    /// Commands that share one transaction. Default 256.
    pub group: usize,
    /// Bytes of commands that share one transaction. Default 4 MiB.
    pub group_bytes: usize,
    /// The largest the file may become, in bytes; beyond it, writes are refused as if the disk were full. Default none.
    pub max_bytes: Option<u64>,
    /// Size of the write-ahead log at which the writer empties it, in bytes. Default 64 MiB.
    pub log_bytes: u64,
    /// Changes of state between two snapshots, or as many as there are entries if those are more, so that snapshots
    /// never cost more than the writes themselves. Default 100.
    pub snapshot_every: u64,
    /// Entries of shared state. For one more the state of runs that are over makes room, and stays in the history; when
    /// there is none, it is refused with `Busy`. Default 100,000.
    pub keys: u64,
    /// Connections that read beside the writer. Default 4.
    pub readers: usize,
    /// Other processes that may be connected at a time; more wait for their turn. Default 64.
    pub peers: usize,
    /// What the process that owns the store answers to others beyond the verbs of the store.
    pub verbs: Verbs,
    /// Writes and reads are done where they are called, on no thread of their own, and other processes are not let in: so
    /// that a simulation on one thread comes again as it was. Default off.
    pub inline: bool,
    /// What a test may do to the writer. Default nothing.
    pub probe: Probe,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::default(),
            clock: Clock::system(),
            tasks: queue::Limits::default(),
            commands: 4_096,
            command_bytes: 16 << 20,
            group: 256,
            group_bytes: 4 << 20,
            max_bytes: None,
            log_bytes: 64 << 20,
            snapshot_every: state::SNAPSHOT_EVERY,
            keys: 100_000,
            readers: 4,
            peers: 64,
            verbs: Verbs::default(),
            inline: false,
            probe: Probe::default(),
        }
    }
}

/// Answers one verb of the runtime: its name and the request's body in, the response's body out.
pub type Answer = dyn Fn(String, Value) -> BoxFuture<'static, Result<Value>> + Send + std::marker::Sync;

/// The verbs that a node answers to other processes on the store's socket (`tree`, `agents`, ...). A handle: the node
/// keeps a clone and sets the answers once it is up. Cheap to clone.
#[derive(Clone, Default)]
pub struct Verbs(Arc<Mutex<Option<Arc<Answer>>>>);

impl Verbs {
    /// Sets who answers, in the place of whoever answered before.
    pub fn set(&self, answer: Arc<Answer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// Nobody answers any more.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn call(&self, verb: String, body: Value) -> Result<Value> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Some(answer) => answer(verb, body).await,
            None => Err(Error::not_found(format!("verb \"{verb}\" at the owner of this store"))),
        }
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        write!(f, "Verbs({})", if set { "set" } else { "none" })
    }
}
