//! What a node is given to run: capabilities with the code that serves them, and how that code is to be run.
//!
//! The typed world ends here. [`Service`] is data and one erased handler per capability; the runtime reads it and
//! nothing in the runtime is generic over a user's types.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::messages::QUEUE;
use callboard_broker::payload::Payload;
use callboard_broker::subject::{BadName, CapabilityName};
use callboard_broker::task::{Serving, Task, VERSION_WAIT, Version};
use serde_json::Value;

use crate::{Context, Failure};

/// A task as [`can_handle`](Handler::can_handle) sees it.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    /// The capability it is for.
    pub capability: CapabilityName,
    /// What it is for, in words.
    pub description: Option<String>,
    /// Its input.
    pub input: Payload,
    /// The attempt that would begin, from 1.
    pub attempt: u32,
}

impl TaskInfo {
    /// The view of a stored task.
    pub fn of(task: &Task, attempt: u32) -> Self {
        Self {
            capability: task.capability.clone(),
            description: task.description.clone(),
            input: task.input.clone(),
            attempt,
        }
    }
}

/// Erased code behind one capability.
pub trait Handler: Send + Sync + 'static {
    /// Works on one request. May panic; may be dropped at any await.
    fn handle(&self, ctx: Context, request: Payload) -> BoxFuture<'_, Result<Payload, Failure>>;

    /// Whether it would take this task.
    fn can_handle(&self, task: &TaskInfo) -> bool;

    /// Whether a request can be read as what the handler takes; what cannot becomes a dead letter. Costs nothing for a
    /// value of the very type, a decoding otherwise.
    fn fits(&self, request: &Payload) -> Result<(), Error>;
}

/// Makes the handlers of a service, at each start and restart of a cell, one per [`Door`] and in their order.
pub type Start = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<Arc<dyn Handler>>, Failure>> + Send + Sync>;

/// One capability of a service: what a caller may know of it.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its name.
    pub capability: CapabilityName,
    /// Version of the contract.
    pub version: u32,
    /// What it is for.
    pub about: Cow<'static, str>,
    /// JSON Schema of the request.
    pub request: Arc<Value>,
    /// JSON Schema of the response.
    pub response: Arc<Value>,
}

/// Erased code that takes one broadcast.
pub type Hear = dyn Fn(Context, Payload) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// What a service does with the broadcasts of one topic.
#[derive(Clone)]
pub struct Hearing {
    /// The topic.
    pub topic: Arc<str>,
    /// Called for each broadcast, one after the other.
    pub hear: Arc<Hear>,
}

/// When a cell that ended is started again. OTP's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always. The default.
    #[default]
    Permanent,
    /// Only after an abnormal end: error, panic, kill, a failed start.
    Transient,
    /// Never; it leaves the tree when it ends.
    Temporary,
}

/// How long a child may take to stop before it is killed. OTP's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Killed at once.
    BrutalKill,
    /// Asked to stop, killed after this time. The default for workers is 5 s.
    Timeout(Duration),
    /// Waited for without end; only for supervisors, whose children have limits of their own. Their default.
    Infinity,
}

/// A permission, beyond which the runtime refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// Ask, tell and delegate to this capability, or to all below a prefix that ends in `.*`.
    Capability(String),
    /// Ask, tell and delegate to any capability.
    AnyCapability,
    /// Read and write the state of its own run.
    OwnRun,
    /// Read and write the state of this team.
    Team(String),
    /// Read and write this key of the global scope and all keys below it; empty: all of them.
    Global(String),
    /// Read, not write, the keys that start so (`global.prices`).
    Read(String),
    /// Call this [tool](crate::tool), or all below a prefix that ends in `.*`; `*` is all of them.
    Tool(String),
}

/// One agent, or a pool of them, and how it is to be run. A value, so that a node and a supervisor take the same thing.
#[derive(Clone)]
pub struct Service {
    /// The agent's name: the first capability's, unless named.
    pub(crate) name: Arc<str>,
    pub(crate) doors: Vec<Door>,
    pub(crate) start: Start,
    pub(crate) options: ServiceOptions,
    /// What the agent cannot do without, whatever else it is granted.
    needs: Vec<Grant>,
    /// A version that is none.
    wrong: Option<BadName>,
}

/// How a service is run.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Cells of the pool on this node. Default 1.
    pub workers: usize,
    /// Requests at a time per cell. Default 1.
    pub concurrency: usize,
    /// How many of the slots of all cells of this node [bulk](callboard_broker::task::Priority::Bulk) tasks leave free, so
    /// that what is more urgent finds one at once; one is always left to bulk. None, the default: an eighth of the slots and
    /// at least one, but none of fewer than four.
    pub reserve: Option<usize>,
    /// Bound on what waits and runs together. Default 1,024.
    pub queue: usize,
    /// The most one request may take; none: what its caller allows.
    pub deadline: Option<Duration>,
    /// When a cell that ended is started again. Default permanent.
    pub restart: Restart,
    /// How long a cell may take to stop. Default 5 s.
    pub shutdown: Duration,
    /// What the agent may reach. Default: the state of its own run, any capability.
    pub grants: Vec<Grant>,
    /// The team whose state `StateKey::team` means. Default: the name of the supervisor above it.
    pub team: Option<Arc<str>>,
    /// Broadcasts it listens to.
    pub hears: Vec<Hearing>,
    /// The agent's version. Default: none.
    pub version: Option<Version>,
    /// Whether it goes on with tasks that older versions began. Default: not.
    pub migrates: bool,
    /// How long a task waits that it may not take, before it is given up. Default 1 h.
    pub version_wait: Duration,
}

