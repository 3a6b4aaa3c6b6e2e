//! The writes of an attempt: records, outcome, giving back, signs of life.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::held::{Delayed, Standing};
use super::room::{Appended, Room, mark_of, text};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::nats::names;
use crate::nats::record::{EndMark, Noted, end_document};
use crate::task::{Entry, Release};
use crate::tasks::{Child, Fence, Finish, GiveBack, Recorded, Revoked};

impl Room {
    pub(super) async fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> Result<Fence> {
        let standing = self.claim_of(&fence).await?;
        let brood = self.queue_children(&fence.task, children).await?;
        match self.write(&standing, entries).await {
            Ok(standing) => {
                self.record_children(brood).await?;
                Ok(Fence { last: standing.n, ..fence })
            }
            Err(error) => {
                self.withdraw(brood, &error).await;
                Err(error)
            }
        }
    }

    /// Appends records, one after the other; each follows the one before.
    pub(super) async fn write(&self, standing: &Standing, entries: Vec<Entry>) -> Result<Standing> {
        let mut now_at = standing.clone();
        for entry in entries {
            let (mark, at, began, n) = (self.mark(), self.now(), Instant::now(), now_at.n + 1);
            let (kind, capability) = (entry.kind(), now_at.task.capability.clone());
            let deadline = matches!(entry, Entry::Parked { .. }).then_some(now_at.task.deadline);
            let ack = String::new();
            let document = text(&Noted { writer: mark.clone(), n, at, capability, entry, deadline, ack })?;
            let id = &now_at.task.id;
            match self.append_record(id, kind, now_at.last, document, &mark).await? {
                Appended::At(seq) => (now_at.n, now_at.last) = (n, seq),
                Appended::Conflict => return Err(self.replaced(id).await),
            }
            self.held.wrote(&now_at.task.id, now_at.lease, now_at.n, now_at.last, began);
        }
        Ok(now_at)
    }

    /// Somebody else wrote: the claim holds no longer.
    async fn replaced(&self, task: &TaskId) -> Error {
        let outcome = self.newest_glance(task).await.ok().and_then(|story| story.outcome);
        let why = outcome.as_ref().map_or(Revoked::Replaced, |outcome| Revoked::Ended(outcome.status));
        self.held.revoke(task, why);
        outcome.as_ref().map_or(Error::Replaced, facts::after)
    }

