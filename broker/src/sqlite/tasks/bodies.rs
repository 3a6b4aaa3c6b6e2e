//! Tasks as they were submitted, as far as they are kept in memory: those at work, and those that came in lately.
//!
//! What waits for long is in the file alone, whether it waits in its queue or was laid aside for others, or a store would
//! grow with all that it is waiting for. What is at work is shared with whoever holds it, so it costs little, and its end
//! reads nothing.

use std::collections::HashMap;

use crate::id::TaskId;
use crate::task::Task;

/// So many tasks come in, or so many bytes of their inputs, and those that came before them are read from the file again.
const RECENT: usize = 1_024;
const RECENT_BYTES: usize = 32 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Bodies {
    held: HashMap<TaskId, Task>,
    young: Recent,
    old: Recent,
}

#[derive(Default)]
struct Recent {
    /// Each with the bytes of its input.
    tasks: HashMap<TaskId, (Task, usize)>,
    bytes: usize,
}

impl Bodies {
    /// A task came in, or is back in its queue.
    pub(super) fn add(&mut self, task: Task, bytes: usize) {
        if self.young.tasks.len() >= RECENT || self.young.bytes + bytes > RECENT_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += bytes;
        self.young.tasks.insert(task.id.clone(), (task, bytes));
    }

    /// Somebody holds this task from now on.
    pub(super) fn hold(&mut self, task: &Task) {
        let task = self.remove(&task.id).unwrap_or_else(|| task.clone());
        self.held.insert(task.id.clone(), task);
    }

    /// It is back in its queue, if somebody held it.
    pub(super) fn let_go(&mut self, task: &TaskId, bytes: usize) {
        if let Some(task) = self.held.remove(task) {
            self.add(task, bytes);
        }
    }

    pub(super) fn get(&self, task: &TaskId) -> Option<&Task> {
        let recent = || self.young.tasks.get(task).or_else(|| self.old.tasks.get(task)).map(|(task, _)| task);
        self.held.get(task).or_else(recent)
    }

    /// It has ended, or waits for others.
    pub(super) fn remove(&mut self, task: &TaskId) -> Option<Task> {
        let mut recent = || [&mut self.young, &mut self.old].into_iter().find_map(|recent| recent.remove(task));
        self.held.remove(task).or_else(&mut recent)
    }
}

impl Recent {
    fn remove(&mut self, task: &TaskId) -> Option<Task> {
        let (task, bytes) = self.tasks.remove(task)?;
        self.bytes -= bytes;
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::payload::Payload;
    use crate::subject::CapabilityName;

    fn task(n: usize) -> Task {
        let run = RunId::parse(&format!("r{n}")).unwrap();
        Task::root(run, CapabilityName::parse("text.count").unwrap(), Payload::null(), 1)
    }

    fn kept(bodies: &Bodies, tasks: std::ops::Range<usize>) -> usize {
        tasks.filter(|n| bodies.get(&task(*n).id).is_some()).count()
    }

    #[test]
    fn of_what_waits_the_newest_are_kept_and_all_that_is_held() {
        let mut bodies = Bodies::default();
        bodies.add(task(0), 4);
        bodies.hold(&task(0));
        // It was not kept any more when somebody took it.
        bodies.hold(&task(1));
        let all = 10 * RECENT;
        (2..all).for_each(|n| bodies.add(task(n), 4));
        assert_eq!(kept(&bodies, 0..2), 2, "somebody holds them");
        assert_eq!(kept(&bodies, all - RECENT..all), RECENT);
        assert!(kept(&bodies, 2..all) <= 2 * RECENT);

        bodies.let_go(&task(0).id, 4);
        assert_eq!(kept(&bodies, 0..1), 1, "it is the newest now");
        (all..3 * all).for_each(|n| bodies.add(task(n), 4));
        assert_eq!(kept(&bodies, 0..2), 1);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_what_left_takes_no_room() {
        let mut bodies = Bodies::default();
        let half = RECENT_BYTES / 2;
        (0..9).for_each(|n| bodies.add(task(n), half));
        assert_eq!((kept(&bodies, 0..5), kept(&bodies, 7..9)), (0, 2));
        assert!(bodies.young.bytes + bodies.old.bytes <= 2 * RECENT_BYTES);
        assert!((0..9).filter(|n| bodies.remove(&task(*n).id).is_some()).count() <= 4);
        assert_eq!((bodies.young.bytes, bodies.old.bytes, kept(&bodies, 0..9)), (0, 0, 0));
        (0..2).for_each(|n| bodies.add(task(n), half));
        assert_eq!(bodies.old.tasks.len(), 0);
    }
}
