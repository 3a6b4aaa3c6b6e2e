//! One attempt of a task: decline it or work on it, then write what became of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::TaskInfo;
use callboard_agents::service::Handler;
use callboard_broker::clock::Millis;
use callboard_broker::code;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Error, Remote};
use callboard_broker::id::NodeName;
use callboard_broker::task::{Record, Release, Status, Task, failures};
use callboard_broker::tasks::{Lease, Revoked};
use callboard_broker::trace::TraceContext;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::chain::Chain;
use super::decide::{Attempted, Verdict, given_up, verdict};
use super::grants::Grants;
use super::heart::Claimed;
use super::host::RequestHost;
use super::hub::{self, Hub};
use super::pool::{Pool, after};
use super::quit::Quits;
use super::settle::Settling;
use super::slot::{Permit, Slots};
use super::work::{Worked, timed_out, work};
use crate::telemetry::{self, By};

/// How long before the wall time of its run is over an attempt ends, so that what it had kept is recorded in time.
const EARLY: Duration = Duration::from_millis(50);

/// A claimed task at its cell.
pub(crate) struct Attempt {
    pub(crate) pool: Arc<Pool>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) quits: Quits,
    pub(crate) claim: Claimed,
    /// Whether this pool had declined the task and nobody else is left to take it.
    pub(crate) last_resort: bool,
}

impl Attempt {
    /// Runs it, from this slot on. The reason, when the agent asked to be rebuilt.
    pub(crate) async fn run(self, lease: Lease, slot: Permit) -> Option<String> {
        let span = tracing::info_span!(
            "agent.task",
            capability = %lease.task.capability, run = %lease.task.run, task = %lease.task.id,
            attempt = i64::from(lease.attempt), node = %self.pool.hub.name, agent = &*self.pool.name,
        );
        let now = self.pool.hub.broker.clock.now();
        let trace = telemetry::attempt(&span, &lease, &worked_by(&self.pool, &lease.task), now);
        self.run_claimed(lease, slot, trace).instrument(span).await
    }

    async fn run_claimed(self, lease: Lease, slot: Permit, trace: Option<TraceContext>) -> Option<String> {
        let Self { pool, handler, slots, quits, claim, last_resort } = self;
        let Lease { task, attempt, log, revoked, .. } = lease;
        let (hub, journal) = (pool.hub.clone(), claim.journal().clone());
        let settling = Settling::new(&pool, &task, attempt, claim);
        let info = TaskInfo::of(&task, attempt);
        if !hub::takes(&handler, &info) {
            settling.decline(&info, last_resort).await;
            return None;
        }
        let _running = (pool.stats.begin(), hub.stats.begin());
        let (began, due) = (Instant::now(), ends(&task, settling.due));
        let limits = [task.timeout_ms.map(Duration::from_millis), pool.options.deadline];
        let deadline = limits.into_iter().flatten().map(|limit| after(began, limit)).fold(due, Instant::min);
        let facts = pool.facts_of_task(&task, attempt, &log, deadline);
        let grants = Grants::new(&facts, pool.grants.clone());
        let host = RequestHost::new(hub.clone(), facts, grants, Some(journal), Chain::of_task(&task), trace);
        let (input, slots) = (task.input.clone(), (&slots, Some(slot)));
        let worked = match settling.begin().await {
            Ok(()) => work(&handler, &host, input, slots, deadline, unwanted(revoked), &quits).await,
            Err(error) => Worked::Failed(callboard_agents::Failure::from(error).into_remote()),
        };
        cut_short(&worked);
        let fatal = worked.fatal();
        let attempted = match worked {
            Worked::Done(output) => Attempted::Done(output),
            Worked::Failed(remote) => failed(&host, &task, remote, due),
            Worked::Panicked(remote) => {
                pool.stats.panicked();
                Attempted::Failed(remote)
            }
            Worked::TimedOut(_) if deadline == due => {
                host.overdue(&task);
                Attempted::Expired(host.kept.take())
            }
            Worked::TimedOut(limit) => Attempted::Failed(timed_out(&pool.name, limit, &host)),
            Worked::Unwanted(error) => {
                tracing::debug!(%error, "the claim no longer holds");
                settling.lost();
                return None;
            }
            Worked::Parked(on) => {
                tracing::debug!(tasks = on.len(), "parked");
                settling.park(on).await;
                return None;
            }
            Worked::HandedBack => {
                settling.give_back(Release::Drained, None, Duration::ZERO).await;
                return None;
            }
        };
        let decided = judge(&handler, &host, &hub, (&task, &log, settling.started_at), attempted).await;
        told(&worked_by(&pool, &task), &decided, began.elapsed());
        let is_over = matches!(decided, Verdict::Finish(..));
        let ended = settling.settle(decided).await;
        if is_over {
            host.give_up();
        }
        pool.stats.ended(ended, began.elapsed());
        hub.stats.ended(ended, began.elapsed());
        fatal
    }
}

