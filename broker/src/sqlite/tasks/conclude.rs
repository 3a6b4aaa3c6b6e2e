//! Outcomes of those who end a task without claiming it.

use super::super::fault::Done;
use super::super::turn::Turn;
use super::{end, rows};
use crate::error::{Error, Result};
use crate::facts;
use crate::task::Outcome;
use crate::tasks::Recorded;

/// Records the outcome of a task that nobody holds.
pub(super) fn conclude(turn: &mut Turn<'_>, outcome: &Outcome) -> Done<Result<Recorded>> {
    let id = &outcome.task;
    let Some(stored) = rows::task(turn.db.conn(), id)? else {
        return Ok(Err(Error::not_found(format!("task {id}"))));
    };
    let outcome = match facts::conclusion(&stored.task, outcome.clone()) {
        Ok(outcome) => outcome,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(ended) = rows::outcome(turn.db.conn(), id)? {
        let same = facts::says_the_same(&ended.outcome, &outcome);
        return Ok(if same { Ok(Recorded::Already) } else { Err(facts::taken(id, ended.records)) });
    }
    let Some(place) = turn.core.tasks.queue.get(id).filter(|place| place.held.is_none()).cloned() else {
        return Ok(Err(facts::taken(id, turn.core.tasks.records(stored.seq))));
    };
    end::record(turn, &place, &stored.task, outcome, None)?;
    Ok(Ok(Recorded::New))
}
