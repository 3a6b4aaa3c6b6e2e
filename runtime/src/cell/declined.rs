//! What a pool has declined lately, so that it does not take it again while others might.
//!
//! A task goes back to the queue at no cost when its agent declines it. It has failed only when nobody is left to take
//! it, which the store tells a claimer that waited in vain by handing it over all the same. So a claim waits briefly
//! after a task that nobody on this node takes, and long otherwise: an agent here that is busy will come to it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::id::TaskId;

/// How many tasks it remembers. Beyond that the oldest is forgotten, and may be offered again.
const MOST: usize = 256;
/// How long a claim waits before it is renewed.
const LONG: Duration = Duration::from_secs(3_600);
/// How long a claim waits for somebody else to take what was just declined.
const BRIEF: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Declined(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    tasks: VecDeque<Entry>,
    crowded: bool,
}

#[derive(Debug)]
struct Entry {
    task: TaskId,
    /// Nobody is known yet who takes it.
    open: bool,
}

impl Declined {
    /// One more; `taken_here` when another agent of this node takes it.
    pub(crate) fn add(&self, task: &TaskId, taken_here: bool) {
        let mut list = self.list();
        list.tasks.retain(|entry| entry.task != *task);
        if list.tasks.len() == MOST {
            list.tasks.pop_front();
            list.crowded = true;
        }
        list.tasks.push_back(Entry { task: task.clone(), open: !taken_here });
    }

    /// What the next claim names as declined, and how long it waits.
    pub(crate) fn terms(&self) -> (Vec<TaskId>, Duration) {
        let list = self.list();
        let wait = if list.tasks.iter().any(|entry| entry.open) { BRIEF } else { LONG };
        (list.tasks.iter().map(|entry| entry.task.clone()).collect(), wait)
    }

    /// A claim that named these has waited in vain: others are left to take them.
    pub(crate) fn settle(&self, named: &[TaskId]) {
        for entry in self.list().tasks.iter_mut().filter(|entry| named.contains(&entry.task)) {
            entry.open = false;
        }
    }

    /// Whether more was declined since the last look than it can remember: then what comes next may be the same again.
    pub(crate) fn was_crowded(&self) -> bool {
        std::mem::take(&mut self.list().crowded)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use callboard_broker::id::RunId;

    use super::*;

    fn task(n: usize) -> TaskId {
        TaskId::root(&RunId::parse(&format!("r{n}")).unwrap())
    }

    #[test]
    fn a_claim_waits_briefly_until_it_is_known_that_others_are_left() {
        let declined = Declined::default();
        assert_eq!(declined.terms(), (Vec::new(), LONG));
        declined.add(&task(1), true);
        assert_eq!(declined.terms(), (vec![task(1)], LONG), "somebody here takes it");
        declined.add(&task(2), false);
        assert_eq!(declined.terms(), (vec![task(1), task(2)], BRIEF));
        declined.settle(&[task(1)]);
        assert_eq!(declined.terms().1, BRIEF);
        declined.settle(&[task(2)]);
        assert_eq!(declined.terms().1, LONG);
        declined.add(&task(1), true);
        assert_eq!(declined.terms(), (vec![task(2), task(1)], LONG), "each once");
    }

    #[test]
    fn what_it_cannot_remember_slows_it_down_once() {
        let declined = Declined::default();
        (0..MOST).for_each(|n| declined.add(&task(n), true));
        assert!(!declined.was_crowded());
        declined.add(&task(MOST), true);
        assert!(declined.was_crowded() && !declined.was_crowded());
        assert_eq!((declined.terms().0.len(), declined.terms().0[0].clone()), (MOST, task(1)));
    }
}
