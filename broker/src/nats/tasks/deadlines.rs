//! The deadlines of queued tasks: each queue message is read once, and those that have left are forgotten now and then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Millis;
use crate::id::TaskId;

/// So many deadlines may be of tasks that have left the queue, whatever its size.
const FEW: usize = 10_000;

/// What was read of the queue. Pure.
#[derive(Debug)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Millis, TaskId, u64)>>,
    /// Where the part of the queue begins that was not read.
    next: u64,
    /// With more than so many, most are of tasks that have ended: a task's message is gone long before its deadline.
    limit: usize,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), next: 1, limit: FEW }
    }

    /// Where to read on; from the beginning, when too much of what is known is of tasks that may have left.
    pub(super) fn read_from(&mut self) -> u64 {
        if self.heap.len() > self.limit {
            (self.heap, self.next, self.limit) = (BinaryHeap::new(), 1, usize::MAX);
        }
        self.next
    }

    /// A message at place `seq`, with its task if it can be read.
    pub(super) fn read(&mut self, seq: u64, task: Option<(Millis, TaskId)>) {
        self.next = self.next.max(seq + 1);
        self.heap.extend(task.map(|(deadline, task)| Reverse((deadline, task, seq))));
    }

    /// The queue was read to its end.
    pub(super) fn all_read(&mut self) {
        if self.limit == usize::MAX {
            self.limit = self.heap.len().saturating_mul(2).saturating_add(FEW);
        }
    }

    /// Takes out one whose deadline has passed by `now`.
    pub(super) fn due(&mut self, now: Millis) -> Option<(TaskId, u64)> {
        let Reverse((deadline, ..)) = self.heap.peek()?;
        if *deadline > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, task, seq))| (task, seq))
    }

    /// Puts one back, to be looked at again at `at`.
    pub(super) fn later(&mut self, at: Millis, task: TaskId, seq: u64) {
        self.heap.push(Reverse((at, task, seq)));
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((deadline, ..))| *deadline)
    }
}

/// The deadlines of tasks that were parked: 16 bytes for each record of parking, which is read once. Which task it is of
/// is looked up when it is due, so that what waits for days costs no more. Pure.
#[derive(Debug, Default)]
pub(super) struct Aside {
    heap: BinaryHeap<Reverse<(Millis, u64)>>,
    last: u64,
}

impl Aside {
    /// Where to read on.
    pub(super) fn read_from(&self) -> u64 {
        self.last + 1
    }

    /// A record at place `seq`, with the deadline of its task if it can be read.
    pub(super) fn read(&mut self, seq: u64, deadline: Option<Millis>) {
        self.last = self.last.max(seq);
        self.heap.extend(deadline.map(|deadline| Reverse((deadline, seq))));
    }

    /// Takes out the place of one whose deadline has passed by `now`.
    pub(super) fn due(&mut self, now: Millis) -> Option<u64> {
        self.heap.peek().filter(|Reverse((deadline, _))| *deadline <= now)?;
        self.heap.pop().map(|Reverse((_, seq))| seq)
    }

    /// Comes again at `at`.
    pub(super) fn later(&mut self, at: Millis, seq: u64) {
        self.heap.push(Reverse((at, seq)));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;

    fn task(n: u64) -> TaskId {
        TaskId::root(&RunId::parse(&format!("t{n}")).unwrap())
    }

    /// Reads a queue in which `there` tasks from place `first` on are left.
    fn read(deadlines: &mut Deadlines, first: u64, there: u64) {
        let from = deadlines.read_from();
        for seq in from.max(first)..first + there {
            deadlines.read(seq, Some((seq, task(seq))));
        }
        deadlines.all_read();
    }

    #[test]
    fn they_come_in_order_and_not_before_their_time() {
        let mut deadlines = Deadlines::new();
        for (seq, deadline) in [(1, 30), (2, 10), (3, 20)] {
            deadlines.read(seq, Some((deadline, task(seq))));
        }
        deadlines.read(4, None);
        assert_eq!((deadlines.read_from(), deadlines.next()), (5, Some(10)));
        assert_eq!(deadlines.due(9), None);
        assert_eq!(deadlines.due(20), Some((task(2), 2)));
        deadlines.later(25, task(2), 2);
        assert_eq!(deadlines.due(20), Some((task(3), 3)));
        assert_eq!((deadlines.due(20), deadlines.next()), (None, Some(25)));
    }

    #[test]
    fn a_queue_that_many_tasks_pass_through_leaves_no_more_behind_than_a_bound() {
        let mut deadlines = Deadlines::new();
        let (mut first, mut most) = (1, 0);
        for _ in 0..500 {
            read(&mut deadlines, first, 100);
            most = most.max(deadlines.heap.len());
            first += 100;
        }
        assert!(most <= FEW + 400, "{most} for a queue of 100, after {first}");
    }

    #[test]
    fn a_queue_that_is_long_is_not_read_again_and_again() {
        let mut deadlines = Deadlines::new();
        read(&mut deadlines, 1, 50_000);
        let mut anew = 0;
        for there in 50_001..50_100 {
            anew += u64::from(deadlines.read_from() == 1);
            read(&mut deadlines, 1, there);
        }
        assert!(anew <= 1, "{anew} times");
        assert_eq!(deadlines.heap.len(), 50_099);
    }

    #[test]
    fn each_parking_is_due_once_in_the_order_of_deadlines() {
        let mut aside = Aside::default();
        for (seq, deadline) in [(3, Some(30)), (5, Some(10)), (8, None)] {
            aside.read(seq, deadline);
        }
        assert_eq!((aside.read_from(), aside.next(), aside.due(9)), (9, Some(10), None));
        assert_eq!((aside.due(10), aside.due(10)), (Some(5), None));
        aside.later(40, 5);
        assert_eq!([aside.due(50), aside.due(50), aside.due(50)], [Some(3), Some(5), None]);
    }
}