    pub(super) async fn finish_all(&self, turns: Vec<Finish>) -> Vec<Result<Recorded>> {
        // Turns of one task follow each other; different ones need not wait.
        let mut answers: Vec<Option<Result<Recorded>>> = turns.iter().map(|_| None).collect();
        let mut left: Vec<(usize, Finish)> = turns.into_iter().enumerate().collect();
        while !left.is_empty() {
            let mut now = Vec::new();
            let mut later = Vec::new();
            for (i, turn) in left {
                let taken = now.iter().any(|(_, other): &(usize, Finish)| other.fence.task == turn.fence.task);
                if taken { later.push((i, turn)) } else { now.push((i, turn)) }
            }
            let ends = join_all(now.into_iter().map(|(i, turn)| async move { (i, self.finish(turn).await) })).await;
            for (i, end) in ends {
                answers[i] = Some(end);
            }
            left = later;
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(Error::Replaced))).collect()
    }

    async fn finish(&self, turn: Finish) -> Result<Recorded> {
        let Finish { fence, entries, outcome, dead } = turn;
        if outcome.task != fence.task || !outcome.status.is_final() {
            return Err(Error::decode(format!(
                "a {} outcome of {} is none of {}",
                outcome.status, outcome.task, fence.task
            )));
        }
        let Some(standing) = self.held.standing(&fence) else { return self.finished_before(&fence).await };
        let standing = self.write(&standing, entries).await?;
        let mut letter = None;
        if let Some(reason) = dead {
            // The letter comes first; so it is looked whether the outcome can follow.
            let filter = names::records(&fence.task);
            let (newest, _) = self.link.newest(names::RUNS, &filter).await?;
            if newest != standing.last {
                return self.lost(&fence).await;
            }
            let error = outcome.error.as_ref().map(|error| error.message.clone());
            let buried = letter.insert(facts::dead_task(&standing.task, reason, error));
            self.dead.bury_task(buried).await?;
        }
        let mark = self.mark();
        let end = EndMark { writer: mark.clone(), lease: fence.lease, key: standing.task.key.clone() };
        let body = end_document(&outcome, &end)?;
        match self.append_record(&fence.task, outcome.status.as_str(), standing.last, body, &mark).await? {
            Appended::At(_) => {
                if let Some(reason) = dead {
                    reason.count();
                }
                self.held.let_go(&fence.task, fence.lease);
                self.ack(&standing.ack).await;
                Ok(Recorded::New)
            }
            Appended::Conflict => {
                self.reconsider(&fence.task, letter.as_ref()).await;
                self.lost(&fence).await
            }
        }
    }

    /// The outcome was not this write's: perhaps an earlier one of the same claim's.
    async fn lost(&self, fence: &Fence) -> Result<Recorded> {
        let answer = self.finished_before(fence).await;
        if answer.is_err() {
            return Err(self.replaced(&fence.task).await);
        }
        answer
    }

    async fn finished_before(&self, fence: &Fence) -> Result<Recorded> {
        let story = self.newest_glance(&fence.task).await?;
        if story.last == 0 {
            return Err(Error::not_found(format!("task {}", fence.task)));
        }
        match &story.outcome {
            Some(_) if story.mark.lease == fence.lease => Ok(Recorded::Already),
            Some(outcome) => Err(facts::after(outcome)),
            None => Err(Error::Replaced),
        }
    }

    pub(super) async fn release(&self, back: GiveBack) -> Result<()> {
        let (reason, delay) = (back.reason, back.delay);
        let (fence, released) = back.record(self.now());
        let standing = self.claim_of(&fence).await?;
        let not_before = if let Entry::Released { not_before, .. } = &released { *not_before } else { 0 };
        self.write(&standing, vec![released]).await?;
        self.held.let_go(&fence.task, fence.lease);
        let task = standing.task;
        if reason != Release::Declined && !delay.is_zero() {
            let delayed = Delayed { due: not_before, ack: standing.ack.clone(), capability: task.capability.clone() };
            self.held.delay(&task.id, delayed);
        }
        self.nak(&standing.ack, delay).await;
        self.stirred.notify_one();
        Ok(())
    }

    /// Signs of life. The server is told to wait, and it is looked whether anybody else has written.
    pub(super) async fn extend(&self, fences: Vec<Fence>) -> Vec<Result<()>> {
        let now = Instant::now();
        let extended: Vec<_> = fences.iter().map(|fence| self.held.extend(&fence.task, fence.lease, now)).collect();
        let ids: Vec<TaskId> = fences.iter().map(|fence| fence.task.clone()).collect();
        let stories = match self.glance(&ids).await {
            Ok(stories) => stories.into_iter().map(Some).collect(),
            // Not heard of is not replaced: the next write will tell.
            Err(_) => ids.iter().map(|_| None).collect::<Vec<_>>(),
        };
        let mut answers = Vec::new();
        for ((fence, extended), story) in fences.iter().zip(extended).zip(stories) {
            let Some((ack, last)) = extended else {
                answers.push(Err(Error::Replaced));
                continue;
            };
            let newest = story.map_or(0, |story| story.last);
            if newest > last && self.is_anothers(newest).await {
                answers.push(Err(self.replaced(&fence.task).await));
            } else {
                answers.push(self.link.publish(ack, Bytes::from_static(b"+WPI")).await);
            }
        }
        answers
    }

    /// Whether another process wrote this record; one of ours may be on its way at this moment.
    async fn is_anothers(&self, seq: u64) -> bool {
        let raw = self.link.at(names::RUNS, seq).await.ok().flatten();
        raw.is_some_and(|raw| !self.is_ours(&mark_of(&raw)))
    }

    /// Tells the queue that a message is done.
    pub(super) async fn ack(&self, ack: &str) {
        self.tell(ack, "+ACK".into()).await;
    }

    /// Gives a message back, not to come before `delay` is over.
    pub(super) async fn nak(&self, ack: &str, delay: Duration) {
        let body = if delay.is_zero() { "-NAK".into() } else { format!("-NAK {{\"delay\": {}}}", delay.as_nanos()) };
        self.tell(ack, body).await;
    }

    /// Takes a message out that nobody can work on.
    pub(super) async fn term(&self, ack: &str) {
        self.tell(ack, "+TERM".into()).await;
    }

    /// Waits until the server has done it, so that whoever looks next finds it done. When it does not answer the message
    /// comes again by itself, and whoever gets it reads the log.
    async fn tell(&self, ack: &str, what: String) {
        if let Err(error) = self.link.request(ack, None, what.into()).await {
            tracing::debug!(%error, "an acknowledgement was not answered");
        }
    }
}
