//! Who waits for which tasks to end.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::id::TaskId;

/// The waits that are not over.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waits: HashMap<u64, Waiting>,
    by_task: HashMap<TaskId, Vec<u64>>,
}

#[derive(Debug)]
struct Waiting {
    tasks: Vec<TaskId>,
    /// How many more have to end.
    needed: usize,
    over: oneshot::Sender<()>,
}

impl Waits {
    pub(super) fn add(&mut self, ticket: u64, tasks: Vec<TaskId>, needed: usize) -> oneshot::Receiver<()> {
        let (over, receiver) = oneshot::channel();
        for task in &tasks {
            self.by_task.entry(task.clone()).or_default().push(ticket);
        }
        self.waits.insert(ticket, Waiting { tasks, needed, over });
        receiver
    }

    pub(super) fn ended(&mut self, task: &TaskId) {
        for ticket in self.by_task.remove(task).unwrap_or_default() {
            let Some(waiting) = self.waits.get_mut(&ticket) else { continue };
            waiting.needed -= 1;
            if waiting.needed == 0
                && let Some(waiting) = self.remove(ticket)
            {
                // A waiter that has gone needs no wake-up.
                let _ = waiting.send(());
            }
        }
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<oneshot::Sender<()>> {
        let waiting = self.waits.remove(&ticket)?;
        for task in &waiting.tasks {
            if let Some(tickets) = self.by_task.get_mut(task) {
                tickets.retain(|t| *t != ticket);
                if tickets.is_empty() {
                    self.by_task.remove(task);
                }
            }
        }
        Some(waiting.over)
    }
}
