//! The round that a node makes over all schedules, and when it makes the next.

use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::budget::Budget;
use callboard_broker::clock::{Millis, millis};
use callboard_broker::error::{Error, Result};
use callboard_broker::state::{Put, StateEntry, Watch};
use callboard_broker::task::Task;

use super::book::entries;
use super::plan::Plan;
use super::{GRACE, PREFIX, Schedule, Schedules, When};

/// The longest time between two rounds: a clock that was set forward is seen by then.
const LOOK: Duration = Duration::from_secs(60);
/// Wait before a round is made again that the store could not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// One round in the name of a node: submits what is due, and moves on what was. When the next tick is.
///
/// # Errors
/// What the store says when it cannot be read. A schedule whose task the store could not take is looked at again in the
/// next round.
///
/// # Cancellation
/// What was submitted is submitted once, by whoever makes the next round.
pub async fn turn(broker: &Broker, by: &str) -> Result<Option<Millis>> {
    round(broker, by, Budget::default()).await
}

/// As [`turn`]; `budget` is the node's own.
async fn round(broker: &Broker, by: &str, budget: Budget) -> Result<Option<Millis>> {
    let (now, book) = (broker.clock.now(), Schedules::of(broker, by));
    let mut soonest = None;
    for (schedule, entry) in entries(broker).await? {
        let due = match schedule.plan(now) {
            None if schedule.is_new() => begin(&book, schedule, &entry, now).await?,
            None => schedule.next.filter(|_| !schedule.paused),
            Some(plan) => match schedule.when.check() {
                Ok(()) => go_on(broker, &book, (&schedule, &entry), plan, (now, budget)).await?,
                // Another build may know it, and to whoever does not, it would look as if it were over.
                Err(error) => {
                    if schedule.next.is_some_and(|next| now.saturating_sub(next) > millis(GRACE)) {
                        tracing::warn!(%error, schedule = schedule.name, "this node cannot tell when it comes");
                    }
                    None
                }
            },
        };
        soonest = soonest.into_iter().chain(due).min();
    }
    Ok(soonest)
}

/// Submits what is due of a schedule and moves it on. When its next tick is.
async fn go_on(
    broker: &Broker,
    book: &Schedules,
    (schedule, entry): (&Schedule, &StateEntry),
    plan: Plan,
    (now, budget): (Millis, Budget),
) -> Result<Option<Millis>> {
    let mut after = Schedule { next: plan.next, skipped: schedule.skipped + plan.skipped, ..schedule.clone() };
    let due = plan.fire.iter().map(|tick| Ok((*tick, schedule.task(*tick, now, budget)?)));
    if let Err(error) = submit(broker, due, &mut after).await {
        tracing::warn!(%error, schedule = schedule.name, "what is due was not submitted");
        return Ok(Some(now));
    }
    // A single time that is over leaves nothing but its task.
    let is_over = after.next.is_none() && matches!(schedule.when, When::At(_));
    match book.put(&entry.key, entry.version, (!is_over).then_some(&after)).await? {
        Put::Applied(_) | Put::Conflict(_) => Ok(after.next),
        Put::Unknown => Ok(Some(now)),
    }
}

/// What was put into the state by hand counts from now. One that makes no sense is left alone.
async fn begin(book: &Schedules, schedule: Schedule, entry: &StateEntry, now: Millis) -> Result<Option<Millis>> {
    let begun = schedule.begun(now);
    if begun.next.is_none() || begun.when.check().is_err() {
        tracing::debug!(schedule = begun.name, "this schedule never comes");
        return Ok(None);
    }
    book.put(&entry.key, entry.version, Some(&begun)).await?;
    Ok(begun.next)
}

/// Submits the ticks; what can never be submitted is passed over.
async fn submit(
    broker: &Broker,
    due: impl Iterator<Item = Result<(Millis, Task)>>,
    after: &mut Schedule,
) -> Result<()> {
    for tick in due {
        let (tick, task) = tick?;
        let submitted = broker.tasks.submit(vec![task]).await.pop();
        match submitted.unwrap_or_else(|| Err(Error::unavailable("the store gave no answer"))) {
            Ok(_) => (after.last, after.fired) = (Some(tick), after.fired + 1),
            Err(error @ (Error::Diverged { .. } | Error::TooLarge { .. } | Error::Decode { .. })) => {
                tracing::warn!(%error, schedule = after.name, tick, "a tick can never be submitted and is passed over");
                after.skipped += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Looks after all schedules of a broker for as long as it is polled.
pub(crate) async fn keep(broker: Broker, by: String, budget: Budget) {
    loop {
        match broker.states.watch(PREFIX.into()).await {
            Ok(watch) => rounds(&broker, &by, budget, watch).await,
            Err(error) => tracing::debug!(%error, "schedules cannot be watched"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Makes rounds until changes are no longer heard.
async fn rounds(broker: &Broker, by: &str, budget: Budget, mut watch: Box<dyn Watch>) {
    loop {
        let wait = match round(broker, by, budget).await {
            Ok(None) => LOOK,
            Ok(Some(at)) => {
                let left = Duration::from_millis(at.saturating_sub(broker.clock.now()));
                // What could not be submitted is not tried all the time.
                if left.is_zero() { AGAIN } else { left.min(LOOK) }
            }
            Err(error) => {
                tracing::debug!(%error, "schedules cannot be read");
                AGAIN
            }
        };
        match tokio::time::timeout(wait, watch.next()).await {
            Err(_) => {}
            Ok(Err(_)) => return,
            Ok(Ok(_)) => {
                let more = async { while watch.next().await.is_ok() {} };
                // Most often the time is over first, and otherwise the next round finds out.
                let _ = tokio::time::timeout(TOGETHER, more).await;
            }
        }
    }
}
