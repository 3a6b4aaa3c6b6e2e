//! Which parked tasks wait for which others.

use std::collections::{BTreeSet, HashMap};

use crate::id::TaskId;

/// The parked tasks with what they wait for, in both directions.
#[derive(Debug, Default)]
pub(super) struct Joins {
    on: HashMap<TaskId, BTreeSet<TaskId>>,
    waiting: HashMap<TaskId, BTreeSet<TaskId>>,
}

impl Joins {
    /// `task` waits for the first of `on` to end.
    pub(super) fn add(&mut self, task: &TaskId, on: &[TaskId]) {
        self.remove(task);
        for other in on {
            self.waiting.entry(other.clone()).or_default().insert(task.clone());
        }
        self.on.insert(task.clone(), on.iter().cloned().collect());
    }

    /// Who waited for a task that has ended; they wait no longer.
    pub(super) fn ended(&mut self, task: &TaskId) -> BTreeSet<TaskId> {
        let woken = self.waiting.get(task).cloned().unwrap_or_default();
        woken.iter().for_each(|task| self.remove(task));
        woken
    }

    /// `task` waits for nothing any more.
    pub(super) fn remove(&mut self, task: &TaskId) {
        for other in self.on.remove(task).unwrap_or_default() {
            if let Some(waiting) = self.waiting.get_mut(&other) {
                waiting.remove(task);
                if waiting.is_empty() {
                    self.waiting.remove(&other);
                }
            }
        }
    }
}
