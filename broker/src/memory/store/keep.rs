//! What belongs together, and what may be forgotten.

use std::collections::{HashMap, VecDeque};

use super::Store;
use crate::clock::Millis;
use crate::id::{RunId, TaskId};
use crate::task::Task;

/// The tasks of each run, and the runs that have ended, in the order in which they did.
#[derive(Debug)]
pub(in super::super) struct Runs {
    tasks: HashMap<RunId, Run>,
    /// The newest generation of each task, by its id in generation 1.
    newest: HashMap<TaskId, TaskId>,
    /// Runs that may be forgotten; one that was begun again since has another stamp.
    ended: VecDeque<(u64, RunId)>,
    /// Their tasks. Those that must be kept anyway do not count, or they would take the place of all others.
    finished: usize,
    limit: usize,
    stamp: u64,
}

#[derive(Debug, Default)]
struct Run {
    tasks: Vec<TaskId>,
    open: usize,
    /// When it ended, as a stamp; 0: it may not be forgotten.
    ended: u64,
}

impl Runs {
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: HashMap::new(), newest: HashMap::new(), ended: VecDeque::new(), finished: 0, limit, stamp: 0 }
    }

    pub(super) fn add(&mut self, task: &Task) {
        let run = self.tasks.entry(task.run.clone()).or_default();
        if std::mem::take(&mut run.ended) > 0 {
            self.finished -= run.tasks.len();
        }
        run.tasks.push(task.id.clone());
        run.open += 1;
        self.newest.insert(task.base.clone(), task.id.clone());
    }

    pub(super) fn newest(&self, base: &TaskId) -> Option<&TaskId> {
        self.newest.get(base)
    }

    /// The tasks of a run in the order of their submission.
    pub(in super::super) fn tasks(&self, run: &RunId) -> &[TaskId] {
        self.tasks.get(run).map_or(&[], |run| &run.tasks)
    }

    /// A task of a run has ended; `letters`: the run has dead letters, for whose sake it is kept.
    pub(super) fn ended(&mut self, run: &RunId, letters: bool) {
        if let Some(of) = self.tasks.get_mut(run) {
            of.open -= 1;
        }
        if !letters {
            self.note_end(run);
        }
    }

    /// Whether it is there, and all of its tasks have ended.
    pub(in super::super) fn is_over(&self, run: &RunId) -> bool {
        self.tasks.get(run).is_some_and(|of| of.open == 0)
    }

    fn note_end(&mut self, run: &RunId) {
        if let Some(of) = self.tasks.get_mut(run).filter(|of| of.open == 0) {
            if of.ended == 0 {
                self.finished += of.tasks.len();
            }
            self.stamp += 1;
            of.ended = self.stamp;
            self.ended.push_back((self.stamp, run.clone()));
        }
    }

    /// The run that ended longest ago, when there are more finished tasks than are kept; never the one that ended last.
    fn oldest(&mut self) -> Option<RunId> {
        while self.finished > self.limit && self.ended.len() > 1 {
            let (stamp, run) = self.ended.pop_front()?;
            if self.tasks.get(&run).is_some_and(|of| of.ended == stamp) {
                return Some(run);
            }
        }
        None
    }
}

impl Store {
    /// Forgets runs that have ended, oldest first and each with its state, until no more finished tasks are kept than
    /// may be.
    pub(super) fn forget(&mut self, now: Millis) {
        while let Some(run) = self.runs.oldest() {
            let Some(of) = self.runs.tasks.remove(&run) else { continue };
            self.runs.finished -= of.tasks.len();
            for kept in of.tasks.iter().filter_map(|id| self.tasks.remove(id)) {
                self.order.remove(&kept.seq);
                self.runs.newest.remove(&kept.task.base);
            }
            self.clear_state_of(&run, now);
        }
    }

    /// Runs that were kept for the sake of their dead letters need not be any more.
    pub(in super::super) fn may_forget(&mut self, runs: Vec<RunId>, now: Millis) {
        for run in runs {
            self.runs.note_end(&run);
        }
        self.forget(now);
    }
}
