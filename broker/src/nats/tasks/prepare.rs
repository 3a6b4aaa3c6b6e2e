//! From a queue message to a claim: what its log says decides whether it is handed out at all.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::entry::{self, Entry};
use super::held::{Delayed, Held, lapse};
use super::pull::Pulled;
use super::room::{Appended, Room, text};
use super::takeover::{Standing, UNCLEAR};
use crate::clock::Millis;
use crate::dead_letter::{NewDeadLetter, Reason};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::{NodeName, TaskId};
use crate::nats::names;
use crate::nats::record::{Noted, STARTED, SUBMITTED, Started, Story, Submitted};
use crate::payload::Payload;
use crate::queue::Spent;
use crate::task::{Entry as LogEntry, MAX_CLAIMS, MAX_HANDOUTS, Record, Task};
use crate::tasks::{Fence, Lease};

/// How often somebody else may have been faster before a message is left for its next delivery.
const TRIES: usize = 8;

impl Room {
    /// Turns messages into claims of `node`. Those that have ended are acknowledged, those that are spent end here, and
    /// what cannot be read becomes a dead letter.
    pub(super) async fn prepare(self: &Arc<Self>, node: &NodeName, pulled: Vec<Pulled>) -> Result<Vec<Lease>> {
        let mut entries = Vec::new();
        for mut pulled in pulled {
            match self.link.unpack(pulled.body.clone()).await {
                Ok(body) => pulled.body = body,
                Err(Error::NotFound { .. } | Error::Decode { .. }) => {}
                Err(error) => return Err(error),
            }
            match entry::read(&pulled.subject, &pulled.body, pulled.at) {
                Ok(entry) => entries.push((entry, pulled)),
                Err(error) => self.unreadable(&pulled, &error).await,
            }
        }
        let ids: Vec<TaskId> = entries.iter().map(|(entry, _)| entry.task.id.clone()).collect();
        let (stories, gone) = tokio::try_join!(self.stories(&ids), self.cancelled_parents(&entries))?;
        let claims = entries.into_iter().zip(stories).map(|((entry, pulled), story)| {
            let orphan = entry.task.parent.as_ref().is_some_and(|parent| gone.contains(parent));
            self.prepare_one(node, entry, pulled, story, orphan)
        });
        let mut leases = Vec::new();
        for claimed in join_all(claims).await {
            match claimed {
                Ok(lease) => leases.extend(lease),
                // The others are fine; this one comes again when its message does.
                Err(error) => tracing::warn!(%error, "a task could not be claimed"),
            }
        }
        Ok(leases)
    }

    /// Which parents of these tasks were cancelled: a child that was queued in the moment of its parent's end must not
    /// be begun.
    async fn cancelled_parents(&self, entries: &[(Entry, Pulled)]) -> Result<HashSet<TaskId>> {
        let parents: HashSet<&TaskId> = entries.iter().filter_map(|(entry, _)| entry.task.parent.as_ref()).collect();
        if parents.is_empty() {
            return Ok(HashSet::new());
        }
        let filters: Vec<String> = parents.iter().map(|parent| names::record(parent, "cancelled")).collect();
        let ended = self.link.last_of(names::RUNS, &filters, None).await?;
        Ok(ended.iter().filter_map(|raw| Some(crate::nats::record::parse_subject(&raw.subject)?.0)).collect())
    }

    async fn prepare_one(
        self: &Arc<Self>,
        node: &NodeName,
        entry: Entry,
        pulled: Pulled,
        mut story: Story,
        orphan: bool,
    ) -> Result<Option<Lease>> {
        for _ in 0..TRIES {
            if story.outcome.is_some() {
                self.ack(&pulled.ack).await;
                return Ok(None);
            }
            if story.task.is_none() && !self.write_submitted(&entry, &pulled, &mut story).await? {
                story = self.story(&entry.task.id).await?;
                continue;
            }
            let now = self.now();
            if story.not_before > now {
                self.come_back(&entry.task, &pulled.ack, story.not_before, now).await;
                return Ok(None);
            }
            if let Some(held) = &story.held {
                match self.inquire(&entry.task.id, held).await {
                    Standing::Free => {}
                    Standing::Held => return Ok(None),
                    Standing::Unclear => {
                        self.nak(&pulled.ack, UNCLEAR).await;
                        return Ok(None);
                    }
                }
            }
            if self.is_still_parked(&story).await? && !orphan && entry.task.deadline > now {
                // Whoever ends what it waits for puts it back.
                self.ack(&pulled.ack).await;
                return Ok(None);
            }
            let ends = if orphan { Some(None) } else { spent(&story, &entry.task, now).map(Some) };
            if let Some(spent) = ends {
                if self.end_unclaimed(&entry.task, &story, spent, pulled.seq).await? {
                    return Ok(None);
                }
            } else if let Some(lease) = self.begin(node, &entry, &pulled, &story, now).await? {
                return Ok(Some(lease));
            }
            story = self.story(&entry.task.id).await?;
        }
        self.nak(&pulled.ack, std::time::Duration::ZERO).await;
        Ok(None)
    }

