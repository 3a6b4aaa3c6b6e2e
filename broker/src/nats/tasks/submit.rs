//! Storing tasks.
//!
//! The queue message comes first, because only the queue knows whether there is room; the record follows. Whoever pulls
//! the message before the record is there writes it in the submitter's name.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::entry;
use super::room::{Appended, LOOKS, Room, text};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::nats::js::Refusal;
use crate::nats::names;
use crate::nats::once::store_once;
use crate::nats::record::{SUBMITTED, Story, Submitted as Document};
use crate::task::Task;
use crate::tasks::Submitted;

/// Children up to this size stand in their queue message, for workers of every kind: 32 KiB.
const QUEUE_INLINE: usize = 32 << 10;

/// How many tasks of one call are sent before it is known whether the queue takes them. When it is full the others are
/// refused without being sent: what they cost a server that has too much to do already would be for nothing.
const PROBE: usize = 32;

/// What became of a queue message.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    /// It is new, at this place in the queue's stream, with this mark.
    At(u64, String),
    /// There is one of this task already.
    There,
}

impl Room {
    pub(super) async fn submit(&self, tasks: Vec<Task>) -> Vec<Result<Submitted>> {
        let mut first: HashMap<TaskId, usize> = HashMap::new();
        let twins: Vec<Option<usize>> = tasks
            .iter()
            .enumerate()
            .map(|(i, task)| {
                let at = *first.entry(task.id.clone()).or_insert(i);
                (at != i).then_some(at)
            })
            .collect();
        let (probe, rest) = tasks.split_at(tasks.len().min(PROBE));
        let mut stored = self.submit_some(probe, &twins[..probe.len()]).await;
        let full = stored.iter().find_map(|one| one.as_ref().err().filter(|error| matches!(error, Error::Busy { .. })));
        match full.cloned() {
            Some(busy) => stored.extend(rest.iter().map(|_| Err(busy.clone()))),
            None => stored.extend(self.submit_some(rest, &twins[probe.len()..]).await),
        }
        let answer = |(i, twin): (usize, &Option<usize>)| match twin {
            Some(at) if stored[*at].is_ok() => facts::same_input(&tasks[*at], &tasks[i]).map(|()| Submitted::Known),
            Some(at) => stored[*at].clone(),
            None => stored[i].clone(),
        };
        twins.iter().enumerate().map(answer).collect()
    }

    /// Stores these but for twins of earlier ones.
    async fn submit_some(&self, tasks: &[Task], twins: &[Option<usize>]) -> Vec<Result<Submitted>> {
        if tasks.is_empty() {
            return Vec::new();
        }
        let known = match self.known(tasks).await {
            Ok(known) => known,
            Err(error) => return tasks.iter().map(|_| Err(error.clone())).collect(),
        };
        // The first poll of each sends it, in order, so that they are stored in the order given.
        join_all(tasks.iter().zip(twins).map(|(task, twin)| {
            let known = &known;
            async move { if twin.is_some() { Ok(Submitted::Known) } else { self.submit_one(task, known).await } }
        }))
        .await
    }

    /// The stories of these tasks and of their parents.
    async fn known(&self, tasks: &[Task]) -> Result<HashMap<TaskId, Story>> {
        let mut ids: Vec<TaskId> =
            tasks.iter().flat_map(|task| [Some(task.id.clone()), task.parent.clone()]).flatten().collect();
        ids.sort();
        ids.dedup();
        let stories = self.glance(&ids).await?;
        Ok(ids.into_iter().zip(stories).collect())
    }

    async fn submit_one(&self, task: &Task, known: &HashMap<TaskId, Story>) -> Result<Submitted> {
        facts::admit(task)?;
        if let Some(recorded) = known.get(&task.id).and_then(|story| story.task.as_ref()) {
            return facts::same_input(recorded, task).map(|()| Submitted::Known);
        }
        if let Some(parent) = &task.parent {
            let story = known.get(parent).filter(|story| story.last > 0);
            let story = story.ok_or_else(|| Error::not_found(format!("task {parent}")))?;
            if let Some(outcome) = &story.outcome {
                return Err(facts::orphaned(outcome));
            }
        }
        match self.enqueue(task).await? {
            Queued::There => self.queued_before(task).await,
            Queued::At(seq, mark) => self.record(task, seq, &mark).await,
        }
    }

    /// Puts the queue message of a task.
    ///
    /// # Errors
    /// `Busy` when the queue is full; `Unknown` when no answer came.
    pub(super) async fn enqueue(&self, task: &Task) -> Result<Queued> {
        let (subject, mark) = (names::task(&task.capability, task.priority, &task.id), self.mark());
        let document = entry::write(task, &mark)?;
        let body = match task.parent {
            Some(_) => self.link.pack_in(&task.run, document, &mark, QUEUE_INLINE).await?,
            None => self.link.pack(document, &mark).await?,
        };
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", mark.as_str());
        match store_once(&self.link, &subject, &headers, &body).await.answer {
            Ok(stored) => Ok(Queued::At(stored.seq, mark)),
            Err(Refusal::Occupied | Refusal::Conflict) => Ok(Queued::There),
            Err(refusal @ Refusal::Full) => Err(refusal.into_error("the task queue")),
            Err(refusal) => Err(refusal.into_error(&format!("task {}", task.id))),
        }
    }

    /// The queue message of a task, if there is one: the task, its writer's mark, its place.
    pub(super) async fn queued(&self, task: &TaskId) -> Result<Option<(Task, String, u64)>> {
        let found = self.link.last_of(names::TASKS, &[names::task_anywhere(task)], None).await?;
        let Some(raw) = found.into_iter().next_back() else { return Ok(None) };
        let entry = entry::read(&raw.subject, &raw.body, raw.at)?;
        Ok(Some((entry.task, entry.writer, raw.seq)))
    }

    /// There is a message of this task: what it asks for, or what the record asks for when it has gone meanwhile. A copy of
    /// the stream may not have heard of either yet, so it is asked more than once.
    async fn queued_before(&self, task: &Task) -> Result<Submitted> {
        for _ in 0..LOOKS {
            if let Some((recorded, ..)) = self.queued(&task.id).await? {
                return facts::same_input(&recorded, task).map(|()| Submitted::Known);
            }
            let story = self.glance(std::slice::from_ref(&task.id)).await?.pop().unwrap_or_default();
            if let Some(recorded) = &story.task {
                return facts::same_input(recorded, task).map(|()| Submitted::Known);
            }
        }
        Err(Error::Unknown { what: format!("task {}", task.id).into() })
    }

    /// Writes the record of a task whose message is queued.
    pub(super) async fn record(&self, task: &Task, queued: u64, mark: &str) -> Result<Submitted> {
        let document = Document { writer: mark.to_owned(), at: self.now(), task: task.clone() };
        match self.append_record(&task.id, SUBMITTED, 0, text(&document)?, mark).await? {
            Appended::At(_) => {
                self.queued_here.notify_one();
                Ok(Submitted::New)
            }
            Appended::Conflict => {
                let story = self.glance(std::slice::from_ref(&task.id)).await?.pop().unwrap_or_default();
                // A worker was faster and wrote it in our name.
                if story.submitter == mark || story.task.is_none() {
                    return Ok(Submitted::New);
                }
                // It had been submitted and done before: the new message is one too many.
                self.link.delete(names::TASKS, queued).await?;
                story.task.map_or(Ok(()), |recorded| facts::same_input(&recorded, task)).map(|()| Submitted::Known)
            }
        }
    }
}
