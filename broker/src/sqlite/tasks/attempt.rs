//! What the holder of a claim may do: give signs of life, append, give back, finish.
//!
//! Every write shows the claim and the last record that its holder has seen. A claim that was replaced, or a record that
//! was not seen, changes nothing: that is checked before the first statement of each.

use super::super::dead;
use super::super::fault::Done;
use super::super::turn::Turn;
use super::{end, rows, submit};
use crate::clock::millis;
use crate::error::{Error, Result};
use crate::facts;
use crate::task::{Entry, Record};
use crate::tasks::{Child, Fence, Finish, GiveBack, LEASE, Recorded};

/// The claim holds for another lease.
pub(super) fn extend(turn: &mut Turn<'_>, fence: &Fence) -> Done<Result<()>> {
    let until = turn.now.saturating_add(millis(LEASE));
    match turn.core.tasks.queue.extend(&fence.task, fence.lease, until, turn.now) {
        true => Ok(Ok(())),
        false => Ok(Err(refusal(turn, fence)?)),
    }
}

/// Appends records and stores the children that come with them, all or nothing.
pub(super) fn append(turn: &mut Turn<'_>, fence: &Fence, entries: &[Entry], children: &[Child]) -> Done<Result<Fence>> {
    let seq = match check(turn, fence)? {
        Ok(seq) => seq,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let new = match submit::check_children(turn, &fence.task, children)? {
        Ok(new) => new,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let last = record_all(turn, seq, fence, entries)?;
    turn.core.tasks.put_down(turn.db, &fence.task)?;
    for (at, bytes) in new {
        submit::store_child(turn, &children[at], bytes)?;
    }
    Ok(Ok(Fence { last, ..fence.clone() }))
}

/// Gives the task back to its queue.
pub(super) fn release(turn: &mut Turn<'_>, back: &GiveBack) -> Done<Result<()>> {
    let (fence, released) = &back.clone().record(turn.now);
    let seq = match check(turn, fence)? {
        Ok(seq) => seq,
        Err(refusal) => return Ok(Err(refusal)),
    };
    record_all(turn, seq, fence, std::slice::from_ref(released))?;
    turn.core.tasks.queue.release(&fence.task, fence.lease, released, turn.now);
    turn.core.tasks.put_down(turn.db, &fence.task)?;
    turn.news.let_go.push((fence.lease, None));
    Ok(Ok(()))
}

/// Records the outcome, and with it what precedes it and the dead letter.
pub(super) fn finish(turn: &mut Turn<'_>, last: &Finish) -> Done<Result<Recorded>> {
    let Finish { fence, entries, outcome, dead } = last;
    if outcome.task != fence.task || !outcome.status.is_final() {
        let what =
            format!("an outcome \"{}\" of task {} does not end task {}", outcome.status, outcome.task, fence.task);
        return Ok(Err(Error::decode(what)));
    }
    let seq = match check(turn, fence)? {
        Ok(seq) => seq,
        Err(refusal) => {
            let ended = rows::outcome(turn.db.conn(), &fence.task)?;
            let ours = ended.is_some_and(|ended| ended.lease == Some(fence.lease));
            return Ok(if ours { Ok(Recorded::Already) } else { Err(refusal) });
        }
    };
    let Some(place) = turn.core.tasks.queue.get(&fence.task).cloned() else { return Ok(Err(Error::Replaced)) };
    let task = turn.core.tasks.body(&fence.task, seq, turn.db.conn())?;
    record_all(turn, seq, fence, entries)?;
    if let Some(reason) = dead {
        let error = outcome.error.as_ref().map(|error| error.message.clone());
        dead::store(turn, facts::dead_task(&task, *reason, error))?;
    }
    end::record(turn, &place, &task, outcome.clone(), Some(fence.lease))?;
    turn.news.let_go.push((fence.lease, None));
    Ok(Ok(Recorded::New))
}

/// The place of the task, if the claim holds and its holder has seen the whole log.
pub(super) fn check(turn: &Turn<'_>, fence: &Fence) -> Done<Result<u64>> {
    let mirror = &turn.core.tasks;
    let place =
        mirror.queue.get(&fence.task).filter(|place| place.held.as_ref().is_some_and(|h| h.lease == fence.lease));
    match place {
        Some(place) if mirror.records(place.item.seq) == fence.last => Ok(Ok(place.item.seq)),
        _ => Ok(Err(refusal(turn, fence)?)),
    }
}

/// Why a claim no longer holds.
fn refusal(turn: &Turn<'_>, fence: &Fence) -> Done<Error> {
    if turn.core.tasks.queue.get(&fence.task).is_some() {
        return Ok(Error::Replaced);
    }
    Ok(match rows::outcome(turn.db.conn(), &fence.task)? {
        Some(ended) => facts::after(&ended.outcome),
        None => Error::not_found(format!("task {}", fence.task)),
    })
}

/// Appends to the log of a claimed task; the number of its last record then.
pub(super) fn record_all(turn: &mut Turn<'_>, seq: u64, fence: &Fence, entries: &[Entry]) -> Done<u64> {
    let mut last = fence.last;
    for entry in entries {
        last += 1;
        rows::append(turn.db, seq, &Record { n: last, at: turn.now, entry: entry.clone() })?;
    }
    turn.core.tasks.has_records(seq, last);
    Ok(last)
}
