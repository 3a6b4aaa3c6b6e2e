//! New tasks: from outside, from a parent's turn, and as the next generation of one that ended.

use std::collections::HashMap;

use super::super::fault::{Done, Fault};
use super::super::turn::Turn;
use super::park;
use super::rows::{self, Ended};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::queue::Item;
use crate::task::{BegunBy, Task};
use crate::tasks::{Child, Submitted};

/// How long a caller that meets a full queue should wait, in milliseconds.
const FULL_MS: u64 = 1_000;

/// Stores one task. An inner error is its own and has changed nothing.
pub(super) fn submit(turn: &mut Turn<'_>, task: &Task) -> Done<Result<Submitted>> {
    let bytes = match facts::admit(task) {
        Ok(bytes) => bytes,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let refusal = match room(turn, 1, bytes) {
        Ok(()) => orphaned(turn, task)?,
        Err(full) => Some(full),
    };
    match refusal {
        // What is known is known, whatever has become of its parent meanwhile.
        Some(refusal) => Ok(known(turn, task)?.unwrap_or(Err(refusal))),
        None if store(turn, task, bytes)? => Ok(Ok(Submitted::New)),
        None => Ok(known(turn, task)?.unwrap_or(Ok(Submitted::Known))),
    }
}

/// The children of a turn that are not known yet, with their sizes; an inner error refuses the whole turn.
pub(super) fn check_children(
    turn: &Turn<'_>,
    parent: &TaskId,
    children: &[Child],
) -> Done<Result<Vec<(usize, usize)>>> {
    let (mut new, mut seen, mut queued, mut bytes) = (Vec::new(), HashMap::new(), 0, 0);
    for (at, child) in children.iter().enumerate() {
        let task = child.task();
        if task.parent.as_ref() != Some(parent) {
            let what = format!("task {} is not a child of {parent}, whose turn it comes with", task.id);
            return Ok(Err(Error::decode(what)));
        }
        let size = match facts::admit(task) {
            Ok(size) => size,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = facts::stored_with(child, turn.now) {
            return Ok(Err(refusal));
        }
        let twin = match seen.insert(&task.id, task) {
            Some(twin) => Some(facts::same_input(twin, task).map(|()| Submitted::Known)),
            None => known(turn, task)?,
        };
        match twin {
            Some(Err(diverged)) => return Ok(Err(diverged)),
            Some(Ok(_)) => (),
            None => {
                new.push((at, size));
                queued += usize::from(matches!(child, Child::Queued(_)));
                bytes += size;
            }
        }
    }
    Ok(room(turn, queued, bytes).map(|()| new))
}

/// Stores a child of a turn that is not known yet.
pub(super) fn store_child(turn: &mut Turn<'_>, child: &Child, bytes: usize) -> Done<()> {
    let task = child.task();
    match facts::stored_with(child, turn.now).map_err(Fault::Told)? {
        None => store(turn, task, bytes).map(|_| ()),
        Some(outcome) => {
            let Some(seq) = insert(turn, task)? else { return Ok(()) };
            let ended = Ended { outcome, lease: None, attempts: 0, records: 0 };
            rows::insert_outcome(turn.db, seq, &ended)?;
            let outcome = ended.outcome;
            turn.all_happened(facts::ended(task, &outcome));
            park::ended(turn, outcome);
            Ok(())
        }
    }
}

/// Stores a task and queues it; whether its id was not known.
pub(super) fn store(turn: &mut Turn<'_>, task: &Task, bytes: usize) -> Done<bool> {
    let Some(seq) = insert(turn, task)? else { return Ok(false) };
    let item = Item {
        task: task.id.clone(),
        seq,
        capability: task.capability.clone(),
        priority: task.priority,
        deadline: task.deadline,
        not_before: 0,
        claims: 0,
        free: 0,
        bytes,
        begun_by: BegunBy::default(),
    };
    turn.core.tasks.enqueue(item, task.clone(), turn.now);
    turn.core.tasks.put_down(turn.db, &task.id)?;
    Ok(true)
}

/// The task's row and its first event; its place, unless its id was known.
fn insert(turn: &mut Turn<'_>, task: &Task) -> Done<Option<u64>> {
    let seq = turn.core.tasks.newest + 1;
    if !rows::insert_task(turn.db, seq, task)? {
        return Ok(None);
    }
    turn.core.tasks.newest = seq;
    turn.happened(facts::created(task));
    Ok(Some(seq))
}

/// What a task is answered with whose id is known; none when it is not.
fn known(turn: &Turn<'_>, task: &Task) -> Done<Option<Result<Submitted>>> {
    let recorded = rows::task(turn.db.conn(), &task.id)?;
    Ok(recorded.map(|recorded| facts::same_input(&recorded.task, task).map(|()| Submitted::Known)))
}

/// Why a task cannot be a child of its parent.
fn orphaned(turn: &Turn<'_>, task: &Task) -> Done<Option<Error>> {
    let Some(parent) = &task.parent else { return Ok(None) };
    if turn.core.tasks.queue.get(parent).is_some() {
        return Ok(None);
    }
    Ok(Some(match rows::outcome(turn.db.conn(), parent)? {
        Some(ended) => facts::orphaned(&ended.outcome),
        None => Error::not_found(format!("task {parent}")),
    }))
}

pub(super) fn room(turn: &Turn<'_>, tasks: usize, bytes: usize) -> Result<()> {
    if turn.core.tasks.queue.has_room(tasks, bytes) {
        return Ok(());
    }
    let retry_after = std::time::Duration::from_millis(FULL_MS);
    Err(Error::Busy { to: "the task queue".into(), retry_after })
}
