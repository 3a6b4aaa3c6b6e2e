//! Who waits for which tasks to end.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::id::TaskId;
use crate::task::Outcome;

/// The waits of which nobody has taken what they came to.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waits: HashMap<u64, Waiting>,
    by_task: HashMap<TaskId, Vec<u64>>,
}

#[derive(Debug)]
struct Waiting {
    tasks: Vec<TaskId>,
    /// How many have to have ended.
    needed: usize,
    /// What has ended: by the time the waiter is awake, the store may have forgotten it.
    found: HashMap<TaskId, Outcome>,
    over: Option<oneshot::Sender<()>>,
}

impl Waits {
    /// Enters a wait that is over when `needed` have ended, of tasks that have not and of those that have: `found`.
    pub(super) fn add(
        &mut self,
        ticket: u64,
        tasks: Vec<TaskId>,
        needed: usize,
        found: Vec<Outcome>,
    ) -> oneshot::Receiver<()> {
        let (over, receiver) = oneshot::channel();
        for task in &tasks {
            self.by_task.entry(task.clone()).or_default().push(ticket);
        }
        let found = found.into_iter().map(|outcome| (outcome.task.clone(), outcome)).collect();
        self.waits.insert(ticket, Waiting { tasks, needed, found, over: Some(over) });
        receiver
    }

    pub(super) fn ended(&mut self, outcome: &Outcome) {
        for ticket in self.by_task.remove(&outcome.task).unwrap_or_default() {
            let Some(waiting) = self.waits.get_mut(&ticket) else { continue };
            waiting.found.insert(outcome.task.clone(), outcome.clone());
            if waiting.found.len() >= waiting.needed
                && let Some(over) = waiting.over.take()
            {
                // A waiter that has gone needs no wake-up.
                let _ = over.send(());
            }
        }
    }

    /// Ends a wait; what has ended of what it was for.
    pub(super) fn remove(&mut self, ticket: u64) -> HashMap<TaskId, Outcome> {
        let Some(waiting) = self.waits.remove(&ticket) else { return HashMap::new() };
        for task in &waiting.tasks {
            if let Some(tickets) = self.by_task.get_mut(task) {
                tickets.retain(|t| *t != ticket);
                if tickets.is_empty() {
                    self.by_task.remove(task);
                }
            }
        }
        waiting.found
    }
}
