//! The contract for tasks: durable work, executed at least once, its outcome recorded exactly once.
//!
//! Batches go in and one answer per item comes out, in order, so that a wing can commit or send them together. Waiting
//! is part of the call: a claim that finds nothing is parked by the wing and woken by the submit that feeds it; nothing
//! polls. Each method is one transaction on an embedded wing and a fixed sequence of idempotent writes elsewhere; what
//! a caller may rely on is the weaker of the two: *once an outcome is recorded the rest follows, each once*.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::BoxFuture;
use crate::clock::Millis;
use crate::dead_letter::Reason;
use crate::error::{Remote, Result};
use crate::id::{NodeName, RunId, TaskId};
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Serving, Status, Task};

/// How long a claim holds without being extended: 30 s.
pub const LEASE: Duration = Duration::from_secs(30);
/// The most tasks that one claim may ask for.
pub const MAX_CLAIM: usize = 256;
/// The most tasks that a parked task may wait for.
pub const MAX_PARK: usize = 1_024;
/// The most tasks that one page of [`Tasks::list`] holds.
pub const MAX_PAGE: usize = 1_000;

/// Whether a submitted task was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Stored now.
    New,
    /// A task with this id was there already; it is left as it is.
    Known,
}

/// What a worker wants.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Tasks for this capability.
    pub capability: CapabilityName,
    /// At most so many: exactly the free slots, for a worker that hoards makes others wait. 1 to [`MAX_CLAIM`].
    pub slots: usize,
    /// Of those at most so many of [`Priority::Bulk`](crate::task::Priority::Bulk): what a worker keeps free of it is there
    /// at once for what is more urgent. As many as `slots` or more: all of them.
    pub bulk: usize,
    /// Who claims.
    pub node: NodeName,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// Tasks that this node has just declined. They are not handed to it while it finds others, or while another node
    /// waits for this capability or works on it; only a claim that would end empty-handed gets them back, which tells
    /// the node that nobody else is left to take them.
    pub declined: Vec<TaskId>,
    /// The version of the agent that claims: what another version began is not handed to it, unless it goes on with that.
    /// None: only what no version began.
    pub serving: Option<Serving>,
}

/// Proof of a claim. Every write of an attempt names the last record that the attempt has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The task.
    pub task: TaskId,
    /// The claim, unique within the store's life: a later claim of the same task has another.
    pub lease: u64,
    /// The number of the last record of the log that this attempt has seen; 0: none.
    pub last: u64,
}

/// Why a claim no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The task has an outcome that this attempt did not write: it was cancelled or has expired.
    Ended(Status),
    /// The lease lapsed or another worker took over.
    Replaced,
}

/// A claimed task.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The task as it was submitted.
    pub task: Task,
    /// Counted from 1; claims that were handed back at no cost do not count.
    pub attempt: u32,
    /// Its log so far.
    pub log: Vec<Record>,
    /// What the next write of this attempt has to show.
    pub fence: Fence,
    /// Turns to `Some` when the claim no longer holds; the attempt should stop, and can record nothing. Closed without
    /// a value after the attempt itself has finished or released.
    pub revoked: watch::Receiver<Option<Revoked>>,
}

/// A child that is stored together with the record that delegates it.
#[derive(Clone, Debug)]
pub enum Child {
    /// To be done.
    Queued(Box<Task>),
    /// Not to be done, for this reason; stored with the outcome `skipped`.
    Skipped(Box<Task>, String),
    /// Done elsewhere: stored with this outcome, of which it is the task.
    Ended(Box<Task>, Box<crate::task::Outcome>),
}

impl Child {
    /// The task in either case.
    pub fn task(&self) -> &Task {
        match self {
            Self::Queued(task) | Self::Skipped(task, _) | Self::Ended(task, _) => task,
        }
    }
}

/// The last write of an attempt: outcome, events and dead letter belong together.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Proof of the claim.
    pub fence: Fence,
    /// Records that precede the outcome.
    pub entries: Vec<Entry>,
    /// The outcome.
    pub outcome: Outcome,
    /// Set when the task also becomes a dead letter (it failed too often).
    pub dead: Option<Reason>,
}

/// How an attempt gives its task back.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// Proof of the claim.
    pub fence: Fence,
    /// Why.
    pub reason: crate::task::Release,
    /// What went wrong, for a retry.
    pub error: Option<Remote>,
    /// Not to be delivered for so long.
    pub delay: Duration,
    /// Who gives it back.
    pub agent: Option<String>,
    /// Whether a handler may have begun.
    pub begun: bool,
}

impl GiveBack {
    /// Proof of the claim, and the record of its log that says so.
    pub(crate) fn record(self, now: Millis) -> (Fence, Entry) {
        let Self { fence, reason, error, delay, agent, begun } = self;
        let not_before = crate::facts::not_before(now, delay);
        (fence, Entry::Released { reason, error, not_before, agent, begun })
    }
}

/// How an attempt lays its task aside until something that it waits for has ended.
#[derive(Clone, Debug)]
pub struct Park {
    /// Proof of the claim.
    pub fence: Fence,
    /// The tasks that it waits for: 1 to [`MAX_PARK`]. One that is not there yet can be waited for.
    pub on: Vec<TaskId>,
}

/// What [`Tasks::finish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// This outcome was recorded.
    New,
    /// The same attempt had recorded it before: a repeated call.
    Already,
}

/// Whether a wait is over when all of its tasks have ended, or one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One of them.
    Any,
    /// All of them.
    All,
}

