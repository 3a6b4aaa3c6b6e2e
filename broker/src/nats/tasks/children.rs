//! Children that are stored together with the record that delegates them.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::room::{Appended, Room, text};
use super::submit::Queued;
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::nats::names;
use crate::nats::record::{EndMark, SUBMITTED, Submitted, end_document};
use crate::task::Task;
use crate::tasks::Child;

/// Children on their way: queued already where they have to be, but not on record.
pub(super) struct Brood {
    fresh: Vec<(Child, Option<(u64, String)>)>,
}

impl Room {
    /// Queues those children that are new.
    ///
    /// # Errors
    /// `Diverged`, `Decode`, `TooLarge`, `Busy`: then none is left in the queue.
    pub(super) async fn queue_children(&self, parent: &TaskId, children: Vec<Child>) -> Result<Brood> {
        let fresh = self.fresh(parent, children).await?;
        let queued = join_all(fresh.iter().map(|child| async move {
            match child {
                Child::Queued(task) => self.enqueue(task).await.map(Some),
                Child::Skipped(..) | Child::Ended(..) => Ok(None),
            }
        }))
        .await;
        let mut brood = Brood { fresh: Vec::new() };
        let mut failure = None;
        for (child, queued) in fresh.into_iter().zip(queued) {
            match queued {
                Ok(Some(Queued::At(seq, mark))) => brood.fresh.push((child, Some((seq, mark)))),
                // Somebody else submits the same at this moment.
                Ok(Some(Queued::There)) => {}
                Ok(None) => brood.fresh.push((child, None)),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => Ok(brood),
            Some(error) => {
                self.withdraw(brood, &error).await;
                Err(error)
            }
        }
    }

    /// The children that are not known yet.
    async fn fresh(&self, parent: &TaskId, children: Vec<Child>) -> Result<Vec<Child>> {
        let ids: Vec<TaskId> = children.iter().map(|child| child.task().id.clone()).collect();
        let stories = if ids.is_empty() { Vec::new() } else { self.glance(&ids).await? };
        let mut seen: HashMap<TaskId, Task> = HashMap::new();
        let mut fresh = Vec::new();
        for (child, story) in children.into_iter().zip(stories) {
            let task = child.task();
            facts::admit(task)?;
            facts::stored_with(&child, self.now())?;
            if task.parent.as_ref() != Some(parent) {
                return Err(Error::decode(format!("task {} is no child of {parent}", task.id)));
            }
            let known = story.task.or_else(|| seen.get(&task.id).cloned());
            match known {
                Some(known) => facts::same_input(&known, task)?,
                None => {
                    seen.insert(task.id.clone(), task.clone());
                    fresh.push(child);
                }
            }
        }
        Ok(fresh)
    }

    /// Takes children back whose record could not be written for this reason. Not when it may have been written, nor when
    /// another attempt took over: that one may want them, and trusts the messages that it found.
    pub(super) async fn withdraw(&self, brood: Brood, why: &Error) {
        if !is_certain(why) {
            return;
        }
        for (child, queued) in brood.fresh {
            let Some((seq, _)) = queued else { continue };
            if let Err(error) = self.link.delete(names::TASKS, seq).await {
                // Whoever pulls it finds that its parent was cancelled, or that its parent wants it after all.
                tracing::debug!(task = %child.task().id, %error, "a child could not be taken back");
            }
        }
    }

    /// Puts children on record.
    pub(super) async fn record_children(&self, brood: Brood) -> Result<()> {
        let recorded = join_all(brood.fresh.into_iter().map(|(child, queued)| async move {
            match (child, queued) {
                (Child::Queued(task), Some((seq, mark))) => self.record(&task, seq, &mark).await.map(drop),
                (Child::Queued(_), None) => Ok(()),
                (child, _) => self.record_ended(&child).await,
            }
        }));
        recorded.await.into_iter().collect()
    }

    /// Puts a child on record that is not to be done.
    async fn record_ended(&self, child: &Child) -> Result<()> {
        let (task, mark, now) = (child.task(), self.mark(), self.now());
        let Some(outcome) = facts::stored_with(child, now)? else { return Ok(()) };
        let document = Submitted { writer: mark.clone(), at: now, task: task.clone() };
        let Appended::At(seq) = self.append_record(&task.id, SUBMITTED, 0, text(&document)?, &mark).await? else {
            return Ok(());
        };
        let mark = self.mark();
        let end = EndMark { writer: mark.clone(), lease: 0, key: task.key.clone() };
        let body = end_document(&outcome, &end)?;
        self.append_record(&task.id, outcome.status.as_str(), seq, body, &mark).await.map(drop)
    }
}

/// Whether nobody wants what could not be recorded for this reason.
fn is_certain(why: &Error) -> bool {
    !matches!(why, Error::Replaced | Error::Unknown { .. } | Error::Unavailable { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_taken_back_only_when_nobody_can_want_them() {
        let what = "a record".to_owned();
        let unsure = [Error::Replaced, Error::unavailable("a server"), Error::Unknown { what: what.clone().into() }];
        assert!(unsure.iter().all(|why| !is_certain(why)));
        let certain = [Error::decode("a task"), Error::Denied { who: "n".into(), what: what.into() }];
        assert!(certain.iter().all(is_certain));
    }
}
