//! The rooms of a store that another process owns.

use std::sync::Arc;
use std::time::Duration;

use super::attach::{Attached, Inner, unexpected};
use super::door::{Answer, Ask, Reply};
use super::tasks::each;
use super::{lock, state};
use crate::dead_letter::{DeadLetter, DeadLetters, Reason};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::events::{EventFilter, EventStream, Events};
use crate::id::TaskId;
use crate::memory::mailroom::Mailroom;
use crate::messages::{DeadMessages, Message};
use crate::state::{Change, Key, Moment, Put, StateEntry, States, Watch, Write};
use crate::subject::CapabilityName;
use crate::task::{Entry, Outcome, Record, Status, Task};
use crate::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};
use crate::{BoxFuture, Broker};

/// The rooms as a broker.
pub(super) fn broker(attached: &Attached) -> Broker {
    let inner = attached.inner.clone();
    let about = format!("sqlite {} (owned by another process)", inner.remote.path.display());
    Broker {
        messages: Arc::new(Mailroom::new(Arc::new(Nobody))),
        clock: inner.remote.options.clock.clone(),
        tasks: inner.clone(),
        states: inner.clone(),
        events: inner.clone(),
        dead: inner,
        blobs: None,
        about: about.into(),
    }
}

/// Messages of this process are no affair of the store's owner.
#[derive(Debug)]
struct Nobody;

impl DeadMessages for Nobody {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        tracing::debug!(to = %message.to, reason = reason.as_str(), why, "a message came to nothing");
    }
}

impl Inner {
    /// Asks the owner, and takes out of the reply what was asked for.
    async fn get<T>(&self, ask: Ask, take: impl FnOnce(Reply) -> Result<T, Reply>) -> Result<T> {
        take(self.remote.ask(ask).await?).map_err(|other| unexpected(&other))
    }

    fn refused<T>(&self, what: &str) -> Result<T> {
        let who = format!("a process that does not own {}", self.remote.path.display());
        Err(Error::Denied { who: who.into(), what: what.into() })
    }

    /// What the file says is in progress is not when nobody is there to do it.
    fn as_it_is(&self, views: &mut [&mut TaskView]) -> Result<()> {
        if views.iter().any(|view| view.status == Status::InProgress) && lock::owner(&self.remote.path)?.is_none() {
            for view in views.iter_mut().filter(|view| view.status == Status::InProgress) {
                (view.status, view.node, view.started_at) = (Status::Pending, None, None);
            }
        }
        Ok(())
    }
}

impl Tasks for Inner {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            let count = tasks.len();
            let answer = self.get(Ask::Submit(tasks), |reply| match reply {
                Reply::Submitted(each) => Ok(each.into_iter().map(Answer::into_result).collect()),
                other => Err(other),
            });
            each(count, answer.await)
        })
    }

    fn claim(&self, _: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async { self.refused("claim tasks") })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move { fences.iter().map(|_| self.refused("hold tasks")).collect() })
    }

    fn append(&self, _: Fence, _: Vec<Entry>, _: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async { self.refused("append to tasks") })
    }

    fn release(&self, _: GiveBack) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.refused("release tasks") })
    }

    fn park(&self, _: Park) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.refused("park tasks") })
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move { turns.iter().map(|_| self.refused("finish tasks")).collect() })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(self.get(Ask::Conclude(Box::new(outcome)), |reply| match reply {
            Reply::Concluded(recorded) => Ok(recorded.into()),
            other => Err(other),
        }))
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(self.get(Ask::Cancel { task, by }, |reply| match reply {
            Reply::Tasks(tasks) => Ok(tasks),
            other => Err(other),
        }))
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.get(Ask::Retry(task), task_of))
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(self.view.wait(tasks, until, wait))
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(async move {
            let mut views = self.view.get(tasks).await?;
            self.as_it_is(&mut views.iter_mut().flatten().collect::<Vec<_>>())?;
            Ok(views)
        })
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.view.log(task))
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(async move {
            let mut views = self.view.list(filter).await?;
            self.as_it_is(&mut views.iter_mut().collect::<Vec<_>>())?;
            Ok(views)
        })
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        Box::pin(self.view.depth())
    }
}

fn task_of(reply: Reply) -> Result<TaskId, Reply> {
    match reply {
        Reply::Task(task) => Ok(task),
        other => Err(other),
    }
}

impl States for Inner {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        Box::pin(self.view.get_state(keys))
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.view.list_state(prefix))
    }

    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let count = writes.len();
            let writes = writes.into_iter().map(Into::into).collect();
            let answer = self.get(Ask::Put(writes), |reply| match reply {
                Reply::Put(each) => Ok(each.into_iter().map(Answer::into_result).collect()),
                other => Err(other),
            });
            state::or_unknown(each(count, answer.await))
        })
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move { Ok(Box::new(self.view.watch_state(prefix).await?) as Box<dyn Watch>) })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        Box::pin(self.view.history(key))
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        Box::pin(self.view.state_at(moment, prefix))
    }
}

impl Events for Inner {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        Box::pin(async move {
            let count = facts.len();
            let answer = self.get(Ask::Publish(facts), |reply| match reply {
                Reply::Published(each) => Ok(each.into_iter().map(Answer::into_result).collect()),
                other => Err(other),
            });
            each(count, answer.await)
        })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(self.view.read_events(filter, from, limit))
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.view.last_event())
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        let stream: Box<dyn EventStream> = Box::new(self.view.follow_events(filter, from));
        Box::pin(async move { Ok(stream) })
    }
}

impl DeadLetters for Inner {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(self.view.dead_letters(after, limit))
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        Box::pin(self.view.dead_letter(seq))
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.get(Ask::RetryDead(seq), task_of))
    }

    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.get(Ask::PurgeDead(seq), |reply| match reply {
            Reply::Count(count) => Ok(count),
            other => Err(other),
        }))
    }
}