impl ServiceOptions {
    /// How many of `slots` are kept free of bulk.
    pub fn reserve(&self, slots: usize) -> usize {
        self.reserve.unwrap_or(if slots < 4 { 0 } else { (slots / 8).max(1) })
    }

    /// The version in terms of the store.
    pub fn serving(&self) -> Option<Serving> {
        let (migrates, wait) = (self.migrates, self.version_wait);
        self.version.clone().map(|version| Serving { version, migrates, wait })
    }
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            workers: 1,
            concurrency: 1,
            reserve: None,
            queue: QUEUE,
            deadline: None,
            restart: Restart::default(),
            shutdown: Duration::from_secs(5),
            grants: vec![Grant::OwnRun, Grant::AnyCapability],
            team: None,
            hears: Vec::new(),
            version: None,
            migrates: false,
            version_wait: VERSION_WAIT,
        }
    }
}

impl Service {
    /// Erased code behind `doors`; `start` makes one handler per door.
    pub fn new(doors: Vec<Door>, start: Start) -> Self {
        let name = doors.first().map_or_else(|| "agent".into(), |door| door.capability.as_str().into());
        Self { name, doors, start, options: ServiceOptions::default(), needs: Vec::new(), wrong: None }
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The capabilities it serves.
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Makes its handlers.
    pub fn starter(&self) -> Start {
        self.start.clone()
    }

    /// How it is to be run.
    pub fn options(&self) -> &ServiceOptions {
        &self.options
    }

    /// The agent's name; default: the name of its first capability.
    pub fn named(mut self, agent: &str) -> Self {
        self.name = agent.into();
        self
    }

    /// Cells of the pool on this node, at least 1. Default 1.
    pub fn workers(mut self, n: usize) -> Self {
        self.options.workers = n.max(1);
        self
    }

    /// Requests at a time per cell, at least 1. Default 1.
    pub fn concurrency(mut self, n: usize) -> Self {
        self.options.concurrency = n.max(1);
        self
    }

    /// How many of the slots of all cells of this node [bulk](callboard_broker::task::Priority::Bulk) tasks leave free, so
    /// that what is more urgent finds one at once; 0: none. One is always left to bulk. Default: an eighth of the slots and
    /// at least one, but none of fewer than four.
    pub fn reserve(mut self, slots: usize) -> Self {
        self.options.reserve = Some(slots);
        self
    }

    /// How many requests may wait and run together; the next one is `Busy`. Default 1,024.
    pub fn queue(mut self, n: usize) -> Self {
        self.options.queue = n.max(1);
        self
    }

    /// The most one request may take. Default: what its caller allows.
    pub fn deadline(mut self, d: Duration) -> Self {
        self.options.deadline = Some(d);
        self
    }

    /// When a cell that ended is started again. Default permanent.
    pub fn restart(mut self, r: Restart) -> Self {
        self.options.restart = r;
        self
    }

    /// How long a cell may take to stop before it is killed. Default 5 s.
    pub fn shutdown(mut self, d: Duration) -> Self {
        self.options.shutdown = d;
        self
    }

    /// What the agent may reach, instead of the default (the state of its own run, any capability).
    /// A stateful agent always reaches its own state.
    pub fn may(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.options.grants = self.needs.iter().cloned().chain(grants).collect();
        self
    }

    /// Tools that the agent may call, by name or by family (`docs.*`), beside what it is granted otherwise. Default: none.
    pub fn tools<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.grants.extend(patterns.into_iter().map(|pattern| Grant::Tool(pattern.into())));
        self
    }

    /// What the agent cannot do without, beside what it is granted otherwise.
    pub(crate) fn needs(mut self, grant: Grant) -> Self {
        self.needs.push(grant.clone());
        self.options.grants.push(grant);
        self
    }

    /// The version of the agent, such as `2` or `2026.11.3`. A task stays with the version that began it: its log holds
    /// answers to what that version asked. So nodes can be upgraded one by one; what they hand back goes to a node that
    /// still serves its version, or [waits](Self::version_wait) for one. Default: none, and then every agent takes what no
    /// version began.
    ///
    /// 1 to 40 letters, digits, `.`, `_`, `+` and `-`; a node does not start with another. Of two versions `1.10` is newer
    /// than `1.9`.
    pub fn version(mut self, version: &str) -> Self {
        let version = Version::parse(version);
        self.wrong = version.as_ref().err().cloned();
        self.options.version = version.ok();
        self
    }

    /// Goes on with tasks that older versions began, with their logs. Where it asks for something else than what is
    /// recorded under a key, the task fails with `Diverged`, which names the key; what it asks for anew is done anew. Not
    /// with those of newer versions. Default: it takes what its own version began.
    pub fn migrates(mut self) -> Self {
        self.options.migrates = true;
        self
    }

    /// How long a task that it may not take waits for a node that serves its version, after the last has gone; then it is
    /// a dead letter, with CB0036. Default 1 h.
    pub fn version_wait(mut self, wait: Duration) -> Self {
        self.options.version_wait = wait;
        self
    }

    /// Whether its version is one.
    ///
    /// # Errors
    /// [`BadName`], with what was given.
    pub fn check(&self) -> Result<(), BadName> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    /// The team whose state `StateKey::team` means. Default: the supervisor above it.
    pub fn team(mut self, team: &str) -> Self {
        self.options.team = Some(team.into());
        self
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({})", self.name)
    }
}
