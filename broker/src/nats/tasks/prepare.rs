//! From a queue message to a claim: what its log says decides whether it is handed out at all.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::entry::{self, Entry};
use super::held::{Delayed, Held};
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
use crate::suspect;
use crate::task::{Entry as LogEntry, MAX_CLAIMS, MAX_HANDOUTS, Record, Release, Serving, Task, Version, may_take};
use crate::tasks::{Fence, LEASE, Lease};

/// How often somebody else may have been faster before a message is left for its next delivery.
const TRIES: usize = 8;

/// How long, once its wait is over, a task whose attempt failed lets those go first that were not begun. The server hands
/// out first what it has handed out before; so such a task is put off, again after so long and then each time after as
/// long as it has waited in all, within these bounds.
const GIVES_WAY: Millis = 30_000;
const PUT_OFF: std::ops::RangeInclusive<Millis> = 1_000..=5_000;

/// Until when it is put off, if it is.
fn gives_way(story: &Story, pending: u64, now: Millis) -> Option<Millis> {
    let has_failed = match story.log.last()?.entry {
        LogEntry::Released { reason: Release::Retry, not_before, .. } | LogEntry::Died { not_before, .. } => {
            not_before > 0
        }
        _ => false,
    };
    let waits = now.saturating_sub(story.not_before);
    (has_failed && pending > 0 && waits < GIVES_WAY).then(|| now + waits.clamp(*PUT_OFF.start(), *PUT_OFF.end()))
}

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimer {
    pub(super) node: NodeName,
    pub(super) serving: Option<Serving>,
}

/// What became of the messages of one claimer.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) leases: Vec<Lease>,
    pub(super) unfit: Vec<Unfit>,
    /// How many let others go first, and of those how many are bulk.
    pub(super) put_off: u64,
    pub(super) put_off_bulk: u64,
}

/// A task that the claimer may not take, because another version began it.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) task: Task,
    pub(super) version: Version,
    pub(super) story: Story,
    pub(super) pulled: Pulled,
}

/// What became of one.
enum Claimed {
    Begun(Box<Lease>),
    Unfit(Box<Unfit>),
    /// It lets others go first; whether it is bulk.
    PutOff(bool),
    Nothing,
}

impl Room {
    /// Turns messages into claims of `by`. Those that have ended are acknowledged, those that are spent end here, and
    /// what cannot be read becomes a dead letter.
    pub(super) async fn prepare(self: &Arc<Self>, by: &Claimer, pulled: Vec<Pulled>) -> Result<Prepared> {
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
        let tasks = entries.iter().map(|(entry, _)| &entry.task);
        let (stories, gone) = tokio::try_join!(self.stories(&ids), self.cancelled_parents(tasks))?;
        let claims = entries.into_iter().zip(stories).map(|((entry, pulled), story)| {
            let orphan = entry.task.parent.as_ref().is_some_and(|parent| gone.contains(parent));
            self.prepare_one(by, entry, pulled, story, orphan)
        });
        let mut prepared = Prepared::default();
        for claimed in join_all(claims).await {
            match claimed {
                Ok(Claimed::Begun(lease)) => prepared.leases.push(*lease),
                Ok(Claimed::Unfit(unfit)) => prepared.unfit.push(*unfit),
                Ok(Claimed::PutOff(is_bulk)) => {
                    prepared.put_off += 1;
                    prepared.put_off_bulk += u64::from(is_bulk);
                }
                Ok(Claimed::Nothing) => {}
                // The others are fine; this one comes again when its message does.
                Err(error) => tracing::warn!(%error, "a task could not be claimed"),
            }
        }
        Ok(prepared)
    }

