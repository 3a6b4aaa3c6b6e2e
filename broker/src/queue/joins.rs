//! Which parked tasks wait for which others.

use std::collections::BTreeSet;

use crate::id::TaskId;

/// The parked tasks with what they wait for, in both directions.
///
/// Pairs in two trees rather than a set for each task: most wait for one other, and there may be very many of them.
#[derive(Debug, Default)]
pub(super) struct Joins {
    on: Pairs,
    waiting: Pairs,
}

/// Tasks, each with another. No pair has `None`, which is where the pairs of a task begin.
type Pairs = BTreeSet<(TaskId, Option<TaskId>)>;

impl Joins {
    /// `task` waits for the first of `on` to end.
    pub(super) fn add(&mut self, task: &TaskId, on: &[TaskId]) {
        self.remove(task);
        for other in on {
            self.on.insert((task.clone(), Some(other.clone())));
            self.waiting.insert((other.clone(), Some(task.clone())));
        }
    }

    /// Who waited for a task that has ended; they wait no longer.
    pub(super) fn ended(&mut self, task: &TaskId) -> Vec<TaskId> {
        let woken = others(&self.waiting, task);
        woken.iter().for_each(|task| self.remove(task));
        woken
    }

    /// `task` waits for nothing any more.
    pub(super) fn remove(&mut self, task: &TaskId) {
        for other in others(&self.on, task) {
            self.waiting.remove(&(other.clone(), Some(task.clone())));
            self.on.remove(&(task.clone(), Some(other)));
        }
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.on.is_empty() && self.waiting.is_empty()
    }
}

/// With whom a task stands in pairs, in the order of their ids.
fn others(pairs: &Pairs, task: &TaskId) -> Vec<TaskId> {
    let of_task = pairs.range((task.clone(), None)..).take_while(|(first, _)| first == task);
    of_task.filter_map(|(_, other)| other.clone()).collect()
}
