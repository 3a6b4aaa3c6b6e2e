//! Tasks over a bad line. Every write may arrive twice: an id, a fence or an outcome makes the second one nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Line;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Task};
use crate::tasks::{
    self, Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Until,
};

pub(super) struct Tasks {
    pub(super) inner: Arc<dyn tasks::Tasks>,
    pub(super) line: Line,
}

/// The lease behind the line. Where nothing can be lost it is left as it is.
fn overheard(lease: Lease, line: &Line) -> Lease {
    if line.faults.lost_answers == 0 {
        return lease;
    }
    let (tell, told) = watch::channel(None);
    let (mut heard, line) = (lease.revoked.clone(), line.clone());
    tokio::spawn(async move {
        let why = tokio::select! {
            biased;
            why = heard.wait_for(Option::is_some) => why.map(|why| *why),
            () = tell.closed() => return,
        };
        match why {
            Ok(_) if line.loses(line.faults.lost_answers) => tell.closed().await,
            Ok(why) => drop(tell.send_replace(why)),
            // The attempt has ended, or the store has gone.
            Err(_) => {}
        }
    });
    Lease { revoked: told, ..lease }
}

impl tasks::Tasks for Tasks {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            self.line.write_each("a submission", tasks.len(), true, || self.inner.submit(tasks.clone())).await
        })
    }

    /// An answer that is lost takes its claims along: they hold until they lapse. Nothing delays one that was given,
    /// because whoever drops a claim has to get back what is in it. That a claim holds no longer may never be told.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async move {
            self.line.travel().await;
            if self.line.loses(self.line.faults.lost_requests) {
                return Err(Error::unavailable("no answer came"));
            }
            let leases = self.inner.claim(claim).await?;
            if !leases.is_empty() && self.line.loses(self.line.faults.lost_answers) {
                return Err(Error::unavailable("no answer came"));
            }
            Ok(leases.into_iter().map(|lease| overheard(lease, &self.line)).collect())
        })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move {
            self.line.write_each("a sign of life", fences.len(), true, || self.inner.extend(fences.clone())).await
        })
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async move {
            let append = || self.inner.append(fence.clone(), entries.clone(), children.clone());
            self.line.write("a record", true, append).await?
        })
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.line.write("a release", true, || self.inner.release(back.clone())).await? })
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.line.write("a park", true, || self.inner.park(park.clone())).await? })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move {
            self.line.write_each("an outcome", turns.len(), true, || self.inner.finish(turns.clone())).await
        })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(async move { self.line.write("an outcome", true, || self.inner.conclude(outcome.clone())).await? })
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(
            async move { self.line.write("a cancel", true, || self.inner.cancel(task.clone(), by.clone())).await? },
        )
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move { self.line.write("a retry", true, || self.inner.retry(task.clone())).await? })
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(self.line.read(self.inner.wait(tasks, until, wait)))
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(self.line.read(self.inner.get(tasks)))
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.line.read(self.inner.log(task)))
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(self.line.read(self.inner.list(filter)))
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        Box::pin(self.line.read(self.inner.depth()))
    }
}
