//! Tasks that are laid aside until others have ended.
//!
//! The file says that a task is aside, and its newest record for what; who waits for whom is read back from there.

use rusqlite::Connection;

use super::super::fault::{Done, Fault};
use super::super::turn::Turn;
use super::{attempt, rows};
use crate::clock::Millis;
use crate::error::Result;
use crate::facts;
use crate::id::TaskId;
use crate::queue::Queue;
use crate::task::{Entry, Outcome};
use crate::tasks::Park;

/// Lays a claimed task aside.
pub(super) fn park(turn: &mut Turn<'_>, park: &Park) -> Done<Result<()>> {
    let Park { fence, on } = park;
    let checked = match facts::parkable(park) {
        Ok(()) => attempt::check(turn, fence)?,
        Err(refusal) => Err(refusal),
    };
    let seq = match checked {
        Ok(seq) => seq,
        Err(refusal) => return Ok(Err(refusal)),
    };
    attempt::record_all(turn, seq, fence, &[Entry::Parked { on: on.clone() }])?;
    turn.core.tasks.queue.lay_aside(&fence.task, fence.lease, on, turn.now);
    if any_ended(turn.db.conn(), on)? {
        turn.core.tasks.queue.take_up(&fence.task, turn.now);
    }
    turn.core.tasks.put_down(turn.db, &fence.task)?;
    turn.news.let_go.push((fence.lease, None));
    Ok(Ok(()))
}

/// A task has ended: who waits for it is told after the commit, who was laid aside for it stands in the queue again.
pub(super) fn ended(turn: &mut Turn<'_>, outcome: Outcome) {
    // It need not be put down: that it has ended is in the file, and whoever reads the file back takes them up.
    turn.core.tasks.queue.ended(&outcome.task, turn.now);
    turn.news.ended.push(outcome);
}

/// Reads back what the tasks wait for that are laid aside.
pub(super) fn reload(conn: &Connection, queue: &mut Queue, aside: &[(TaskId, u64, u64)], now: Millis) -> Done<()> {
    for (task, seq, records) in aside {
        let log = match rows::log(conn, *seq, *records) {
            // Whoever claims it finds the damage, and sets the task aside with its reason.
            Err(Fault::Damaged { .. }) => Vec::new(),
            read => read?,
        };
        match log.last().map(|record| &record.entry) {
            Some(Entry::Parked { on }) if !any_ended(conn, on)? => queue.waits_for(task, on),
            _ => queue.take_up(task, now),
        }
    }
    Ok(())
}

fn any_ended(conn: &Connection, tasks: &[TaskId]) -> Done<bool> {
    for task in tasks {
        if rows::outcome(conn, task)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
