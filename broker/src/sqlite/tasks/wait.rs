//! Who waits for which tasks to end.
//!
//! A wait is entered here before the file is looked at, so an outcome that comes in between is either seen in the file or
//! delivered, or both. Outcomes are handed over as they are; a waiter is woken once, when its wait is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::id::TaskId;
use crate::task::Outcome;
use crate::tasks::Until;

/// All waits that are not over. Cheap to clone.
#[derive(Clone, Default)]
pub(in super::super) struct Waiters(Arc<Mutex<HashMap<TaskId, Vec<Arc<Wait>>>>>);

/// One wait.
pub(super) struct Wait {
    needed: usize,
    found: Mutex<HashMap<TaskId, Outcome>>,
    over: Notify,
}

impl Wait {
    fn found(&self) -> MutexGuard<'_, HashMap<TaskId, Outcome>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, outcome: Outcome) {
        let mut found = self.found();
        found.entry(outcome.task.clone()).or_insert(outcome);
        if found.len() >= self.needed {
            self.over.notify_one();
        }
    }
}

impl Waiters {
    fn map(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Arc<Wait>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a wait for tasks, each named once.
    pub(super) fn enter(&self, tasks: Vec<TaskId>, until: Until) -> Entered<'_> {
        let needed = if until == Until::Any { 1.min(tasks.len()) } else { tasks.len() };
        let wait = Arc::new(Wait { needed, found: Mutex::default(), over: Notify::new() });
        let mut map = self.map();
        for task in &tasks {
            map.entry(task.clone()).or_default().push(wait.clone());
        }
        Entered { waiters: self, tasks, wait }
    }

    /// Tasks have ended.
    pub(in super::super) fn deliver(&self, outcomes: &[Outcome]) {
        if outcomes.is_empty() {
            return;
        }
        let map = self.map();
        for outcome in outcomes {
            for wait in map.get(&outcome.task).into_iter().flatten() {
                wait.add(outcome.clone());
            }
        }
    }

    /// The tasks that somebody waits for.
    pub(in super::super) fn wanted(&self) -> Vec<TaskId> {
        self.map().keys().cloned().collect()
    }
}

/// A wait that somebody is in. Left when it is dropped.
pub(super) struct Entered<'a> {
    waiters: &'a Waiters,
    tasks: Vec<TaskId>,
    wait: Arc<Wait>,
}

impl Entered<'_> {
    /// What had ended before.
    pub(super) fn add(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        outcomes.into_iter().for_each(|outcome| self.wait.add(outcome));
    }

    /// Resolves when it is over.
    pub(super) async fn over(&self) {
        if self.wait.needed > self.wait.found().len() {
            self.wait.over.notified().await;
        }
    }

    /// The outcomes that are there.
    pub(super) fn outcomes(&self) -> HashMap<TaskId, Outcome> {
        std::mem::take(&mut *self.wait.found())
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut map = self.waiters.map();
        for task in &self.tasks {
            if let Some(waits) = map.get_mut(task) {
                waits.retain(|wait| !Arc::ptr_eq(wait, &self.wait));
                if waits.is_empty() {
                    map.remove(task);
                }
            }
        }
    }
}
