//! The dead letters.

use std::collections::{BTreeMap, HashMap};

use super::Wing;
use crate::BoxFuture;
use crate::clock::Millis;
use crate::dead_letter::{DeadLetter, DeadLetters, MAX_DEAD_MESSAGES, NewDeadLetter};
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId};

/// The most dead letters in one page.
const MAX_PAGE: usize = 1_000;

/// All dead letters by number. The oldest messages make room, tasks never do.
#[derive(Debug, Default)]
pub(super) struct Letters {
    kept: BTreeMap<u64, DeadLetter>,
    last: u64,
    /// How many there are of each run: such a run is not forgotten.
    by_run: HashMap<RunId, usize>,
    /// The numbers of those that are messages, oldest first.
    messages: std::collections::VecDeque<u64>,
}

impl Letters {
    pub(super) fn keep(&mut self, letter: NewDeadLetter, now: Millis) {
        letter.reason.count();
        self.last += 1;
        let letter = DeadLetter::new(self.last, now, letter);
        match &letter.task {
            Some(task) => *self.by_run.entry(task.run()).or_default() += 1,
            None => self.messages.push_back(self.last),
        }
        self.kept.insert(self.last, letter);
        while self.kept.len() > MAX_DEAD_MESSAGES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.kept.remove(&oldest);
        }
    }

    pub(super) fn has_any_of(&self, run: &RunId) -> bool {
        self.by_run.contains_key(run)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&DeadLetter> {
        self.kept.get(&seq)
    }

    pub(super) fn retried(&mut self, seq: u64, task: &TaskId) {
        if let Some(letter) = self.kept.get_mut(&seq) {
            letter.retried_as = Some(task.clone());
        }
    }

    /// Deletes one or all; how many there were, and the runs that have none any more.
    fn purge(&mut self, seq: Option<u64>) -> (u64, Vec<RunId>) {
        let numbers: Vec<u64> = match seq {
            Some(seq) => self.kept.contains_key(&seq).then_some(seq).into_iter().collect(),
            None => self.kept.keys().copied().collect(),
        };
        let mut free = Vec::new();
        for letter in numbers.iter().filter_map(|n| self.kept.remove(n)) {
            let Some(run) = letter.task.map(|task| task.run()) else { continue };
            let left = self.by_run.get(&run).map_or(0, |n| n - 1);
            if left > 0 {
                self.by_run.insert(run, left);
            } else {
                self.by_run.remove(&run);
                free.push(run);
            }
        }
        let kept = &self.kept;
        self.messages.retain(|n| kept.contains_key(n));
        (numbers.len() as u64, free)
    }
}

impl DeadLetters for Wing {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            self.with(|store, _| {
                let later = store.dead.kept.range(after.saturating_add(1)..);
                Ok(later.take(limit.min(MAX_PAGE)).map(|(_, letter)| letter.clone()).collect())
            })
        })
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        Box::pin(async move { self.with(|store, _| Ok(store.dead.get(seq).cloned())) })
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            self.with(|store, now| {
                let letter = store.dead.get(seq).ok_or_else(|| Error::not_found(format!("dead letter {seq}")))?;
                if let Some(again) = &letter.retried_as {
                    return Ok(again.clone());
                }
                let Some(task) = letter.task.clone() else {
                    let key = format!("dead letter {seq}, a message,").into();
                    return Err(Error::Conflict { key, expected: 0, actual: 0 });
                };
                let again = store.retry(&task, now)?;
                store.dead.retried(seq, &again);
                Ok(again)
            })
        })
    }

    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            self.with(|store, now| {
                let (purged, free) = store.dead.purge(seq);
                store.may_forget(free, now);
                Ok(purged)
            })
        })
    }
}
