//! What a store has acknowledged, in a file beside it: a line for each promise, written before the caller goes on.
//!
//! The lines of a process that is aborted stay, for they are the system's as soon as they are written.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::Result;
use callboard_broker::event::{Event, NewEvent};
use callboard_broker::events::{self, EventFilter, EventStream};
use callboard_broker::id::TaskId;
use callboard_broker::state::{self, Change, Key, Moment, Put, StateEntry, Watch, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Task};
use callboard_broker::tasks::{
    self, Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Until,
};
use callboard_broker::{BoxFuture, Broker};
use serde::{Deserialize, Serialize};

/// One thing that a caller was told.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// The task is stored.
    Stored(TaskId),
    /// Its log has so many records, or more.
    Logged(TaskId, u64),
    /// It has ended, and how.
    Ended(TaskId, String),
    /// The key has had this version.
    Written(Key, u64),
    /// There is an event of this number and type.
    Happened(u64, String),
}

/// Where the notes on a store are.
pub fn beside(store: &Path) -> PathBuf {
    store.with_extension("told")
}

/// All notes on a store.
pub fn of(store: &Path) -> Vec<Note> {
    let lines = std::fs::read_to_string(beside(store)).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same broker, with notes.
pub(super) fn keep(broker: Broker, store: &Path) -> Broker {
    let file = File::options().create(true).append(true).open(beside(store)).unwrap();
    let notes = Notes(Arc::new(file));
    Broker {
        tasks: Arc::new(Noted { inner: broker.tasks, notes: notes.clone() }),
        states: Arc::new(Noted { inner: broker.states, notes: notes.clone() }),
        events: Arc::new(Noted { inner: broker.events, notes }),
        ..broker
    }
}

#[derive(Clone)]
struct Notes(Arc<File>);

impl Notes {
    fn take(&self, note: &Note) {
        let line = format!("{}\n", serde_json::to_string(note).unwrap());
        (&*self.0).write_all(line.as_bytes()).unwrap();
    }
}

struct Noted<T: ?Sized> {
    inner: Arc<T>,
    notes: Notes,
}

impl tasks::Tasks for Noted<dyn tasks::Tasks> {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
            let answers = self.inner.submit(tasks).await;
            let stored = ids.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
            stored.for_each(|(id, _)| self.notes.take(&Note::Stored(id)));
            answers
        })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        self.inner.claim(claim)
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.extend(fences)
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        Box::pin(async move {
            let ids: Vec<TaskId> = children.iter().map(|child| child.task().id.clone()).collect();
            let fence = self.inner.append(fence, entries, children).await?;
            ids.into_iter().for_each(|id| self.notes.take(&Note::Stored(id)));
            self.notes.take(&Note::Logged(fence.task.clone(), fence.last));
            Ok(fence)
        })
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        self.inner.release(back)
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        self.inner.park(park)
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move {
            let ends: Vec<Outcome> = turns.iter().map(|turn| turn.outcome.clone()).collect();
            let answers = self.inner.finish(turns).await;
            let ended = ends.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
            ended.for_each(|(end, _)| self.notes.take(&Note::Ended(end.task, end.status.to_string())));
            answers
        })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        Box::pin(async move {
            let (task, status) = (outcome.task.clone(), outcome.status.to_string());
            let recorded = self.inner.conclude(outcome).await?;
            self.notes.take(&Note::Ended(task, status));
            Ok(recorded)
        })
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(async move {
            let cancelled = self.inner.cancel(task, by).await?;
            cancelled.iter().for_each(|id| self.notes.take(&Note::Ended(id.clone(), "cancelled".into())));
            Ok(cancelled)
        })
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            let again = self.inner.retry(task).await?;
            self.notes.take(&Note::Stored(again.clone()));
            Ok(again)
        })
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let ended = self.inner.wait(tasks, until, wait).await?;
            ended.iter().for_each(|end| self.notes.take(&Note::Ended(end.task.clone(), end.status.to_string())));
            Ok(ended)
        })
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

impl state::States for Noted<dyn state::States> {
    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        Box::pin(async move {
            let keys: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
            let answers = self.inner.put(writes).await;
            for (key, answer) in keys.into_iter().zip(&answers) {
                // 0: there was nothing to delete.
                if let Ok(Put::Applied(version @ 1..)) = answer {
                    self.notes.take(&Note::Written(key, *version));
                }
            }
            answers
        })
    }

    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        self.inner.get(keys)
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        self.inner.list(prefix)
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        self.inner.watch(prefix)
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        self.inner.history(key)
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        self.inner.at(moment, prefix)
    }
}

impl events::Events for Noted<dyn events::Events> {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        Box::pin(async move {
            let kinds: Vec<String> = facts.iter().map(|fact| fact.kind.clone()).collect();
            let answers = self.inner.publish(facts).await;
            for (kind, answer) in kinds.into_iter().zip(&answers) {
                answer.iter().for_each(|seq| self.notes.take(&Note::Happened(*seq, kind.clone())));
            }
            answers
        })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        self.inner.read(filter, from, limit)
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        self.inner.last()
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        self.inner.follow(filter, from)
    }
}
