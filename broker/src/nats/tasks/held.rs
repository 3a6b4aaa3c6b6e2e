//! The claims that this process holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::hub::Listening;
use super::room::Room;
use crate::clock::{Clock, Millis};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::{NodeName, TaskId};
use crate::subject::CapabilityName;
use crate::task::{Status, Task};
use crate::tasks::{Fence, LEASE, Revoked};

/// A claim.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: Arc<Task>,
    pub(super) lease: u64,
    pub(super) node: NodeName,
    /// The number of the newest record of the contract.
    pub(super) n: u64,
    /// The sequence of the newest record of all.
    pub(super) last: u64,
    /// Where its message is acknowledged.
    pub(super) ack: String,
    /// When it lapses unless extended; not a time of the day, which can be set.
    pub(super) until: Instant,
    /// Hears what others write about its run.
    pub(super) _listening: Arc<Listening>,
    pub(super) revoke: watch::Sender<Option<Revoked>>,
}

/// All claims of this process, by task.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    claims: Mutex<HashMap<TaskId, Held>>,
    /// Claims that are being written, which may be on record already.
    begun: Mutex<HashMap<TaskId, usize>>,
    /// Messages that were given back with a delay, and when they are due.
    delayed: Mutex<HashMap<TaskId, Delayed>>,
}

/// A message that was given back and is to come again later.
#[derive(Debug)]
pub(super) struct Delayed {
    pub(super) due: Millis,
    pub(super) ack: String,
    pub(super) capability: CapabilityName,
}

/// A claim that is being written, for as long as this lives.
pub(super) struct Beginning<'a> {
    holdings: &'a Holdings,
    task: &'a TaskId,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        let mut begun = self.holdings.begun();
        if let Some(times) = begun.get_mut(self.task) {
            *times -= 1;
            if *times == 0 {
                begun.remove(self.task);
            }
        }
    }
}

/// What the next write of a claim has to know.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) task: Arc<Task>,
    pub(super) lease: u64,
    pub(super) n: u64,
    pub(super) last: u64,
    pub(super) ack: String,
}

impl Holdings {
    fn claims(&self) -> MutexGuard<'_, HashMap<TaskId, Held>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delayed(&self) -> MutexGuard<'_, HashMap<TaskId, Delayed>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<TaskId, usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a claim is written: between its record and [`take`](Self::take) others may read the one and ask for the
    /// other.
    pub(super) fn begin<'a>(&'a self, task: &'a TaskId) -> Beginning<'a> {
        *self.begun().entry(task.clone()).or_default() += 1;
        Beginning { holdings: self, task }
    }

    /// Whether a claim of this task is being written.
    pub(super) fn begins(&self, task: &TaskId) -> bool {
        self.begun().contains_key(task)
    }

    /// Takes a claim in. One of the same task that stood here was replaced.
    pub(super) fn take(&self, held: Held) {
        self.delayed().remove(&held.task.id);
        let before = self.claims().insert(held.task.id.clone(), held);
        if let Some(before) = before {
            before.revoke.send_replace(Some(Revoked::Replaced));
        }
    }

    /// The claim that a fence speaks of, if it holds and has seen all.
    pub(super) fn standing(&self, fence: &Fence) -> Option<Standing> {
        let claims = self.claims();
        let held = claims.get(&fence.task).filter(|held| held.lease == fence.lease && held.n == fence.last)?;
        let Held { task, lease, n, last, ack, .. } = held;
        Some(Standing { task: task.clone(), lease: *lease, n: *n, last: *last, ack: ack.clone() })
    }

    /// Notes what a claim has appended, which is a sign of life too.
    pub(super) fn wrote(&self, task: &TaskId, lease: u64, n: u64, last: u64, at: Instant) {
        if let Some(held) = self.claims().get_mut(task).filter(|held| held.lease == lease) {
            (held.n, held.last) = (n, last);
            held.until = held.until.max(at + LEASE);
        }
    }

    /// A sign of life; where to tell the server, if the claim holds.
    pub(super) fn extend(&self, task: &TaskId, lease: u64, at: Instant) -> Option<(String, u64)> {
        let mut claims = self.claims();
        let held = claims.get_mut(task).filter(|held| held.lease == lease)?;
        held.until = held.until.max(at + LEASE);
        Some((held.ack.clone(), held.last))
    }

    /// Ends a claim by its own doing.
    pub(super) fn let_go(&self, task: &TaskId, lease: u64) -> Option<Held> {
        let mut claims = self.claims();
        claims.get(task).filter(|held| held.lease == lease)?;
        claims.remove(task)
    }

