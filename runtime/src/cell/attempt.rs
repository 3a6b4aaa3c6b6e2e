//! One attempt of a task: decline it or work on it, then write what became of it.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::TaskInfo;
use callboard_agents::host::Facts;
use callboard_agents::service::Handler;
use callboard_broker::code;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Class, Error, Remote, Result};
use callboard_broker::task::{Outcome, Release, Status, failures};
use callboard_broker::tasks::{Finish, GiveBack, Lease, Revoked};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::decide::{Attempted, Verdict, verdict};
use super::grants::Grants;
use super::host::RequestHost;
use super::hub::{self, Hub};
use super::journal::Journal;
use super::pool::Pool;
use super::slot::Permit;
use super::stats::Ended;
use super::work::{Quit, Worked, no_agent, timed_out, work};

/// How often a last write is tried again when the store is busy or away.
const SETTLE_TRIES: u32 = 8;
/// Wait before the second try of a last write; doubled for each further one.
const SETTLE_WAIT: Duration = Duration::from_millis(50);

/// A claimed task at its cell.
pub(crate) struct Attempt {
    pub(crate) pool: Arc<Pool>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) slots: Arc<super::slot::Slots>,
    pub(crate) held: Option<Permit>,
    pub(crate) quit: watch::Receiver<Quit>,
}

impl Attempt {
    /// Runs it. The reason, when the agent asked to be rebuilt.
    pub(crate) async fn run(self, lease: Lease) -> Option<String> {
        let span = tracing::info_span!(
            "agent.task",
            capability = %lease.task.capability, run = %lease.task.run, task = %lease.task.id,
            attempt = lease.attempt, node = %self.pool.hub.name, agent = &*self.pool.name,
        );
        self.run_claimed(lease).instrument(span).await
    }

    async fn run_claimed(mut self, lease: Lease) -> Option<String> {
        let Lease { task, attempt, log, fence, revoked } = lease;
        let hub = self.pool.hub.clone();
        let journal = Arc::new(Journal::new(task.clone(), &log, fence.clone()));
        let claim = Claimed::new(hub.clone(), journal.clone(), fence.lease);
        let info = TaskInfo::of(&task, attempt);
        if !hub::takes(&self.handler, &info) {
            self.decline(&info, claim, &task, attempt).await;
            return None;
        }
        let _running = (self.pool.stats.begin(), hub.stats.begin());
        let started_at = hub.broker.clock.now();
        let (began, due) = (Instant::now(), hub.broker.clock.instant(task.deadline));
        let limits = [task.timeout_ms.map(Duration::from_millis), self.pool.options.deadline];
        let deadline = limits.into_iter().flatten().map(|limit| began + limit).fold(due, Instant::min);
        let facts = Facts {
            agent: self.pool.name.clone(),
            capability: task.capability.clone(),
            task: Some(task.id.clone()),
            run: Some(task.run.clone()),
            team: self.pool.team.clone(),
            attempt,
            deadline,
        };
        let grants = Grants::new(&facts, self.pool.grants.clone());
        let host = RequestHost::new(hub.clone(), facts, grants, Some(journal), Vec::new());
        let slots = (&self.slots, self.held.take());
        let input = task.input.clone();
        let worked = work(&self.handler, &host, input, slots, deadline, unwanted(revoked), &mut self.quit).await;
        let fatal = match &worked {
            Worked::Failed(remote) if remote.fatal => Some(remote.message.clone()),
            _ => None,
        };
        let attempted = match worked {
            Worked::Done(output) => Attempted::Done(output),
            Worked::Failed(remote) => Attempted::Failed(remote),
            Worked::Panicked(remote) => {
                self.pool.stats.panicked();
                Attempted::Failed(remote)
            }
            Worked::TimedOut(_) if deadline == due => Attempted::Expired,
            Worked::TimedOut(limit) => Attempted::Failed(timed_out(&self.pool.name, limit, &host)),
            Worked::Unwanted(error) => {
                tracing::debug!(%error, "the claim no longer holds");
                claim.lost();
                return None;
            }
            Worked::HandedBack => {
                claim.give_back(Release::Drained, None, Duration::ZERO, &self.pool.name).await;
                return None;
            }
        };
        let mut decided = verdict(&task, attempted, failures(&log), hub.broker.clock.now(), chance());
        if let Verdict::Finish(outcome, dead @ None) = &mut decided
            && outcome.error.as_ref().is_some_and(|error| error.code == code::DECODE)
            && self.handler.fits(&task.input).is_err()
        {
            *dead = Some(Reason::Undecodable);
        }
        let ended = self.settle(claim, decided, attempt, started_at).await;
        self.pool.stats.ended(ended, began.elapsed());
        hub.stats.ended(ended, began.elapsed());
        fatal
    }

