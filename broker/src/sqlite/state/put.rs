//! One write: compare, apply, record, and say what was said.

use super::super::fault::Done;
use super::super::turn::Turn;
use super::{room, rows};
use crate::error::{Error, Result};
use crate::facts;
use crate::state::{Change, Expect, Put, StateEntry, Write, spare};

/// Applies one write, or says why not. An inner error is its own and has changed nothing.
pub(super) fn put(turn: &mut Turn<'_>, write: &Write, keys: u64) -> Done<Result<Put>> {
    if let Some(Err(refusal)) = write.value.as_ref().map(|value| value.json()) {
        return Ok(Err(refusal));
    }
    let current = rows::entry(turn.db.conn(), &write.key)?;
    let version = current.as_ref().map_or(0, |entry| entry.version);
    if matches!(write.expect, Expect::Version(expected) if expected != version) {
        return Ok(Ok(Put::Conflict(current)));
    }
    match (&write.value, &current) {
        (None, None) => return Ok(Ok(Put::Applied(0))),
        (Some(_), None) if turn.core.snapshots.entries >= keys && !room::make(turn, keys)? => {
            return Ok(Err(spare::full(keys)));
        }
        _ => (),
    }
    Ok(Ok(Put::Applied(change(turn, write, current)?)))
}

/// Applies a write to what stands at its key; the number of the change.
pub(super) fn change(turn: &mut Turn<'_>, write: &Write, current: Option<StateEntry>) -> Done<u64> {
    let sequence = turn.core.marks.change + 1;
    let change = Change {
        sequence,
        key: write.key.clone(),
        value: write.value.clone(),
        previous: current.map(|entry| entry.value),
        // The place among all changes increases with every change of a key, and outlives the key.
        version: sequence,
        by: write.by.clone(),
        at: turn.now,
        task: write.task.clone(),
    };
    rows::apply(turn.db, &change)?;
    rows::record(turn.db, &change)?;
    turn.core.marks.change = sequence;
    turn.core.snapshots.count(&change);
    turn.happened(facts::changed(&change));
    if turn.core.snapshots.is_due(sequence) {
        rows::take_snapshot(turn.db, sequence, turn.now)?;
        turn.core.snapshots.taken(sequence);
    }
    Ok(sequence)
}

/// A write whose acknowledgement was lost is an answer of its own, not an error.
pub(in super::super) fn or_unknown(answers: Vec<Result<Put>>) -> Vec<Result<Put>> {
    let unknown = |answer| match answer {
        Err(Error::Unknown { .. }) => Ok(Put::Unknown),
        answer => answer,
    };
    answers.into_iter().map(unknown).collect()
}
