//! Children that a handler no longer waits for.
//!
//! A delegation that is dropped while its handler goes on is cancelled. But a handler that gives up drops all that it
//! holds in the same breath, and whether it goes on is only known when it has returned: if its task is tried again, the
//! next attempt must find these children at work, or done, and not cancelled by the attempt before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callboard_broker::id::TaskId;
use callboard_broker::tasks::Tasks;

/// The dropped children of one request.
pub(crate) struct Orphans {
    tasks: Arc<dyn Tasks>,
    by: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the handler is being polled, so that it is not known yet how that ends.
    open: bool,
    children: Vec<TaskId>,
}

impl Orphans {
    /// None yet; those that come are cancelled in this agent's name.
    pub(crate) fn new(tasks: Arc<dyn Tasks>, agent: &str) -> Arc<Self> {
        Arc::new(Self { tasks, by: format!("{agent}, which no longer waits for it"), state: Mutex::default() })
    }

    /// One more.
    pub(crate) fn add(&self, child: TaskId) {
        let mut state = self.state();
        state.children.push(child);
        if !state.open {
            self.cancel(std::mem::take(&mut state.children));
        }
    }

    /// The handler is about to be polled.
    pub(crate) fn begin(&self) {
        self.state().open = true;
    }

    /// It was polled, and either goes on (or has done its work) or gives up.
    pub(crate) fn end(&self, goes_on: bool) {
        if goes_on {
            let mut state = self.state();
            state.open = false;
            self.cancel(std::mem::take(&mut state.children));
        }
    }

    /// The handler has given up for good.
    pub(crate) fn give_up(&self) {
        self.end(true);
    }

    fn cancel(&self, children: Vec<TaskId>) {
        // A drop cannot wait; each cancel is one write and outlives nothing.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for child in children {
            let (tasks, by) = (self.tasks.clone(), self.by.clone());
            runtime.spawn(async move { tasks.cancel(child, by).await });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
