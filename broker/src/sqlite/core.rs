//! What the writer keeps in memory beside the file: numbers, the mirror of unfinished tasks, and who waits.
//!
//! Whatever here follows from the file is read back from it after a rollback, as at opening, so it can never differ from
//! what was committed. Whatever does not (who is waiting for a task, who holds one) stays.

use rusqlite::Connection;

use super::fault::Done;
use super::marks::Marks;
use super::state::Snapshots;
use super::tasks::Mirror;
use super::{dead, events, state};
use crate::clock::Millis;
use crate::state::spare::Spare;

pub(super) struct Core {
    /// The newest event and the newest change of state.
    pub(super) marks: Marks,
    /// When the next snapshot of state is due.
    pub(super) snapshots: Snapshots,
    /// When it is worth looking for state that may make room.
    pub(super) spare: Spare,
    /// How many dead letters there are.
    pub(super) dead: u64,
    /// The unfinished tasks.
    pub(super) tasks: Mirror,
}

impl Core {
    /// Reads back what follows from the file.
    pub(super) fn reload(&mut self, conn: &Connection, now: Millis) -> Done<()> {
        self.marks = marks(conn)?;
        self.snapshots.reload(conn)?;
        self.dead = dead::count(conn)?;
        self.tasks.reload(conn, now)
    }
}

/// How far the file has come.
pub(super) fn marks(conn: &Connection) -> Done<Marks> {
    Ok(Marks { event: events::newest_number(conn)?, change: state::newest(conn)?.0 })
}
