//! How a task ends: outcome, events, dead letter and its leaving the queue, in one transaction.

use super::super::dead;
use super::super::fault::{Done, Fault};
use super::super::turn::Turn;
use super::park;
use super::rows::{self, Ended};
use crate::clock::Millis;
use crate::code;
use crate::dead_letter::Reason;
use crate::error::{Class, Remote};
use crate::facts::{self, Stood};
use crate::payload::Payload;
use crate::queue::{Place, Spent, Taken};
use crate::suspect::Death;
use crate::task::{Outcome, Status, Task};
use crate::tasks::Revoked;

/// Records the outcome of the task at `place`, by a claim or by the wing itself. It is out of the queue then.
pub(super) fn record(
    turn: &mut Turn<'_>,
    place: &Place,
    task: &Task,
    outcome: Outcome,
    lease: Option<u64>,
) -> Done<()> {
    let seq = place.item.seq;
    let records = turn.core.tasks.records(seq);
    let ended = Ended { attempts: place.item.attempts(), outcome, lease, records };
    rows::insert_outcome(turn.db, seq, &ended)?;
    rows::delete_queued(turn.db, seq)?;
    turn.core.tasks.forget(&task.id, seq);
    turn.all_happened(facts::ended(task, &ended.outcome));
    park::ended(turn, ended.outcome);
    Ok(())
}

/// A task whose time or claims are used up: the dead letter first, then the outcome.
pub(super) fn spent(turn: &mut Turn<'_>, place: &Place, why: Spent) -> Done<()> {
    let task = match turn.core.tasks.body(&place.item.task, place.item.seq, turn.db.conn()) {
        // It ends all the same; a clock that cannot be passed would stop everybody.
        Err(Fault::Damaged { .. }) => stand_in(place, turn.now),
        read => read?,
    };
    give_up(turn, place, &task, &place.into(), why)
}

/// A task that was taken from the queue, and took its process down as often as it may.
pub(super) fn deadly(turn: &mut Turn<'_>, taken: &Taken, deaths: Vec<Death>) -> Done<()> {
    let Some(mut place) = turn.core.tasks.queue.get(&taken.task).cloned() else { return Ok(()) };
    let task = turn.core.tasks.body(&taken.task, place.item.seq, turn.db.conn())?;
    // Nobody has begun it this time.
    place.item.claims -= 1;
    place.held = None;
    give_up(turn, &place, &task, &Stood { deaths, ..Stood::from(&place) }, Spent::Deadly)
}

fn give_up(turn: &mut Turn<'_>, place: &Place, task: &Task, stood: &Stood, why: Spent) -> Done<()> {
    let (letter, outcome) = facts::spent(task, stood, why, turn.now);
    dead::store(turn, letter)?;
    let_go(turn, place, outcome.status);
    record(turn, place, task, outcome, None)
}

/// A task that somebody no longer wants.
pub(super) fn cancelled(turn: &mut Turn<'_>, place: &Place, task: &Task, by: &str) -> Done<()> {
    let outcome = facts::cancelled(task, &place.into(), by, turn.now);
    let_go(turn, place, Status::Cancelled);
    record(turn, place, task, outcome, None)
}

/// A task of which a row is damaged. Its outcome and dead letter are made of what the mirror knows, which was verified.
pub(super) fn damaged(turn: &mut Turn<'_>, taken: &Taken, what: &str) -> Done<()> {
    let Some(place) = turn.core.tasks.queue.get(&taken.task).cloned() else { return Ok(()) };
    tracing::error!(task = %taken.task, what, "a damaged task was set aside");
    let message = format!("the store is damaged: {what} is not as written");
    let known = stand_in(&place, turn.now);
    let error = Remote {
        class: Class::Permanent,
        code: code::CORRUPT_STORE.into(),
        message: message.clone(),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    };
    dead::store(turn, facts::dead_task(&known, Reason::Undecodable, Some(message)))?;
    let outcome = Outcome::of(&known, Status::Failed, Some(error), turn.now);
    record(turn, &place, &known, Outcome { attempt: taken.held.attempt, ..outcome }, None)
}

/// What the mirror knows of a task whose row cannot be read.
pub(super) fn stand_in(place: &Place, now: Millis) -> Task {
    let (id, capability) = (place.item.task.clone(), place.item.capability.clone());
    let run = id.run();
    Task { base: id.clone(), id, ..Task::root(run, capability, Payload::null(), now) }
}

fn let_go(turn: &mut Turn<'_>, place: &Place, status: Status) {
    let why = Some(Revoked::Ended(status));
    turn.news.let_go.extend(place.held.as_ref().map(|held| (held.lease, why)));
}