    /// Which parents of these tasks were cancelled: a child that was queued in the moment of its parent's end must not
    /// be begun.
    async fn cancelled_parents<'a>(&self, tasks: impl Iterator<Item = &'a Task>) -> Result<HashSet<TaskId>> {
        let parents: HashSet<&TaskId> = tasks.filter_map(|task| task.parent.as_ref()).collect();
        if parents.is_empty() {
            return Ok(HashSet::new());
        }
        let filters: Vec<String> = parents.iter().map(|parent| names::record(parent, "cancelled")).collect();
        let ended = self.link.last_of(names::RUNS, &filters, None).await?;
        Ok(ended.iter().filter_map(|raw| Some(crate::nats::record::parse_subject(&raw.subject)?.0)).collect())
    }

    async fn prepare_one(
        self: &Arc<Self>,
        by: &Claimer,
        entry: Entry,
        pulled: Pulled,
        mut story: Story,
        mut orphan: bool,
    ) -> Result<Claimed> {
        for _ in 0..TRIES {
            if story.outcome.is_some() {
                self.ack(&pulled.ack).await;
                return Ok(Claimed::Nothing);
            }
            if story.task.is_none() {
                let written = self.write_submitted(&entry, &pulled, &mut story).await?;
                // A cancel that looked before there was this record has not seen the task; its mark stands by now.
                orphan = orphan || !self.cancelled_parents(std::iter::once(&entry.task)).await?.is_empty();
                if !written {
                    story = self.story(&entry.task.id).await?;
                    continue;
                }
            }
            let now = self.now();
            if story.not_before > now {
                self.come_back(&entry.task, &pulled.ack, story.not_before, now).await;
                return Ok(Claimed::Nothing);
            }
            if let Some(held) = &story.held {
                match self.inquire(&entry.task.id, held).await {
                    Standing::Free => {}
                    Standing::Held => return Ok(Claimed::Nothing),
                    Standing::Unclear => {
                        self.nak(&pulled.ack, UNCLEAR).await;
                        return Ok(Claimed::Nothing);
                    }
                }
            }
            if self.is_still_parked(&story).await? && !orphan && entry.task.deadline > now {
                // Whoever ends what it waits for puts it back.
                self.ack(&pulled.ack).await;
                return Ok(Claimed::Nothing);
            }
            let ends = if orphan { Some(None) } else { spent(&story, &entry.task, now).map(Some) };
            let begun_by = story.begun_by.version().filter(|version| !may_take(by.serving.as_ref(), Some(version)));
            if let (None, Some(version)) = (&ends, begun_by.cloned()) {
                return Ok(Claimed::Unfit(Box::new(Unfit { task: entry.task, version, story, pulled })));
            }
            if let Some(spent) = ends {
                if self.end_unclaimed(&entry.task, &story, spent, pulled.seq).await? {
                    return Ok(Claimed::Nothing);
                }
            } else if let Some(due) = gives_way(&story, pulled.pending, now) {
                self.come_back(&entry.task, &pulled.ack, due, now).await;
                return Ok(Claimed::PutOff(pulled.is_bulk));
            } else if let Some(lease) = self.begin(by, &entry, &pulled, &story, now).await? {
                return Ok(Claimed::Begun(Box::new(lease)));
            }
            story = self.story(&entry.task.id).await?;
        }
        self.nak(&pulled.ack, std::time::Duration::ZERO).await;
        Ok(Claimed::Nothing)
    }

    /// The record that stores a task which has none: put in by hand, or its submitter died in between.
    async fn write_submitted(&self, entry: &Entry, pulled: &Pulled, story: &mut Story) -> Result<bool> {
        let appended = self.put_on_record(&entry.task, &entry.writer, pulled.at, story.last).await?;
        let Appended::At(seq) = appended else { return Ok(false) };
        (story.task, story.seq, story.last) = (Some(entry.task.clone()), seq, seq);
        Ok(true)
    }

    /// The record that stores a task, in the name of whoever queued it.
    pub(super) async fn put_on_record(&self, task: &Task, writer: &str, at: Millis, last: u64) -> Result<Appended> {
        let writer = if writer.is_empty() { self.mark() } else { writer.to_owned() };
        let document = Submitted { writer: writer.clone(), at, task: task.clone() };
        self.append_record(&task.id, SUBMITTED, last, text(&document)?, &writer).await
    }

    /// Writes the record of a claim. `None` when somebody else wrote first.
    async fn begin(
        self: &Arc<Self>,
        by: &Claimer,
        entry: &Entry,
        pulled: &Pulled,
        story: &Story,
        now: Millis,
    ) -> Result<Option<Lease>> {
        let task = story.task.clone().unwrap_or_else(|| entry.task.clone());
        let listening = self.hub.listen(&task.run).await?;
        let (attempt, mark, capability) = (story.next_attempt(), self.mark(), task.capability.clone());
        let mut log = story.log.clone();
        let version = by.serving.as_ref().map(|serving| serving.version.clone());
        let (kind, document) = if story.was_claimed() || version.is_some() {
            let claimed = LogEntry::Claimed { attempt, node: by.node.clone(), version };
            let n = story.n() + 1;
            log.push(Record { n, at: now, entry: claimed.clone() });
            let ack = pulled.ack.clone();
            let (writer, entry, deadline) = (mark.clone(), claimed.clone(), None);
            (claimed.kind(), text(&Noted { writer, n, at: now, capability, entry, deadline, ack })?)
        } else {
            let (node, ack) = (by.node.clone(), pulled.ack.clone());
            (STARTED, text(&Started { writer: mark.clone(), at: now, capability, attempt, node, ack })?)
        };
        let id = task.id.clone();
        let (_begins, began) = (self.held.begin(&id), Instant::now());
        let appended = self.append_record(&task.id, kind, story.last, document, &mark).await?;
        let Appended::At(seq) = appended else { return Ok(None) };
        let (revoke, revoked) = watch::channel(None);
        let fence = Fence { task: task.id.clone(), lease: seq, last: log.last().map_or(0, |record| record.n) };
        self.held.take(Held {
            task: Arc::new(task.clone()),
            lease: seq,
            node: by.node.clone(),
            n: fence.last,
            last: seq,
            ack: pulled.ack.clone(),
            until: began + LEASE,
            _listening: listening,
            revoke,
        });
        self.stirred.notify_one();
        Ok(Some(Lease { task, attempt, log, fence, revoked }))
    }

    /// A message whose task is not due yet comes back when it is.
    pub(super) async fn come_back(&self, task: &Task, ack: &str, due: Millis, now: Millis) {
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
            Ok(()) => {
                letter.reason.count();
                self.term(&pulled.ack).await;
            }
            Err(error) => tracing::warn!(%error, subject = pulled.subject, "a task cannot be read, nor kept"),
        }
    }
}

/// Why a task is not handed out any more.
fn spent(story: &Story, task: &Task, now: Millis) -> Option<Spent> {
    if task.deadline <= now {
        return Some(Spent::Expired);
    }
    if suspect::deaths(&story.log).len() >= suspect::MAX_DEATHS {
        return Some(Spent::Deadly);
    }
    (story.attempts >= MAX_CLAIMS && story.next_attempt() > MAX_CLAIMS || story.claims >= MAX_HANDOUTS)
        .then_some(Spent::TooManyClaims)
}
