//! How tasks end, and how they begin again.

use std::collections::{HashSet, VecDeque};

use super::{Kept, Store};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::queue::{Place, Spent};
use crate::task::{Entry, Outcome, Status};
use crate::tasks::{Finish, Recorded, Revoked};

impl Store {
    /// Records an outcome and all that follows from it. `by` is the claim that recorded it, `tell` what the attempt
    /// that held the task is told.
    pub(super) fn end(&mut self, outcome: Outcome, by: u64, tell: Option<Revoked>, now: Millis) {
        let place = self.queue.remove(&outcome.task);
        let Some(kept) = self.tasks.get_mut(&outcome.task).filter(|kept| kept.is_open()) else { return };
        kept.attempts = place.map_or(outcome.attempt, |p| p.item.attempts());
        kept.ended_by = by;
        kept.tell(tell);
        for fact in facts::ended(&kept.task, &outcome) {
            self.events.add(fact, now);
        }
        let task = kept.task.clone();
        self.waits.ended(&outcome);
        kept.outcome = Some(outcome);
        self.queue.ended(&task.id, now);
        self.runs.ended(&task.run, self.dead.has_any_of(&task.run));
        self.forget(now);
    }

    /// Gives up a task that the queue found spent and has removed: first the dead letter, then the outcome.
    pub(super) fn spend(&mut self, place: &Place, why: Spent, now: Millis) {
        let Some(kept) = self.tasks.get(&place.item.task) else { return };
        let (letter, outcome) = facts::spent(&kept.task, &place.into(), why, now);
        self.dead.keep(letter, now);
        let tell = Revoked::Ended(outcome.status);
        self.end(outcome, 0, Some(tell), now);
    }

    pub(in super::super) fn finish(&mut self, turn: Finish, now: Millis) -> Result<Recorded> {
        let Finish { fence, entries, outcome, dead } = turn;
        if outcome.task != fence.task || !outcome.status.is_final() {
            return Err(Error::decode(format!("not an outcome of task {}", fence.task)));
        }
        if self.tasks.get(&fence.task).is_some_and(|kept| kept.outcome.is_some() && kept.ended_by == fence.lease) {
            return Ok(Recorded::Already);
        }
        let kept = self.holder(&fence)?;
        kept.append(entries, now);
        if let Some(reason) = dead {
            let error = outcome.error.as_ref().map(|e| e.message.clone());
            let letter = facts::dead_task(&kept.task, reason, error);
            self.dead.keep(letter, now);
        }
        self.end(outcome, fence.lease, None, now);
        Ok(Recorded::New)
    }

    pub(in super::super) fn conclude(&mut self, outcome: Outcome, now: Millis) -> Result<Recorded> {
        let kept = self.tasks.get(&outcome.task).ok_or_else(|| Error::not_found(format!("task {}", outcome.task)))?;
        let outcome = facts::conclusion(&kept.task, outcome)?;
        match &kept.outcome {
            Some(recorded) if facts::says_the_same(recorded, &outcome) => return Ok(Recorded::Already),
            Some(_) => return Err(facts::taken(&outcome.task, kept.last())),
            None if self.queue.get(&outcome.task).is_none_or(|place| place.held.is_some()) => {
                return Err(facts::taken(&outcome.task, kept.last()));
            }
            None => {}
        }
        self.end(outcome, 0, None, now);
        Ok(Recorded::New)
    }

    pub(in super::super) fn cancel(&mut self, root: &TaskId, by: &str, now: Millis) -> Result<Vec<TaskId>> {
        if !self.tasks.contains_key(root) {
            return Err(Error::not_found(format!("task {root}")));
        }
        let mut cancelled = Vec::new();
        let (mut seen, mut next) = (HashSet::from([root.clone()]), VecDeque::from([root.clone()]));
        while let Some(id) = next.pop_front() {
            let Some(kept) = self.tasks.get(&id) else { continue };
            next.extend(kept.delegated().filter(|child| seen.insert((*child).clone())).cloned());
            if let Some(place) = self.queue.get(&id) {
                let outcome = facts::cancelled(&kept.task, &place.into(), by, now);
                self.end(outcome, 0, Some(Revoked::Ended(Status::Cancelled)), now);
                cancelled.push(id);
            }
        }
        Ok(cancelled)
    }

    pub(in super::super) fn retry(&mut self, task: &TaskId, now: Millis) -> Result<TaskId> {
        let kept = self.tasks.get(task).ok_or_else(|| Error::not_found(format!("task {task}")))?;
        let newest = self.runs.newest(&kept.task.base);
        if let Some(newest) = newest.filter(|newest| *newest != task) {
            return Ok(newest.clone());
        }
        let ended = kept.outcome.as_ref().filter(|outcome| outcome.status != Status::Completed);
        if ended.is_none() {
            return Err(Error::Conflict { key: format!("task {task}").into(), expected: 0, actual: kept.last() });
        }
        let parent = kept.task.parent.as_ref().and_then(|parent| self.newest_generation(parent));
        let next = kept.task.next_generation(parent.map(|kept| kept.task.as_ref()), now);
        let bytes = facts::admit(&next)?;
        self.room(1, bytes)?;
        let id = next.id.clone();
        self.store(next, bytes, now);
        Ok(id)
    }

    fn newest_generation(&self, task: &TaskId) -> Option<&Kept> {
        let kept = self.tasks.get(task)?;
        self.runs.newest(&kept.task.base).and_then(|newest| self.tasks.get(newest)).or(Some(kept))
    }
}

impl Kept {
    /// The tasks that name this one as their parent, and those that its log names.
    fn delegated(&self) -> impl Iterator<Item = &TaskId> {
        let named = self.log.iter().filter_map(|record| match &record.entry {
            Entry::Delegated { child, .. } => Some(child),
            _ => None,
        });
        self.children.iter().chain(named)
    }
}
