//! The room for tasks: the contract, as transactions on the store.

use std::time::Duration;

use tokio::task::coop::consume_budget;

use super::Wing;
use super::store::{Kept, Store};
use crate::BoxFuture;
use crate::clock::millis;
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::queue::Want;
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Task};
use crate::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, LEASE, Lease, MAX_CLAIM, MAX_PAGE, Park, Recorded, Submitted,
    TaskFilter, TaskView, Tasks, Until,
};

/// Gives up a place among the parked when the future that waits in it is dropped.
struct Parked<'a> {
    wing: &'a Wing,
    leave: fn(&mut Store, u64),
    ticket: u64,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        (self.leave)(&mut self.wing.lock(), self.ticket);
    }
}

impl Tasks for Wing {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            // Inputs are written out before the lock is taken.
            let sized: Vec<(Result<usize>, Task)> = tasks.into_iter().map(|task| (facts::admit(&task), task)).collect();
            self.with(|store, now| {
                sized.into_iter().map(|(size, task)| size.and_then(|bytes| store.submit(task, bytes, now))).collect()
            })
        })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async move {
            // Nothing else makes a worker whose tasks are always there step aside for its neighbours.
            consume_budget().await;
            let want = Want {
                capability: claim.capability,
                slots: claim.slots.clamp(1, MAX_CLAIM),
                bulk: claim.bulk,
                node: claim.node,
                declined: claim.declined,
                lease: millis(LEASE),
                serving: claim.serving,
            };
            let parked = self.with(|store, now| {
                let leases = store.claim(&want, now);
                if leases.is_empty() {
                    Err(store.park(want, now.saturating_add(millis(claim.wait))))
                } else {
                    Ok(leases)
                }
            });
            let (ticket, handover) = match parked {
                Ok(leases) => return Ok(leases),
                Err(parked) => parked,
            };
            let _parked = Parked { wing: self, leave: Store::unpark, ticket };
            if claim.wait.is_zero() {
                self.with(|_, _| ());
            }
            match handover.await {
                Ok(handover) => Ok(handover.accept()),
                Err(_) => Err(Error::unavailable("the memory store was closed")),
            }
        })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move { self.with(|store, now| fences.iter().map(|fence| store.extend(fence, now)).collect()) })
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async move {
            let sized = |child: Child| facts::admit(child.task()).map(|bytes| (child, bytes));
            let sized = children.into_iter().map(sized).collect::<Result<_>>()?;
            self.with(|store, now| store.append(fence, entries, sized, now))
        })
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.with(|store, now| store.release(back, now)) })
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.with(|store, now| store.park_task(park, now)) })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move { self.with(|store, now| turns.into_iter().map(|turn| store.finish(turn, now)).collect()) })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(async move { self.with(|store, now| store.conclude(outcome, now)) })
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(async move { self.with(|store, now| store.cancel(&task, &by, now)) })
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move { self.with(|store, now| store.retry(&task, now)) })
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let (ticket, over) = match self.with(|store, _| store.wait(&tasks, until)) {
                Ok(waiting) => waiting,
                Err(found) => return Ok(found),
            };
            let _parked = Parked { wing: self, leave: Store::unwait, ticket };
            // Over or not, what is there by then is the answer.
            let _ = tokio::time::timeout(wait, over).await;
            self.with(|store, _| Ok(store.waited(ticket, &tasks)))
        })
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(async move {
            self.with(|store, _| Ok(tasks.iter().map(|id| store.tasks.get(id).map(|kept| store.view(kept))).collect()))
        })
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            self.with(|store, _| match store.tasks.get(&task) {
                Some(kept) => Ok(kept.log.clone()),
                None => Err(Error::not_found(format!("task {task}"))),
            })
        })
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(async move { self.with(|store, _| Ok(page(store, &filter))) })
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        Box::pin(async move { self.with(|store, _| Ok(store.queue.depth())) })
    }
}

/// The narrowest set that the filter names, in order, and of it what passes.
fn page(store: &Store, filter: &TaskFilter) -> Vec<TaskView> {
    let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
    let narrow = match (&filter.parent, &filter.run) {
        (Some(parent), _) => Some(store.tasks.get(parent).map_or(&[][..], |kept| &kept.children)),
        (None, Some(run)) => Some(store.runs.tasks(run)),
        (None, None) => None,
    };
    let ids: Box<dyn DoubleEndedIterator<Item = &TaskId>> = match (narrow, filter.after) {
        (Some(ids), _) => Box::new(ids.iter()),
        (None, Some(after)) if filter.newest_first => Box::new(store.order.range(..after).map(|(_, id)| id)),
        (None, Some(after)) => Box::new(store.order.range(after.saturating_add(1)..).map(|(_, id)| id)),
        (None, None) => Box::new(store.order.values()),
    };
    let ids: Box<dyn Iterator<Item = &TaskId>> = if filter.newest_first { Box::new(ids.rev()) } else { Box::new(ids) };
    let views = ids.filter_map(|id| store.tasks.get(id)).filter(|kept| passes(filter, kept));
    let views = views.map(|kept| store.view(kept));
    views.filter(|view| filter.status.is_empty() || filter.status.contains(&view.status)).take(limit).collect()
}

fn passes(filter: &TaskFilter, kept: &Kept) -> bool {
    let task = &kept.task;
    let beyond = |after: u64| if filter.newest_first { kept.seq < after } else { kept.seq > after };
    filter.run.as_ref().is_none_or(|run| task.run == *run)
        && filter.parent.as_ref().is_none_or(|parent| task.parent.as_ref() == Some(parent))
        && filter.capability.as_ref().is_none_or(|capability| task.capability == *capability)
        && (!filter.roots || task.parent.is_none())
        && filter.suffix.as_ref().is_none_or(|suffix| task.id.as_str().ends_with(suffix.as_str()))
        && filter.after.is_none_or(beyond)
}