/// When the last attempt must have ended.
fn ends(task: &Task, due: Instant) -> Instant {
    if task.is_last_call() { due.checked_sub(EARLY).unwrap_or(due) } else { due }
}

/// A failure; unless it is that the wall time of its run is over, as a child or a wait was first to see. The code of the
/// failure does not say so: a child that had less time of its own has the same one.
fn failed(host: &RequestHost, task: &Task, remote: Remote, due: Instant) -> Attempted {
    let is_over = task.is_last_call() && (host.is_overdue() || Instant::now() >= due);
    if !is_over {
        return Attempted::Failed(remote);
    }
    host.overdue(task);
    Attempted::Expired(remote.partial)
}

/// Says in the span of the attempt that no verdict on it follows.
fn cut_short(worked: &Worked) {
    match worked {
        Worked::Unwanted(error @ Error::Replaced) => telemetry::ended("replaced", Some(error.code())),
        Worked::Unwanted(error) => telemetry::ended("withdrawn", Some(error.code())),
        Worked::Parked(_) => telemetry::ended("parked", None),
        Worked::HandedBack => telemetry::ended("handed_back", None),
        Worked::Done(_) | Worked::Failed(_) | Worked::Panicked(_) | Worked::TimedOut(_) => {}
    }
}

fn told(by: &By<'_>, decided: &Verdict, took: Duration) {
    let code = decided.error().map(|error| &*error.code);
    telemetry::ended(decided.word(), code);
    telemetry::worked(by, decided.word(), code, took);
}

fn worked_by<'a>(pool: &'a Pool, task: &'a Task) -> By<'a> {
    let (node, capability) = (pool.hub.name.as_str(), task.capability.as_str());
    By { node, agent: &pool.name, capability, kind: "task" }
}

/// What becomes of the task, within what its run has left for retries, and what that says of its capability.
async fn judge(
    handler: &Arc<dyn Handler>,
    host: &RequestHost,
    hub: &Hub,
    (task, log, began): (&Task, &[Record], Millis),
    attempted: Attempted,
) -> Verdict {
    hub.breakers.seen(&task.capability, attempted.seen(), began).await;
    let (now, failed) = (hub.broker.clock.now(), failures(log));
    if failed == 0 {
        hub.budgets().begin(&task.run);
    }
    let mut decided = match verdict(task, attempted, failed, now, chance(task, &hub.name, failed)) {
        Verdict::Retry(error, _) if !hub.budgets().take(&task.run) => given_up(task, error, now),
        decided => decided,
    };
    if let Verdict::Finish(outcome, dead) = &mut decided {
        let is_undecodable = outcome.error.as_ref().is_some_and(|error| error.code == code::DECODE);
        if is_undecodable && handler.fits(&task.input).is_err() {
            dead.get_or_insert(Reason::Undecodable);
        }
        outcome.degraded = host.degraded().filter(|_| outcome.status == Status::Completed);
    }
    decided
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

/// A number in 0..1 for jitter: different for each task, node and failure, and the same when a simulation comes again.
fn chance(task: &Task, node: &NodeName, failed: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (task.id.as_str(), node.as_str(), failed).hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}
