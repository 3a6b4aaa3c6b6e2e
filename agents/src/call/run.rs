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

#[cfg(test)]
mod tests {
    use callboard_broker::clock::Clock;
    use callboard_broker::id::{NodeName, RunId};
    use callboard_broker::memory;
    use callboard_broker::payload::Payload as Body;
    use callboard_broker::subject::CapabilityName;
    use callboard_broker::task::{Status, Task};
    use callboard_broker::tasks::{Claim, Finish};

    use super::*;

    async fn submitted() -> (Arc<dyn Tasks>, Run<u32>) {
        let tasks = memory::open(memory::Options::default()).tasks;
        let capability = CapabilityName::parse("text.count").unwrap();
        let task = Task::root(RunId::parse("r1").unwrap(), capability, Body::null(), Clock::system().now());
        let run = Run::of_tasks(tasks.clone(), task.id.clone());
        tasks.submit(vec![task]).await.remove(0).unwrap();
        (tasks, run)
    }

    #[tokio::test]
    async fn a_run_waits_for_its_response_however_many_handles_come_and_go() {
        let (tasks, run) = submitted().await;
        drop(run.clone());
        assert_eq!(run.id(), "r1");
        let work = async {
            let (capability, node) = (CapabilityName::parse("text.count").unwrap(), NodeName::parse("n").unwrap());
            let claim = Claim { capability, slots: 1, bulk: 1, node, wait: WAIT, declined: Vec::new(), serving: None };
            let lease = tasks.claim(claim).await.unwrap().remove(0);
            let outcome = Outcome {
                output: Body::of(4_u32),
                attempt: 1,
                agent: Some("counter".into()),
                started_at: Some(100),
                ..Outcome::of(&lease.task, Status::Completed, None, 350)
            };
            let finish = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
            tasks.finish(vec![finish]).await.remove(0).unwrap();
        };
        let (reply, ()) = tokio::join!(run.reply(), work);
        let reply = reply.unwrap();
        assert_eq!((reply.value, reply.agent.as_str(), reply.attempt), (4, "counter", 1));
        assert_eq!(reply.took, Duration::from_millis(250));
        assert_eq!(run.outcome().await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_cancelled_run_says_who_and_why() {
        let (_tasks, run) = submitted().await;
        run.cancel("the budget is used up").await.unwrap();
        assert!(matches!(run.outcome().await, Err(Error::Cancelled { by }) if by.contains("budget")));
    }
}