    async fn settle(&self, claim: Claimed, decided: Verdict, attempt: u32, started_at: u64) -> Ended {
        match decided {
            Verdict::Retry(error, delay) => {
                tracing::info!(
                    error = error.message,
                    delay_ms = delay.as_millis(),
                    "the attempt failed, another is due"
                );
                claim.give_back(Release::Retry, Some(error), delay, &self.pool.name).await;
                Ended::Retried
            }
            Verdict::Finish(outcome, dead) => {
                let ended = if outcome.status == Status::Completed { Ended::Done } else { Ended::Failed };
                let (node, agent) = (Some(self.pool.hub.name.clone()), Some(self.pool.name.to_string()));
                let outcome = Outcome { attempt, node, agent, started_at: Some(started_at), ..*outcome };
                claim.finish(outcome, dead).await;
                ended
            }
        }
    }

    async fn decline(&self, info: &TaskInfo, claim: Claimed, task: &callboard_broker::task::Task, attempt: u32) {
        if !self.pool.hub.registry.is_declined(info) {
            self.pool.declined(&task.id);
            claim.give_back(Release::Declined, None, Duration::ZERO, &self.pool.name).await;
            return;
        }
        let now = self.pool.hub.broker.clock.now();
        let outcome = Outcome::of(task, Status::Failed, Some(no_agent(task.capability.as_str())), now);
        claim.finish(Outcome { attempt, node: Some(self.pool.hub.name.clone()), ..outcome }, None).await;
    }
}

/// A claim that is written back whatever happens: an attempt that is dropped half-way hands its task back.
struct Claimed {
    hub: Arc<Hub>,
    journal: Arc<Journal>,
    lease: u64,
    open: bool,
}

impl Claimed {
    fn new(hub: Arc<Hub>, journal: Arc<Journal>, lease: u64) -> Self {
        hub.heart.hold(lease, &journal);
        Self { hub, journal, lease, open: true }
    }

    fn lost(mut self) {
        self.open = false;
    }

    async fn finish(mut self, outcome: Outcome, dead: Option<Reason>) {
        let fence = self.journal.fence().await;
        let turn = Finish { fence, entries: Vec::new(), outcome, dead };
        let tasks = self.hub.broker.tasks.clone();
        let written = insist(|| async {
            let answer = tasks.finish(vec![turn.clone()]).await.pop();
            answer.unwrap_or_else(|| Err(Error::Unknown { what: "an outcome".into() })).map(drop)
        });
        report("outcome", written.await);
        self.open = false;
    }

    async fn give_back(mut self, reason: Release, error: Option<Remote>, delay: Duration, agent: &str) {
        let fence = self.journal.fence().await;
        let back = GiveBack { fence, reason, error, delay, agent: Some(agent.to_owned()) };
        let tasks = self.hub.broker.tasks.clone();
        report("release", insist(|| tasks.release(back.clone())).await);
        self.open = false;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.hub.heart.let_go(self.lease);
        let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| self.open) else { return };
        let (journal, tasks) = (self.journal.clone(), self.hub.broker.tasks.clone());
        runtime.spawn(async move {
            let fence = journal.fence().await;
            let back = GiveBack { fence, reason: Release::Drained, error: None, delay: Duration::ZERO, agent: None };
            report("release", tasks.release(back).await);
        });
    }
}

/// Tries a last write again while the store is busy or away; if it stays so, the claim lapses and the task runs again.
async fn insist<F: Future<Output = Result<()>>>(write: impl Fn() -> F) -> Result<()> {
    let mut wait = SETTLE_WAIT;
    for _ in 1..SETTLE_TRIES {
        match write().await {
            Err(error) if matches!(error.class(), Class::Transient | Class::RateLimited) => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            done => return done,
        }
    }
    write().await
}

fn report(what: &str, written: Result<()>) {
    match written {
        Ok(()) => {}
        Err(error @ (Error::Replaced | Error::Cancelled { .. })) => tracing::info!(what, %error, "not recorded"),
        Err(error) => tracing::warn!(what, %error, "not recorded"),
    }
}

async fn unwanted(mut revoked: watch::Receiver<Option<Revoked>>) -> Error {
    let why = match revoked.wait_for(Option::is_some).await {
        Ok(why) => *why,
        // The store has gone, and with it nothing that this attempt could still record.
        Err(_) => None,
    };
    match why {
        Some(Revoked::Ended(status)) => Error::Cancelled { by: format!("the task's end: it is {status}").into() },
        Some(Revoked::Replaced) => Error::Replaced,
        None => Error::unavailable("the store has closed"),
    }
}

/// A number in 0..1 for jitter: the hasher's random keys are as good as any.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}