    /// Ends whatever claim of a task stands here, and tells its holder why.
    pub(super) fn revoke(&self, task: &TaskId, why: Revoked) {
        self.delayed().remove(task);
        if let Some(held) = self.claims().remove(task) {
            held.revoke.send_replace(Some(why));
        }
    }

    /// Whether a claim stands here of a task somewhere below this one.
    pub(super) fn is_above(&self, task: &TaskId) -> bool {
        self.claims().values().any(|held| held.task.ancestors.contains(task))
    }

    /// Ends all claims that stand here of tasks below one that was cancelled. Their own ends follow, from the top down;
    /// until then they must not record a success any more.
    pub(super) fn revoke_below(&self, task: &TaskId) {
        let mut claims = self.claims();
        let below = claims.iter().filter(|(_, held)| held.task.ancestors.contains(task));
        let below: Vec<TaskId> = below.map(|(id, _)| id.clone()).collect();
        for held in below.iter().filter_map(|id| claims.remove(id)) {
            held.revoke.send_replace(Some(Revoked::Ended(Status::Cancelled)));
        }
    }

    /// The newest record that a claim of this task has seen.
    pub(super) fn seen(&self, task: &TaskId) -> Option<u64> {
        self.claims().get(task).map(|held| held.last)
    }

    /// Takes the claims out that lapsed by `now`.
    pub(super) fn lapsed(&self, now: Instant) -> Vec<Held> {
        let mut claims = self.claims();
        let ids: Vec<TaskId> = claims.iter().filter(|(_, held)| held.until <= now).map(|(id, _)| id.clone()).collect();
        ids.iter().filter_map(|id| claims.remove(id)).collect()
    }

    /// Remembers a message that is to come back later.
    pub(super) fn delay(&self, task: &TaskId, delayed: Delayed) {
        self.delayed().insert(task.clone(), delayed);
    }

    /// The messages whose delay is over by `now`.
    pub(super) fn due(&self, now: Millis) -> Vec<String> {
        let mut delayed = self.delayed();
        let ids: Vec<TaskId> = delayed.iter().filter(|(_, one)| one.due <= now).map(|(id, _)| id.clone()).collect();
        ids.iter().filter_map(|id| delayed.remove(id)).map(|one| one.ack).collect()
    }

    /// When the next claim lapses or the next delay is over.
    pub(super) fn next(&self, clock: &Clock) -> Option<Instant> {
        let lapse = self.claims().values().map(|held| held.until).min();
        let due = self.delayed().values().map(|one| one.due).min().map(|due| clock.instant(due));
        lapse.into_iter().chain(due).min()
    }

    /// Whether another node of this process holds a task of this capability.
    pub(super) fn is_held_by_others(&self, capability: &CapabilityName, node: &NodeName) -> bool {
        self.claims().values().any(|held| held.task.capability == *capability && held.node != *node)
    }

    /// How many messages of a capability this process has not acknowledged.
    pub(super) fn of(&self, capability: &CapabilityName) -> usize {
        let held = self.claims().values().filter(|held| held.task.capability == *capability).count();
        held + self.delayed().values().filter(|one| one.capability == *capability).count()
    }
}

/// How long a claim holds without a sign of life.
pub(super) fn lapse() -> Millis {
    crate::clock::millis(LEASE)
}

impl Room {
    /// The claim of a fence, or why it can write nothing.
    pub(super) async fn claim_of(&self, fence: &Fence) -> Result<Standing> {
        match self.held.standing(fence) {
            Some(standing) => Ok(standing),
            None => Err(self.why_not(&fence.task).await),
        }
    }

    /// What a write is answered with whose claim does not hold.
    pub(super) async fn why_not(&self, task: &TaskId) -> Error {
        match self.newest_glance(task).await {
            Err(error) => error,
            Ok(story) if story.last == 0 => Error::not_found(format!("task {task}")),
            Ok(story) => story.outcome.as_ref().map_or(Error::Replaced, facts::after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_being_written_until_the_last_of_its_writers_is_done() {
        let (holdings, task) = (Holdings::default(), TaskId::parse("t1").unwrap());
        let (one, other) = (holdings.begin(&task), holdings.begin(&task));
        assert!(holdings.begins(&task) && holdings.seen(&task).is_none());
        drop(one);
        assert!(holdings.begins(&task));
        drop(other);
        assert!(!holdings.begins(&task) && holdings.begun().is_empty());
    }
}
