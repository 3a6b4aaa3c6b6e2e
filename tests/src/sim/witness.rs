//! A wing that tells what it did: between the lines of all nodes and the wing itself, so it sees what was acknowledged
//! and not what was heard of it.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::Result;
use callboard_broker::id::TaskId;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Task};
use callboard_broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};
use callboard_broker::{BoxFuture, Broker};

use super::ledger::Ledger;
use crate::contract::invariants::Seen;

/// The same broker, whose tasks tell the ledger.
pub fn watched(broker: Broker, ledger: &Ledger) -> Broker {
    let tasks = Arc::new(Witness { inner: broker.tasks, ledger: ledger.clone() });
    Broker { tasks, ..broker }
}

struct Witness {
    inner: Arc<dyn Tasks>,
    ledger: Ledger,
}

impl Witness {
    fn wrote(&self, fence: &Fence, kinds: Vec<&'static str>) {
        self.ledger.saw(Seen::Wrote { task: fence.task.clone(), lease: fence.lease, kinds });
    }
}

impl Tasks for Witness {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
            let answers = self.inner.submit(tasks).await;
            for (id, answer) in ids.into_iter().zip(&answers) {
                if answer.is_ok() {
                    self.ledger.saw(Seen::Accepted { task: id });
                }
            }
            answers
        })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async move {
            let node = claim.node.clone();
            let leases = self.inner.claim(claim).await?;
            for lease in &leases {
                let (task, number) = (lease.task.id.clone(), lease.fence.lease);
                self.ledger.say(format!("attempt {} on {node}", lease.attempt));
                self.ledger.saw(Seen::Claimed { task, lease: number });
            }
            Ok(leases)
        })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.extend(fences)
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async move {
            let kinds = entries.iter().map(Entry::kind).collect();
            let born: Vec<_> = children.iter().map(|child| child.task().id.clone()).collect();
            let answer = self.inner.append(fence.clone(), entries, children).await?;
            self.wrote(&fence, kinds);
            born.into_iter().for_each(|task| self.ledger.saw(Seen::Accepted { task }));
            Ok(answer)
        })
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let fence = back.fence.clone();
            self.inner.release(back).await?;
            self.wrote(&fence, vec!["released"]);
            Ok(())
        })
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let fence = park.fence.clone();
            self.inner.park(park).await?;
            self.wrote(&fence, vec!["parked"]);
            Ok(())
        })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move {
            let answers = self.inner.finish(turns.clone()).await;
            for (turn, answer) in turns.into_iter().zip(&answers) {
                // One that comes again was seen before, perhaps before a cancel.
                if matches!(answer, Ok(Recorded::New)) {
                    let lease = Some(turn.fence.lease);
                    self.ledger.saw(Seen::Ended {
                        outcome: Box::new(turn.outcome),
                        lease,
                        is_dead: turn.dead.is_some(),
                    });
                }
            }
            answers
        })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(async move {
            let answer = self.inner.conclude(outcome.clone()).await?;
            self.ledger.saw(Seen::Ended { outcome: Box::new(outcome), lease: None, is_dead: false });
            Ok(answer)
        })
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(async move {
            let cancelled = self.inner.cancel(task, by).await?;
            self.ledger.saw(Seen::Cancelled { tasks: cancelled.clone() });
            Ok(cancelled)
        })
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            let next = self.inner.retry(task).await?;
            self.ledger.saw(Seen::Accepted { task: next.clone() });
            Ok(next)
        })
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        self.inner.wait(tasks, until, wait)
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        self.inner.get(tasks)
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.inner.log(task)
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        self.inner.list(filter)
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        self.inner.depth()
    }
}
