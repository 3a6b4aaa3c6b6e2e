//! Children that a handler no longer waits for.
//!
//! A delegation that is dropped while its handler goes on is cancelled. But a handler that gives up drops all that it
//! holds in the same breath, and whether it goes on is only known when it has returned: if its task is tried again, the
//! next attempt must find these children at work, or done, and not cancelled by the attempt before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callboard_broker::error::{Class, Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::tasks::Tasks;
use tokio::time::{Instant, sleep};

/// Wait before the second try; doubled for each further one.
const WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a cancel is tried while the store does not take it. After that the child ends by its own deadline, which a
/// store that is away cannot tell.
const PATIENCE: Duration = Duration::from_secs(3600);

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
        // A drop cannot wait.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for child in children {
            let (tasks, by) = (self.tasks.clone(), self.by.clone());
            runtime.spawn(async move {
                match cancel(tasks, &child, &by).await {
                    // What is not there, or no longer, has nothing to stop.
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    Err(error) => {
                        tracing::warn!(%error, task = %child, "a task that nobody waits for was not cancelled");
                    }
                }
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels one. A store that is away, busy or full is waited for, unless everybody else has let go of it.
async fn cancel(tasks: Arc<dyn Tasks>, child: &TaskId, by: &str) -> Result<()> {
    let (until, mut wait, mut held) = (Instant::now() + PATIENCE, WAIT, Some(tasks));
    while let Some(tasks) = held {
        match tasks.cancel(child.clone(), by.to_owned()).await {
            Err(error) if is_passing(&error) && Instant::now() + wait < until => {}
            done => return done.map(drop),
        }
        let store: Weak<dyn Tasks> = Arc::downgrade(&tasks);
        drop(tasks);
        sleep(wait).await;
        (held, wait) = (store.upgrade(), (wait * 2).min(WAIT_MAX));
    }
    Err(Error::unavailable("the store was closed"))
}

fn is_passing(error: &Error) -> bool {
    matches!(error.class(), Class::Transient | Class::RateLimited)
}
