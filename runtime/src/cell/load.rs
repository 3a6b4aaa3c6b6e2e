//! What a handler has open, by which it is known whether it needs its slot, and whether it can be parked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_broker::id::TaskId;
use callboard_broker::tasks::MAX_PARK;
use tokio::sync::Notify;

use super::slot::STUCK;

/// What a handler has open at the moment.
#[derive(Debug, Default)]
pub(crate) struct Load {
    waits: AtomicUsize,
    lines: AtomicUsize,
    calls: AtomicUsize,
    on: Mutex<On>,
    changed: Notify,
}

/// The tasks that a handler waits for, and how many times each.
#[derive(Debug, Default)]
struct On(HashMap<TaskId, (usize, bool)>);

impl On {
    fn tasks(&self) -> Vec<TaskId> {
        let mut tasks: Vec<TaskId> = self.0.keys().cloned().collect();
        tasks.sort();
        tasks
    }

    fn is_for_people(&self) -> bool {
        self.0.values().any(|(_, human)| *human)
    }
}

impl Load {
    /// A wait for a task, until the guard is dropped; whether a person is to do it.
    pub(crate) fn wait(self: &Arc<Self>, task: &TaskId, human: bool) -> Wait {
        let mut on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        on.0.entry(task.clone()).or_insert((0, human)).0 += 1;
        drop(on);
        Wait { load: self.clone(), task: task.clone(), _open: Open::new(self, |load| &load.waits) }
    }

    /// A wait in a line in which others stand, until the guard is dropped.
    pub(crate) fn line(self: &Arc<Self>) -> Open {
        Open::new(self, |load| &load.lines)
    }

    /// Any other call, until the guard is dropped.
    pub(crate) fn call(self: &Arc<Self>) -> Open {
        Open::new(self, |load| &load.calls)
    }

    /// Resolves when nothing is open but waits for tasks: what such a handler waits for may need another node.
    pub(crate) async fn until_only_waits(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.only_waits() {
                return;
            }
            changed.await;
        }
    }

    /// Resolves when nothing has been open but waits for tasks for `long`, and with what is waited for; at once when a
    /// person is among those.
    pub(crate) async fn until_parkable(&self, long: Duration) -> Vec<TaskId> {
        loop {
            self.until_only_waits().await;
            let changed = async {
                loop {
                    let mut changed = std::pin::pin!(self.changed.notified());
                    changed.as_mut().enable();
                    if !self.only_waits() || self.on.lock().unwrap_or_else(PoisonError::into_inner).is_for_people() {
                        return;
                    }
                    changed.await;
                }
            };
            // Waits that end and begin keep it at work: what it waits for does not take long.
            let _ = tokio::time::timeout(long, changed).await;
            let on = self.on.lock().unwrap_or_else(PoisonError::into_inner).tasks();
            if self.only_waits() && !on.is_empty() && on.len() <= MAX_PARK {
                return on;
            }
            tokio::time::sleep(STUCK).await;
        }
    }

    pub(super) fn only_waits(&self) -> bool {
        self.waits.load(Ordering::Acquire) > 0 && self.calls.load(Ordering::Acquire) == 0
    }

    /// Whether nothing is open but waits in lines.
    pub(super) fn only_stands_in_line(&self) -> bool {
        let open = |of: &AtomicUsize| of.load(Ordering::Acquire);
        open(&self.lines) > 0 && open(&self.waits) == 0 && open(&self.calls) == 0
    }
}

/// One open wait for a task.
pub(crate) struct Wait {
    load: Arc<Load>,
    task: TaskId,
    _open: Open,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut on = self.load.on.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((waits, _)) = on.0.get_mut(&self.task) {
            *waits -= 1;
            if *waits == 0 {
                on.0.remove(&self.task);
            }
        }
    }
}

/// One open call of a handler.
pub(crate) struct Open(Arc<Load>, fn(&Load) -> &AtomicUsize);

impl Open {
    fn new(load: &Arc<Load>, which: fn(&Load) -> &AtomicUsize) -> Self {
        which(load).fetch_add(1, Ordering::AcqRel);
        load.changed.notify_waiters();
        Self(load.clone(), which)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}
