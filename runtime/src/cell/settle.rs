//! The last write of an attempt: its outcome, or the task given back.
//!
//! What was done is worth waiting for a store that is busy, full or away: without the write it is done again. So the
//! write is tried until the task's deadline, under a claim that is kept alive.

use std::time::Duration;

use callboard_agents::{Failure, TaskInfo};
use callboard_broker::clock::Millis;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Class, Error, Remote, Result};
use callboard_broker::id::TaskId;
use callboard_broker::task::{Outcome, Release, Status, Task};
use callboard_broker::tasks::{Finish, GiveBack, Park};
use tokio::time::Instant;

use super::decide::Verdict;
use super::heart::{Claimed, raise_doubts, report};
use super::pool::Pool;
use super::stats::Ended;
use super::work::no_agent;
use crate::telemetry;

/// Wait before the second try; doubled for each further one.
const WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long before the deadline it is no longer tried to ask people about an effect in doubt, so that the outcome is still
/// written; and how long it is tried when that is over.
const OUTCOME_FIRST: Duration = Duration::from_secs(10);
const ASK_AT_LEAST: Duration = Duration::from_secs(2);

/// An attempt that has its last write before it.
pub(super) struct Settling<'a> {
    pool: &'a Pool,
    task: &'a Task,
    attempt: u32,
    claim: Claimed,
    pub(super) started_at: Millis,
    /// When all attempts must have ended.
    pub(super) due: Instant,
}

impl<'a> Settling<'a> {
    pub(super) fn new(pool: &'a Pool, task: &'a Task, attempt: u32, claim: Claimed) -> Self {
        let clock = &pool.hub.broker.clock;
        Self { pool, task, attempt, claim, started_at: clock.now(), due: clock.instant(task.deadline) }
    }

    /// The claim holds no longer: there is nothing to write.
    pub(super) fn lost(self) {
        self.claim.done();
    }

    /// Its handler begins: with what the task was forked from, if it is a fork.
    pub(super) async fn begin(&self) -> Result<()> {
        self.claim.journal().begin();
        self.claim.journal().inherit(&self.pool.hub.broker).await
    }

    /// Declines the task; when nobody is left to take it, it has failed.
    pub(super) async fn decline(self, info: &TaskInfo, last_resort: bool) {
        telemetry::ended("declined", None);
        let taken_here = !self.pool.hub.registry.is_declined(info);
        if last_resort && !taken_here {
            let no_agent = no_agent(self.task.capability.as_str());
            let outcome = Outcome::of(self.task, Status::Failed, Some(no_agent), self.pool.hub.broker.clock.now());
            return self.finish(outcome, None).await;
        }
        self.pool.declined.add(&self.task.id, taken_here);
        self.give_back(Release::Declined, None, Duration::ZERO).await;
    }

    /// Writes what was decided.
    pub(super) async fn settle(self, decided: Verdict) -> Ended {
        match decided {
            Verdict::Retry(error, delay) => {
                let (cause, delay_ms) = (&error.message, delay.as_millis());
                tracing::info!(error = cause, delay_ms, "the attempt failed, another is due");
                self.give_back(Release::Retry, Some(error), delay).await;
                Ended::Retried
            }
            Verdict::Finish(outcome, dead) => {
                let ended = if outcome.status == Status::Completed { Ended::Done } else { Ended::Failed };
                let (agent, started_at) = (Some(self.pool.name.to_string()), Some(self.started_at));
                self.finish(Outcome { agent, started_at, ..*outcome }, dead).await;
                ended
            }
        }
    }

    /// Gives the task back to its queue.
    pub(super) async fn give_back(self, reason: Release, error: Option<Remote>, delay: Duration) {
        let (fence, begun) = (self.claim.journal().fence().await, self.claim.journal().has_begun());
        let back = GiveBack { fence, reason, error, delay, agent: Some(self.pool.name.to_string()), begun };
        let hub = &self.pool.hub;
        report(&hub.stats, "release", insist(self.due, || hub.broker.tasks.release(back.clone())).await);
        self.claim.done();
    }

    /// Lays the task aside until one of those that it waits for has ended.
    pub(super) async fn park(self, on: Vec<TaskId>) {
        let park = Park { fence: self.claim.journal().fence().await, on };
        let hub = &self.pool.hub;
        report(&hub.stats, "park", insist(self.due, || hub.broker.tasks.park(park.clone())).await);
        self.claim.done();
    }

    /// Asks people about each effect that ends in doubt with its task. A store that is away is waited for, as for the
    /// outcome; whatever else is in the way, the outcome is more.
    async fn ask_about_doubts(&self, outcome: &Outcome) {
        if outcome.status == Status::Completed {
            return;
        }
        let now = Instant::now();
        let until = self.due.checked_sub(OUTCOME_FIRST).unwrap_or(now).max(now + ASK_AT_LEAST);
        let (journal, broker) = (self.claim.journal(), &self.pool.hub.broker);
        let asking = insist_while(is_away, until, || raise_doubts(broker, journal, &self.pool.name, outcome.status));
        match tokio::time::timeout_at(until, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report(&self.pool.hub.stats, "question about an effect in doubt", Err(error)),
            Err(_) => tracing::warn!("an effect may be in doubt, and nobody could be asked in time"),
        }
    }

    async fn finish(self, outcome: Outcome, dead: Option<Reason>) {
        self.ask_about_doubts(&outcome).await;
        let outcome = Outcome { attempt: self.attempt, node: Some(self.pool.hub.name.clone()), ..outcome };
        let mut written = self.write(outcome, dead).await;
        if let Err(refused @ (Error::TooLarge { .. } | Error::Decode { .. })) = &written {
            // No store takes this response, however often it is computed: that is how the task has ended.
            let (why, now) = (Failure::from(refused.clone()).into_remote(), self.pool.hub.broker.clock.now());
            let failed = Outcome::of(self.task, Status::Failed, Some(why), now);
            let (attempt, node) = (self.attempt, Some(self.pool.hub.name.clone()));
            let (agent, started_at) = (Some(self.pool.name.to_string()), Some(self.started_at));
            self.ask_about_doubts(&failed).await;
            written = self.write(Outcome { attempt, node, agent, started_at, ..failed }, None).await;
        }
        report(&self.pool.hub.stats, "outcome", written);
        self.claim.done();
    }

    async fn write(&self, outcome: Outcome, dead: Option<Reason>) -> Result<()> {
        let fence = self.claim.journal().fence().await;
        let turn = Finish { fence, entries: Vec::new(), outcome, dead };
        let tasks = &self.pool.hub.broker.tasks;
        let write = || async {
            let answer = tasks.finish(vec![turn.clone()]).await.pop();
            answer.unwrap_or_else(|| Err(Error::Unknown { what: "an outcome".into() })).map(drop)
        };
        insist(self.due, write).await
    }
}

async fn insist<F: Future<Output = Result<()>>>(due: Instant, write: impl Fn() -> F) -> Result<()> {
    insist_while(is_passing, due, write).await
}

async fn insist_while<F: Future<Output = Result<()>>>(
    passes: fn(&Error) -> bool,
    due: Instant,
    write: impl Fn() -> F,
) -> Result<()> {
    let mut wait = WAIT;
    loop {
        match write().await {
            Err(error) if passes(&error) && Instant::now() + wait < due => tokio::time::sleep(wait).await,
            done => return done,
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error.class(), Class::Transient | Class::RateLimited)
}

fn is_away(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Unknown { .. })
}
