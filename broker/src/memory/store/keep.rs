//! What belongs together, and what may be forgotten.

use std::collections::{HashMap, VecDeque};

use super::Store;
use crate::id::{RunId, TaskId};
use crate::task::Task;

/// The tasks of each run, and the runs that have ended, in the order in which they did.
#[derive(Debug)]
pub(in super::super) struct Runs {
    tasks: HashMap<RunId, Run>,
    /// The newest generation of each task, by its id in generation 1.
    newest: HashMap<TaskId, TaskId>,
    /// Ended runs; a run that was begun again since has a later stamp.
    ended: VecDeque<(u64, RunId)>,
    finished: usize,
    limit: usize,
    stamp: u64,
}

#[derive(Debug, Default)]
struct Run {
    tasks: Vec<TaskId>,
    open: usize,
    ended: u64,
}

impl Runs {
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: HashMap::new(), newest: HashMap::new(), ended: VecDeque::new(), finished: 0, limit, stamp: 0 }
    }

    pub(super) fn add(&mut self, task: &Task) {
        let run = self.tasks.entry(task.run.clone()).or_default();
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

    pub(super) fn ended(&mut self, run: &RunId) {
        self.finished += 1;
        if let Some(of) = self.tasks.get_mut(run) {
            of.open -= 1;
            self.note_end(run);
        }
    }

    fn note_end(&mut self, run: &RunId) {
        if let Some(of) = self.tasks.get_mut(run).filter(|of| of.open == 0) {
            self.stamp += 1;
            of.ended = self.stamp;
            self.ended.push_back((self.stamp, run.clone()));
        }
    }

    /// The run that ended longest ago, when there are more finished tasks than are kept; never the one that ended last.
    fn oldest(&mut self) -> Option<RunId> {
        while self.finished > self.limit && self.ended.len() > 1 {
            let (stamp, run) = self.ended.pop_front()?;
            if self.tasks.get(&run).is_some_and(|of| of.open == 0 && of.ended == stamp) {
                return Some(run);
            }
        }
        None
    }
}

impl Store {
    /// Forgets runs that have ended, oldest first, until no more finished tasks are kept than may be.
    pub(super) fn forget(&mut self) {
        while let Some(run) = self.runs.oldest() {
            if self.dead.has_any_of(&run) {
                continue;
            }
            let Some(of) = self.runs.tasks.remove(&run) else { continue };
            self.runs.finished -= of.tasks.len();
            for kept in of.tasks.iter().filter_map(|id| self.tasks.remove(id)) {
                self.order.remove(&kept.seq);
                self.runs.newest.remove(&kept.task.base);
            }
        }
    }

    /// Runs that were kept for the sake of their dead letters need not be any more.
    pub(in super::super) fn may_forget(&mut self, runs: Vec<RunId>) {
        for run in runs {
            self.runs.note_end(&run);
        }
        self.forget();
    }
}