    /// The record that stores a task which has none: put in by hand, or its submitter died in between.
    async fn write_submitted(&self, entry: &Entry, pulled: &Pulled, story: &mut Story) -> Result<bool> {
        let writer = if entry.writer.is_empty() { self.mark() } else { entry.writer.clone() };
        let document = Submitted { writer: writer.clone(), at: pulled.at, task: entry.task.clone() };
        let appended = self.append_record(&entry.task.id, SUBMITTED, story.last, text(&document)?, &writer).await?;
        let Appended::At(seq) = appended else { return Ok(false) };
        (story.task, story.seq, story.last) = (Some(entry.task.clone()), seq, seq);
        Ok(true)
    }

    /// Writes the record of a claim. `None` when somebody else wrote first.
    async fn begin(
        self: &Arc<Self>,
        node: &NodeName,
        entry: &Entry,
        pulled: &Pulled,
        story: &Story,
        now: Millis,
    ) -> Result<Option<Lease>> {
        let task = story.task.clone().unwrap_or_else(|| entry.task.clone());
        let listening = self.hub.listen(&task.run).await?;
        let (attempt, mark, capability) = (story.next_attempt(), self.mark(), task.capability.clone());
        let mut log = story.log.clone();
        let (kind, document) = if story.was_claimed() {
            let claimed = LogEntry::Claimed { attempt, node: node.clone() };
            let n = story.n() + 1;
            log.push(Record { n, at: now, entry: claimed.clone() });
            let ack = pulled.ack.clone();
            let (writer, entry, deadline) = (mark.clone(), claimed.clone(), None);
            (claimed.kind(), text(&Noted { writer, n, at: now, capability, entry, deadline, ack })?)
        } else {
            let (node, ack) = (node.clone(), pulled.ack.clone());
            (STARTED, text(&Started { writer: mark.clone(), at: now, capability, attempt, node, ack })?)
        };
        let appended = self.append_record(&task.id, kind, story.last, document, &mark).await?;
        let Appended::At(seq) = appended else { return Ok(None) };
        let (revoke, revoked) = watch::channel(None);
        let fence = Fence { task: task.id.clone(), lease: seq, last: log.last().map_or(0, |record| record.n) };
        self.held.take(Held {
            task: Arc::new(task.clone()),
            lease: seq,
            node: node.clone(),
            n: fence.last,
            last: seq,
            ack: pulled.ack.clone(),
            until: now + lapse(),
            _listening: listening,
            revoke,
        });
        self.stirred.notify_one();
        Ok(Some(Lease { task, attempt, log, fence, revoked }))
    }

    /// A message whose task is not due yet comes back when it is.
    async fn come_back(&self, task: &Task, ack: &str, due: Millis, now: Millis) {
        self.nak(ack, std::time::Duration::from_millis(due - now)).await;
        self.held.delay(&task.id, Delayed { due, ack: ack.to_owned(), capability: task.capability.clone() });
        self.stirred.notify_one();
    }

    async fn unreadable(&self, pulled: &Pulled, error: &Error) {
        let mut tokens = pulled.subject.split('.').skip(3);
        let capability = tokens.next().unwrap_or("unknown").replace('-', ".");
        let name = tokens.nth(1).unwrap_or("unknown").to_owned();
        let body = String::from_utf8_lossy(&pulled.body).into_owned();
        let letter = NewDeadLetter {
            reason: Reason::Undecodable,
            capability,
            to: name.clone(),
            from: facts::SELF.into(),
            task: TaskId::parse(&name).ok(),
            body: Payload::from_json(body.clone()).unwrap_or_else(|_| Payload::of(body)),
            error: Some(error.to_string()),
        };
        // Kept before it leaves the queue; when it cannot be kept it stays and comes again.
        match self.dead.bury_task(&letter).await {
            Ok(()) => self.term(&pulled.ack).await,
            Err(error) => tracing::warn!(%error, subject = pulled.subject, "a task cannot be read, nor kept"),
        }
    }
}

/// Why a task is not handed out any more.
fn spent(story: &Story, task: &Task, now: Millis) -> Option<Spent> {
    if task.deadline <= now {
        return Some(Spent::Expired);
    }
    (story.attempts >= MAX_CLAIMS && story.next_attempt() > MAX_CLAIMS || story.claims >= MAX_HANDOUTS)
        .then_some(Spent::TooManyClaims)
}
