//! Bugs that a simulation has to find: a wing that breaks one promise, and only now and then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Task};
use callboard_broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};
use callboard_broker::{BoxFuture, Broker};

/// What a wing does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sin {
    /// Lets attempts write that were replaced.
    NoFence,
    /// Acknowledges an outcome a moment before it records it, and every fourth time dies in between.
    EarlyAnswer,
    /// Forgets what every other parked task waits for.
    LostWakeUp,
    /// Does not record the intent of an effect.
    NoIntent,
    /// Puts the outcome of an attempt that was replaced over the one that is there.
    Overwritten,
}

/// The wing, with a sin.
pub fn commit(broker: Broker, sin: Option<Sin>) -> Broker {
    let Some(sin) = sin else { return broker };
    let sinful =
        Sinful { sin, inner: broker.tasks, count: AtomicU64::new(0), held: Mutex::default(), forged: Mutex::default() };
    Broker { tasks: Arc::new(sinful), ..broker }
}

struct Sinful {
    sin: Sin,
    inner: Arc<dyn Tasks>,
    count: AtomicU64,
    /// The newest proof for each task that was claimed.
    held: Mutex<BTreeMap<TaskId, Fence>>,
    forged: Mutex<BTreeMap<TaskId, Outcome>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sinful {
    fn sins(&self, sin: Sin, every: u64) -> bool {
        self.sin == sin && self.count.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }

    fn forge(&self, mut view: TaskView) -> TaskView {
        if let Some(outcome) = lock(&self.forged).get(&view.task.id) {
            (view.status, view.outcome, view.node) = (outcome.status, Some(outcome.clone()), None);
        }
        view
    }

    async fn end(&self, turn: Finish) -> Result<Recorded> {
        if self.sin == Sin::EarlyAnswer {
            let (inner, dies) = (self.inner.clone(), self.sins(Sin::EarlyAnswer, 4));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if !dies {
                    inner.finish(vec![turn]).await;
                }
            });
            return Ok(Recorded::New);
        }
        let outcome = turn.outcome.clone();
        match self.inner.finish(vec![turn]).await.remove(0) {
            Err(Error::Replaced | Error::Cancelled { .. }) if self.sin == Sin::Overwritten => {
                lock(&self.forged).insert(outcome.task.clone(), outcome);
                Ok(Recorded::New)
            }
            answer => answer,
        }
    }
}

impl Tasks for Sinful {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async move {
            let leases = self.inner.claim(claim).await?;
            lock(&self.held).extend(leases.iter().map(|lease| (lease.task.id.clone(), lease.fence.clone())));
            Ok(leases)
        })
    }

    fn append(&self, fence: Fence, mut entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async move {
            if self.sin == Sin::NoIntent {
                entries.retain(|entry| !matches!(entry, Entry::Intent { .. }));
                if entries.is_empty() && children.is_empty() {
                    return Ok(fence);
                }
            }
            let mut answer = self.inner.append(fence.clone(), entries.clone(), children.clone()).await;
            let newest = lock(&self.held).get(&fence.task).cloned();
            if let (Err(Error::Replaced), Some(newest), Sin::NoFence) = (&answer, newest, self.sin) {
                answer = self.inner.append(newest, entries, children).await;
            }
            if let Ok(next) = &answer {
                lock(&self.held).insert(next.task.clone(), next.clone());
            }
            answer
        })
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        let on = match self.sins(Sin::LostWakeUp, 2) {
            true => RunId::parse("nobody").iter().map(TaskId::root).collect(),
            false => park.on,
        };
        self.inner.park(Park { on, ..park })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for turn in turns {
                answers.push(self.end(turn).await);
            }
            answers
        })
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(async move {
            let views = self.inner.get(tasks).await?;
            Ok(views.into_iter().map(|view| view.map(|view| self.forge(view))).collect())
        })
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(async move { Ok(self.inner.list(filter).await?.into_iter().map(|view| self.forge(view)).collect()) })
    }

    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        self.inner.submit(tasks)
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.extend(fences)
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        self.inner.release(back)
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        self.inner.conclude(outcome)
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        self.inner.cancel(task, by)
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        self.inner.retry(task)
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        self.inner.wait(tasks, until, wait)
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.inner.log(task)
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        self.inner.depth()
    }
}