/// A task with where it stands, for people and for parents that look for their children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// The task as it was submitted.
    pub task: Task,
    /// Its place in the order of submission.
    pub seq: u64,
    /// Where it stands.
    pub status: Status,
    /// Attempts begun.
    pub attempt: u32,
    /// The node that holds it, while in progress.
    pub node: Option<NodeName>,
    /// When the running attempt began, while in progress.
    pub started_at: Option<Millis>,
    /// When it may be delivered again, while it waits after a failure.
    pub not_before: Option<Millis>,
    /// Whether it is laid aside until something that it waits for has ended.
    #[serde(default)]
    pub parked: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// Which tasks to list. All given conditions hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskFilter {
    /// Of this run.
    pub run: Option<RunId>,
    /// Delegated by this task.
    pub parent: Option<TaskId>,
    /// For this capability.
    pub capability: Option<CapabilityName>,
    /// In one of these states; empty: any.
    pub status: Vec<Status>,
    /// Only roots of runs.
    pub roots: bool,
    /// Whose id ends so.
    pub suffix: Option<String>,
    /// After this place in the order of submission (or before it, when `newest_first`).
    pub after: Option<u64>,
    /// The newest first instead of the oldest.
    pub newest_first: bool,
    /// At most so many; 0 and anything above [`MAX_PAGE`] mean [`MAX_PAGE`].
    pub limit: usize,
}

/// How much waits for a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Ready or waiting for their next attempt.
    pub pending: u64,
    /// Claimed.
    pub in_progress: u64,
}

/// Durable work. See the module for what holds on every wing.
///
/// # Cancellation
/// Dropping a future gives up waiting for the answer; the write itself may still be applied. Dropping a claim loses
/// nothing: what was about to be handed out goes back to the queue at once and at no cost.
pub trait Tasks: Send + Sync {
    /// Stores tasks. Acknowledged means stored as durably as the profile says.
    ///
    /// # Errors
    /// Per item: `Busy` when the queue is full, `TooLarge`, `Cancelled` when the parent has an outcome already,
    /// `NotFound` when there is no such parent, `Diverged` when the id is known with another input. A task that is
    /// known with the same input is `Known`, whatever has become of it and of its parent.
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>>;

    /// Takes up to `slots` tasks, the most urgent first, waiting up to `wait` for the first one; empty after that.
    ///
    /// A task that was handed out before, or has a log, gets its `claimed` record here. Dropping the future loses
    /// nothing: what it would have got goes back at no cost of an attempt, or never left the queue.
    ///
    /// Tasks past their deadline, tasks with [`MAX_CLAIMS`](crate::task::MAX_CLAIMS) attempts and tasks claimed
    /// [`MAX_HANDOUTS`](crate::task::MAX_HANDOUTS) times are not handed out: they become dead letters and get their
    /// outcome here. So does a task that a version began which nobody serves any more, after
    /// [`Serving::wait`](crate::task::Serving::wait).
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>>;

    /// Signs of life: each claim holds for another [`LEASE`]. `Replaced` per item when it no longer held.
    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>>;

    /// Appends records, and stores the children that they delegate, all or nothing. Returns the fence for the next
    /// write.
    ///
    /// A child that is known already is left as it is. Every child names this task as its parent.
    ///
    /// # Errors
    /// `Replaced` when the log has a record that this attempt has not seen; `Cancelled` when the task was cancelled;
    /// `Diverged` when a child is known with another input; `Busy` and `TooLarge` as for `submit`.
    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>>;

    /// Gives a task back to its queue. `Replaced` or `Cancelled` as for `append`.
    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>>;

    /// Lays a task aside until one of those that it waits for has ended: it stands in no queue, holds no claim and costs
    /// nothing meanwhile. It is claimed again, as the same attempt, once one of them has ended; when one had before, at
    /// once. Its deadline and a cancel reach it as any other task.
    ///
    /// # Errors
    /// `Replaced` or `Cancelled` as for `append`; `TooLarge` for more than [`MAX_PARK`] tasks, `Decode` for none.
    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>>;

    /// Records outcomes and removes the tasks from their queue. `Replaced` or `Cancelled` as for `append`; `Already`
    /// for the claim that recorded the outcome that is there.
    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>>;

    /// Records the outcome of a task that nobody holds and takes it out of its queue: for those who end tasks without
    /// claiming them, which people do. `Already` when this very outcome (status, output, error, agent) is recorded.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when somebody holds the task or it has ended otherwise; `Decode` for what is no outcome of
    /// it; `TooLarge`.
    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>>;

    /// Cancels a task and all that it delegated, from the top down: the tasks that name it as their parent, and those
    /// that its log names (a retried parent finds children of its earlier generation). What had ended before stands.
    /// Returns the tasks that this call cancelled, parents first.
    ///
    /// # Errors
    /// `NotFound`.
    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>>;

    /// Puts a task that ended without success into the queue again as its next generation, and returns that. Retrying
    /// what has a newer generation already returns the newest.
    ///
    /// A child is retried under the newest generation of its parent.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has not ended, or was completed.
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>>;

    /// Waits until one or all of `tasks` have ended, at most for `wait`, and returns the outcomes that are there.
    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>>;

    /// Tasks by id, in the order asked; `None` for those that are not there.
    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>>;

    /// The log of a task without its outcome, oldest first.
    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// One page of tasks.
    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>>;

    /// How much waits for each capability that has anything waiting.
    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>>;
}
