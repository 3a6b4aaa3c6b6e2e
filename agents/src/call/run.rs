use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::task::Outcome;
use callboard_broker::tasks::{Tasks, Until};

use super::Reply;
use crate::Payload;
use crate::host::Host;

/// How long one wait for an outcome lasts before it is asked again.
const WAIT: Duration = Duration::from_secs(60);

/// What a [`Run`] needs from whoever keeps its task.
pub trait Follow: Send + Sync + 'static {
    /// Waits until the task has ended.
    fn outcome(&self, task: TaskId) -> BoxFuture<'_, Result<Outcome>>;

    /// Cancels the task and all that it delegated.
    fn cancel(&self, task: TaskId, why: String) -> BoxFuture<'_, Result<()>>;
}

/// A durable task that somebody is doing. Cheap to clone.
///
/// # Cancellation
/// Dropping the handle cancels nothing, and another process may attach to the same task.
pub struct Run<Res> {
    of: Arc<dyn Follow>,
    task: TaskId,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Run<Res> {
    /// The task `task`, kept by `of`.
    pub fn over(of: Arc<dyn Follow>, task: TaskId) -> Self {
        Self { of, task, types: PhantomData }
    }

    /// The task `task` of a broker.
    pub fn of_tasks(tasks: Arc<dyn Tasks>, task: TaskId) -> Self {
        Self::over(Arc::new(Kept(tasks)), task)
    }

    pub(super) fn of_child(host: Arc<dyn Host>, child: TaskId) -> Self {
        Self::over(Arc::new(Child(host)), child)
    }

    /// The task's id; for the root of a run also the run's.
    pub fn id(&self) -> &str {
        self.task.as_str()
    }

    /// Waits for the response.
    ///
    /// # Errors
    /// What the task ended with, unless it was completed; `Decode`.
    pub async fn outcome(&self) -> Result<Res> {
        Ok(self.reply().await?.value)
    }

    /// Waits for the response and says how it came about.
    pub async fn reply(&self) -> Result<Reply<Res>> {
        Reply::of(self.of.outcome(self.task.clone()).await?)
    }

    /// Cancels the task and all that it delegated. What had ended before stands.
    pub async fn cancel(&self, why: &str) -> Result<()> {
        self.of.cancel(self.task.clone(), why.into()).await
    }
}

impl<Res> Clone for Run<Res> {
    fn clone(&self) -> Self {
        Self { of: self.of.clone(), task: self.task.clone(), types: PhantomData }
    }
}

impl<Res> fmt::Debug for Run<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({})", self.task)
    }
}

struct Kept(Arc<dyn Tasks>);

impl Follow for Kept {
    fn outcome(&self, task: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            loop {
                if let Some(outcome) = self.0.wait(vec![task.clone()], Until::All, WAIT).await?.pop() {
                    return Ok(outcome);
                }
            }
        })
    }

    fn cancel(&self, task: TaskId, why: String) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.0.cancel(task, why).await.map(drop) })
    }
}

struct Child(Arc<dyn Host>);

impl Follow for Child {
    fn outcome(&self, task: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        self.0.outcome(task)
    }

    fn cancel(&self, task: TaskId, _why: String) -> BoxFuture<'_, Result<()>> {
        self.0.abandon(task);
        Box::pin(async { Ok::<(), Error>(()) })
    }
}
