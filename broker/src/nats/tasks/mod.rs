//! The tasks of the wing: one message in a work queue and a log of records for each.
//!
//! The queue says only that a task is there to be taken; what is true of it is in its log, and every append to that
//! names the record that it follows. So two workers that both have the message cannot both go on, whatever the queue
//! did, and a write whose answer was lost is looked up by its mark and never guessed.
//!
//! | file | holds |
//! |---|---|
//! | `room` | what the calls share: reading stories, appending, marks |
//! | `submit`, `entry` | storing tasks; queue messages, also those put in by hand |
//! | `desk`, `line`, `pull`, `prepare`, `handover` | claims: who waits, what is pulled for them, what becomes of it |
//! | `held`, `keeper`, `deadlines` | the claims of this process; lapses, delays and deadlines |
//! | `turn`, `children` | the writes of an attempt |
//! | `park`, `join` | laying a task aside until others have ended, and waking it |
//! | `end` | outcomes that no attempt writes: cancelled, expired, too many claims; retries |
//! | `versions` | tasks that no claimer here may take, because another version began them |
//! | `takeover` | going on with what a node held that is gone |
//! | `hub`, `wait` | hints, and waiting for outcomes |
//! | `look` | views for people |

mod children;
mod deadlines;
mod desk;
mod end;
mod entry;
mod handover;
mod held;
mod hub;
mod join;
mod keeper;
mod line;
mod look;
mod park;
mod prepare;
mod pull;
mod room;
mod submit;
mod takeover;
mod turn;
mod versions;
mod wait;

use std::time::Duration;

pub(crate) use room::TaskRoom;
pub(super) use takeover::FRESH;

use crate::BoxFuture;
use crate::error::Result;
use crate::id::TaskId;
use crate::nats::dead::{Fate, Retries};
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Task};
use crate::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};

impl Tasks for TaskRoom {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(self.0.submit(tasks))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(self.0.claim(claim))
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(self.0.extend(fences))
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(self.0.append(fence, entries, children))
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.0.release(back))
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.0.park(park))
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(self.0.finish_all(turns))
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(self.0.conclude(outcome))
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(self.0.cancel(task, by))
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.0.retry(task))
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(self.0.wait(tasks, until, wait))
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(self.0.get(tasks))
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.0.log(task))
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(self.0.list(filter))
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        Box::pin(self.0.depth())
    }
}

impl Retries for TaskRoom {
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.0.retry(task))
    }

    fn fates(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Fate>>> {
        Box::pin(self.0.fates(tasks))
    }
}
