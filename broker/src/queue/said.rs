//! What the queue is told and what it says.

use crate::clock::Millis;
use crate::id::{NodeName, TaskId};
use crate::subject::CapabilityName;
use crate::task::{self, BegunBy, Priority, Serving, Version};

/// The most unfinished tasks of a store, unless configured.
pub const MAX_TASKS: usize = 1_000_000;
/// The most bytes that the inputs of unfinished tasks take, unless configured: 1 GiB.
pub const MAX_BYTES: usize = 1 << 30;

/// What stands in the place of a time for a task that waits for others and for no time.
pub const ASIDE: Millis = i64::MAX as Millis;

/// How much the queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unfinished tasks. Default [`MAX_TASKS`].
    pub tasks: usize,
    /// Bytes of their inputs. Default [`MAX_BYTES`].
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tasks: MAX_TASKS, bytes: MAX_BYTES }
    }
}

/// What the queue knows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub task: TaskId,
    /// Its place in the order of submission.
    pub seq: u64,
    /// Who can do it.
    pub capability: CapabilityName,
    /// Who goes first.
    pub priority: Priority,
    /// When all attempts must have ended.
    pub deadline: Millis,
    /// Not to be handed out before then; 0: at once.
    pub not_before: Millis,
    /// How often it was handed out.
    pub claims: u32,
    /// How many of these claims were handed back at no cost (declined, drained).
    pub free: u32,
    /// The size of its input.
    pub bytes: usize,
    /// Which version it stays with.
    pub begun_by: BegunBy,
}

impl Item {
    /// Attempts begun so far.
    pub fn attempts(&self) -> u32 {
        self.claims - self.free.min(self.claims)
    }
}

/// A claim that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number, unique within the queue's life.
    pub lease: u64,
    /// The attempt that it began, from 1.
    pub attempt: u32,
    /// Who claimed.
    pub node: NodeName,
    /// When.
    pub since: Millis,
    /// When it lapses unless extended.
    pub until: Millis,
}

/// A task with its claim, as it was when it left the queue, or as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The task.
    pub item: Item,
    /// The claim, while somebody holds it.
    pub held: Option<Box<Held>>,
    /// When [`Queue::due`](super::Queue::due) has to look at it.
    pub(super) alarm: Millis,
    /// Since when it can be handed out.
    pub(super) ready: Millis,
    /// Its place among those that are ready.
    pub(super) rank: Rank,
    /// Whether it waits as a failed attempt does, and then lets those go first that are ready by then.
    pub(super) gives_way: bool,
}

/// A place in the line of what is ready: that in the order of submission, or behind all that were submitted by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) seq: u64,
    pub(super) behind: u64,
}

impl Rank {
    pub(super) const MIN: Self = Self { seq: 0, behind: 0 };
    pub(super) const MAX: Self = Self { seq: u64::MAX, behind: u64::MAX };
}

impl Place {
    /// Whether it is laid aside until others have ended.
    pub fn is_aside(&self) -> bool {
        self.held.is_none() && self.item.not_before == ASIDE
    }
}

/// What a claimer asks for.
#[derive(Clone, Debug)]
pub struct Want {
    /// Tasks for this capability.
    pub capability: CapabilityName,
    /// At most so many.
    pub slots: usize,
    /// Of those at most so many of [`Priority::Bulk`].
    pub bulk: usize,
    /// Who asks.
    pub node: NodeName,
    /// Not these, while others could take them.
    pub declined: Vec<TaskId>,
    /// How long a claim holds.
    pub lease: Millis,
    /// The version that asks.
    pub serving: Option<Serving>,
}

impl Want {
    /// Whether it may go on with what this version began.
    pub(super) fn may_take(&self, begun_by: Option<&Version>) -> bool {
        task::may_take(self.serving.as_ref(), begun_by)
    }
}

/// A task handed out. Already counted in its [`Item::claims`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The task.
    pub task: TaskId,
    /// The claim.
    pub held: Held,
    /// Whether it was handed out before: then its log gets a `claimed` record.
    pub again: bool,
    /// The version that claimed: then too.
    pub version: Option<Version>,
}

/// Why a task is not handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Its deadline has passed.
    Expired,
    /// It was begun [`MAX_CLAIMS`](crate::task::MAX_CLAIMS) times, or claimed
    /// [`MAX_HANDOUTS`](crate::task::MAX_HANDOUTS) times.
    TooManyClaims,
    /// Nobody serves the version any more that began it.
    Unserved(Version),
    /// It took its process down [`MAX_DEATHS`](crate::suspect::MAX_DEATHS) times while it ran alone.
    Deadly,
}

/// The answer to a claimer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Handed out.
    pub taken: Vec<Taken>,
    /// Found spent on the way and removed from the queue: each needs its dead letter and its outcome.
    pub spent: Vec<(Place, Spent)>,
}

impl Batch {
    /// Whether nothing was decided.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.spent.is_empty()
    }
}

/// What time brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The deadline passed; removed from the queue, claimed or not.
    Expired(Place),
    /// The version that began it was missed for too long; removed from the queue.
    Unserved(Place, Version),
    /// The claim lapsed; the task is back in the queue.
    Lapsed {
        /// The task.
        task: TaskId,
        /// The claim that holds no longer.
        lease: u64,
    },
    /// A parked claimer has waited long enough; it is no longer parked. Holds what only it is left to take, mostly
    /// nothing.
    Waited(u64, Batch),
}
