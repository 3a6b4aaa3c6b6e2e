//! The room for tasks: each method of the contract is one command for the writer, or one look beside it.

use std::sync::Arc;
use std::time::Duration;

use super::job::Cost;
use super::store::Store;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Task};
use crate::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};

mod attempt;
mod bodies;
mod cancel;
mod claim;
mod conclude;
mod end;
mod handout;
mod mirror;
mod park;
mod read;
mod rows;
mod submit;
mod view;
mod void;
mod wait;

pub(super) use cancel::retry;
use claim::Claimed;
pub(super) use claim::{feed, pass_time};
pub(super) use mirror::{Handed, Mirror};
pub(super) use read::outcomes;
pub(super) use rows::{SCANS, json, stand_somewhere};
pub(super) use void::void_claims;
pub(super) use wait::Waiters;

/// Roughly what a row takes beside its body.
const ROW: usize = 256;

/// Roughly what an id takes.
const ID: usize = 80;

/// The room.
pub(super) struct TaskRoom(pub(super) Arc<Store>);

/// About what a task takes. Its input is written out here, on the caller's side.
fn size_of(task: &Task) -> usize {
    task.input.json().map_or(0, str::len) + task.description.as_ref().map_or(0, String::len) + 2 * ROW
}

fn size_of_entry(entry: &Entry) -> usize {
    match entry {
        Entry::Step { value, .. } | Entry::Effect { value, .. } => value.json().map_or(0, str::len) + ROW,
        _ => ROW,
    }
}

fn size_of_turn(turn: &Finish) -> usize {
    let output = turn.outcome.output.json().map_or(0, str::len);
    output + turn.entries.iter().map(size_of_entry).sum::<usize>() + 2 * ROW
}

/// One answer for each of `count` items that went in together.
pub(super) fn each<T>(count: usize, answer: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    answer.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
}

impl Tasks for TaskRoom {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        let count = tasks.len();
        let edge = tasks.iter().any(|task| task.parent.is_none());
        let bytes = tasks.iter().map(size_of).sum();
        let answer = self.0.writer.call(Cost::write(bytes).at_edge(edge), move |turn| {
            tasks.iter().map(|task| submit::submit(turn, task)).collect()
        });
        Box::pin(async move { each(count, answer.await) })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        let claimed = self.0.writer.call(Cost::write(ROW), move |turn| claim::claim(turn, &claim));
        Box::pin(async move {
            match claimed.await? {
                Claimed::Now(handout) => Ok(handout.take()),
                Claimed::Parked(parked) => match parked.wait().await {
                    Some(handout) => Ok(handout.take()),
                    None => Err(Error::unavailable("the store was closed")),
                },
            }
        })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        let count = fences.len();
        let answer = self.0.writer.call_of_holder(Cost::touch(), move |turn| {
            fences.iter().map(|fence| attempt::extend(turn, fence)).collect()
        });
        Box::pin(async move { each(count, answer.await) })
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        let bytes = entries.iter().map(size_of_entry).sum::<usize>()
            + children.iter().map(|child| size_of(child.task())).sum::<usize>();
        let answer =
            self.0.writer.call(Cost::write(bytes), move |turn| attempt::append(turn, &fence, &entries, &children));
        Box::pin(async move { answer.await? })
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        let answer = self.0.writer.call_of_holder(Cost::write(ROW), move |turn| attempt::release(turn, &back));
        Box::pin(async move { answer.await? })
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        let bytes = ROW + park.on.len() * ID;
        let answer = self.0.writer.call_of_holder(Cost::write(bytes), move |turn| park::park(turn, &park));
        Box::pin(async move { answer.await? })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        let count = turns.len();
        let edge = turns.iter().any(|turn| turn.outcome.parent.is_none());
        let bytes = turns.iter().map(size_of_turn).sum();
        let answer = self.0.writer.call(Cost::write(bytes).at_edge(edge), move |turn| {
            turns.iter().map(|last| attempt::finish(turn, last)).collect()
        });
        Box::pin(async move { each(count, answer.await) })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        let bytes = outcome.output.json().map_or(0, str::len) + 2 * ROW;
        let answer =
            self.0.writer.call(Cost::write(bytes).at_edge(true), move |turn| conclude::conclude(turn, &outcome));
        Box::pin(async move { answer.await? })
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        let answer = self.0.writer.call(Cost::write(ROW).at_edge(true), move |turn| cancel::cancel(turn, &task, &by));
        Box::pin(async move { answer.await? })
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        let answer = self.0.writer.call(Cost::write(ROW).at_edge(true), move |turn| cancel::retry(turn, &task));
        Box::pin(async move { answer.await? })
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(self.0.view.wait(tasks, until, wait))
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(self.0.view.get(tasks))
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.0.view.log(task))
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(self.0.view.list(filter))
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        // Asked of the writer, whose mirror knows, and who does what is due before.
        Box::pin(self.0.writer.call(Cost::touch(), |turn| Ok(turn.core.tasks.queue.depth())))
    }
}
