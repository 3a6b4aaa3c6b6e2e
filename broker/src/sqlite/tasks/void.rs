//! What is left of the process that owned the store before: its claims, which hold no longer.

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{Fields, Sum};
use super::rows::{self, Queued, Stored, columns};
use crate::clock::{Millis, millis};
use crate::queue::Item;
use crate::suspect;
use crate::task::{Entry, Record};

/// Counts an opening of the store and takes back every claim of whoever owned it before: what was in progress is pending
/// again, and remembers the death. The number of this opening.
pub(in super::super) fn void_claims(db: &Db, now: Millis) -> Done<u64> {
    let opening = 1 + number(db, OPENINGS)?.unwrap_or(0);
    set_number(db, OPENINGS, opening)?;
    let held = held(db)?;
    if !held.is_empty() {
        let again = number(db, DIED)?.is_some_and(|before| now.saturating_sub(before) < millis(suspect::AGAIN));
        set_number(db, DIED, now)?;
        tracing::warn!(tasks = held.len(), again, "the process that had the store died at work, its tasks go on");
        for (stored, queued) in &held {
            void(db, stored, queued, Death { beside: held.len() - 1, again, at: now })?;
        }
    }
    db.commit()?;
    Ok(opening)
}

/// How often the store was opened.
const OPENINGS: &str = "openings";
/// When it was last seen that a process had died at work.
const DIED: &str = "died";

fn number(db: &Db, name: &str) -> Done<Option<u64>> {
    file::one(db.conn(), "SELECT name, value, crc FROM meta WHERE name = ?1", [name], |row| {
        let mut fields = Fields::of("meta", row, 0);
        let (_name, value) = (fields.text()?, fields.text()?);
        let row = fields.verify()?;
        row.is(value.parse::<u64>().ok())
    })
}

fn set_number(db: &Db, name: &str, number: u64) -> Done<()> {
    let value = number.to_string();
    let crc = Sum::of("meta").text(name).text(&value).crc();
    db.exec("INSERT OR REPLACE INTO meta VALUES(?1, ?2, ?3)", (name, &value, crc)).map(drop)
}

/// What is known of the process that died.
#[derive(Clone, Copy)]
struct Death {
    /// How many other tasks it held.
    beside: usize,
    /// Whether another one had died a moment before.
    again: bool,
    at: Millis,
}

fn held(db: &Db) -> Done<Vec<(Stored, Queued)>> {
    let sql = concat!(
        "SELECT ",
        columns!(task),
        ", ",
        columns!(queue),
        " FROM queue q JOIN task t ON t.seq = q.seq WHERE q.node IS NOT NULL"
    );
    file::all(db.conn(), sql, [], |row| {
        let stored = rows::read_task(db.conn(), row, 0)?;
        let queued = rows::read_queued(row, 7)?.ok_or_else(|| Fault::damaged("queue", stored.seq))?;
        Ok((stored, queued))
    })
}

/// Puts a task back that was held.
fn void(db: &Db, stored: &Stored, queued: &Queued, death: Death) -> Done<()> {
    let item = rows::item(stored, queued);
    let Some((_, node, _)) = queued.held.clone() else { return Ok(()) };
    let log = match rows::log(db.conn(), stored.seq, queued.records) {
        Ok(log) => log,
        // Whoever claims it finds the damage, and sets the task aside with its reason.
        Err(Fault::Damaged { .. }) => return rows::put_queued(db, &item, None, queued.records),
        Err(fault) => return Err(fault),
    };
    let Death { beside, again, at } = death;
    let entry = suspect::died(&log, &stored.task.retry, node, beside, again, at);
    let not_before = if let Entry::Died { not_before, .. } = entry { not_before } else { 0 };
    let record = Record { n: queued.records + 1, at, entry };
    rows::append(db, stored.seq, &record)?;
    // Beside others it costs no attempt.
    let free = item.free + u32::from(beside > 0);
    rows::put_queued(db, &Item { free, not_before, ..item }, None, record.n)
}
