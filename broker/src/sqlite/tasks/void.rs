//! What is left of the process that owned the store before: its claims, which hold no longer.

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{Fields, Sum};
use super::rows::{self, Queued, Stored, columns};
use crate::clock::Millis;
use crate::queue::Item;
use crate::suspect;
use crate::task::{Entry, Record};

/// Counts an opening of the store and takes back every claim of whoever owned it before: what was in progress is pending
/// again, and a [suspect]. The number of this opening.
pub(in super::super) fn void_claims(db: &Db, now: Millis) -> Done<u64> {
    let opening = 1 + file::one(db.conn(), "SELECT name, value, crc FROM meta WHERE name = 'openings'", [], |row| {
        let mut fields = Fields::of("meta", row, 0);
        let (_name, value) = (fields.text()?, fields.text()?);
        let row = fields.verify()?;
        row.is(value.parse::<u64>().ok())
    })?
    .unwrap_or(0);
    let value = opening.to_string();
    let crc = Sum::of("meta").text("openings").text(&value).crc();
    db.exec("INSERT OR REPLACE INTO meta VALUES('openings', ?1, ?2)", (&value, crc))?;
    let held = held(db)?;
    if !held.is_empty() {
        tracing::warn!(tasks = held.len(), "the process that had the store died at work, its tasks go on as suspects");
    }
    for (stored, queued) in &held {
        void(db, stored, queued, held.len() - 1, now)?;
    }
    db.commit()?;
    Ok(opening)
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

/// Puts a task back that was held beside so many others.
fn void(db: &Db, stored: &Stored, queued: &Queued, beside: usize, now: Millis) -> Done<()> {
    let item = rows::item(stored, queued);
    let Some((_, node, _)) = queued.held.clone() else { return Ok(()) };
    let log = match rows::log(db.conn(), stored.seq, queued.records) {
        Ok(log) => log,
        // Whoever claims it finds the damage, and sets the task aside with its reason.
        Err(Fault::Damaged { .. }) => return rows::put_queued(db, &item, None, queued.records),
        Err(fault) => return Err(fault),
    };
    let entry = suspect::died(&log, &stored.task.retry, node, beside, now);
    let not_before = if let Entry::Died { not_before, .. } = entry { not_before } else { 0 };
    let record = Record { n: queued.records + 1, at: now, entry };
    rows::append(db, stored.seq, &record)?;
    // Beside others it costs no attempt.
    let free = item.free + u32::from(beside > 0);
    rows::put_queued(db, &Item { free, not_before, ..item }, None, record.n)
}
