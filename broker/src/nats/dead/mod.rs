//! The room for dead letters: a stream in which a task has at most one for each reason, and which operators read with
//! their own tools.
//!
//! Two stores cannot be written at once. So a letter is written before the outcome that it tells of, and counts once that
//! stands: of a task that goes on, or has ended otherwise, there is none to see. And whether a task was put back is not
//! written into its letter: it was if its next generation is there.

use std::sync::Arc;

use serde_json::json;

use super::names;
use crate::BoxFuture;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::task::Status;

mod keeper;
mod letter;

pub use keeper::DeadKeeper;
pub(super) use letter::tells_of;

/// The most dead letters in one page.
const MAX_PAGE: usize = 1_000;

/// What the room needs of the room for tasks.
pub trait Retries: Send + Sync {
    /// Puts a task back as its next generation, once; a second call returns the same id.
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>>;

    /// What became of each task, in the order asked.
    fn fates(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Fate>>>;
}

/// What became of a task that has a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Whether anything of it is on record. Letters outlive runs that were removed.
    pub is_known: bool,
    /// How it has ended.
    pub ended: Option<Status>,
    /// Its next generation, where it is there.
    pub next: Option<TaskId>,
}

/// The room.
pub struct DeadRoom {
    keeper: Arc<DeadKeeper>,
    retries: Arc<dyn Retries>,
}

impl DeadRoom {
    /// The room over what a keeper keeps.
    pub fn new(keeper: Arc<DeadKeeper>, retries: Arc<dyn Retries>) -> Self {
        Self { keeper, retries }
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>> {
        self.keeper.flush().await;
        let (mut letters, mut next) = (Vec::new(), after.saturating_add(1));
        while letters.len() < limit {
            let page = self.keeper.link().page(names::DEAD, "cb.v1.dead.>", next, limit - letters.len()).await?;
            let Some(last) = page.last() else { break };
            next = last.seq + 1;
            let more = last.pending > 0;
            letters.extend(self.judged(page.iter().map(letter::read).collect()).await?);
            if !more {
                break;
            }
        }
        Ok(letters)
    }

    async fn one(&self, seq: u64) -> Result<Option<DeadLetter>> {
        if seq == 0 {
            return Ok(None);
        }
        self.keeper.flush().await;
        let found = self.keeper.link().at(names::DEAD, seq).await?;
        Ok(self.judged(found.iter().map(letter::read).collect()).await?.pop())
    }

    /// The letters that tell of what has become of their tasks, each with what it was put back as.
    async fn judged(&self, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetter>> {
        let tasks: Vec<TaskId> = letters.iter().filter_map(|letter| letter.task.clone()).collect();
        if tasks.is_empty() {
            return Ok(letters);
        }
        let mut fates = self.retries.fates(tasks).await?.into_iter();
        let judged = letters.into_iter().filter_map(|mut letter| {
            let fate = if letter.task.is_some() { fates.next().unwrap_or_default() } else { Fate::default() };
            letter.retried_as = fate.next;
            (!fate.is_known || tells_of(letter.reason, fate.ended)).then_some(letter)
        });
        Ok(judged.collect())
    }

    async fn put_back(&self, seq: u64) -> Result<TaskId> {
        let letter = self.one(seq).await?.ok_or_else(|| Error::not_found(format!("dead letter {seq}")))?;
        if let Some(again) = letter.retried_as {
            return Ok(again);
        }
        let Some(task) = letter.task else {
            let key = format!("dead letter {seq}, a message,").into();
            return Err(Error::Conflict { key, expected: 0, actual: 0 });
        };
        self.retries.retry(task).await
    }

    async fn delete(&self, seq: Option<u64>) -> Result<u64> {
        self.keeper.flush().await;
        let link = self.keeper.link();
        if let Some(seq) = seq {
            return Ok(u64::from(link.delete(names::DEAD, seq).await?));
        }
        let said = link.api(&format!("STREAM.PURGE.{}", names::DEAD), json!({})).await?;
        let said = said.map_err(|e| e.into_error(names::DEAD))?;
        Ok(said["purged"].as_u64().unwrap_or_default())
    }
}

impl DeadLetters for DeadRoom {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(self.read(after, limit.min(MAX_PAGE)))
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        Box::pin(self.one(seq))
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.put_back(seq))
    }

    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.delete(seq))
    }
}
