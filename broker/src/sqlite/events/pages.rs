//! The rows of the log.

use rusqlite::{Connection, Row};

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{Fields, Sum, int, nat};
use super::super::tasks::json;
use super::super::values;
use super::super::verify::Scan;
use crate::clock::Millis;
use crate::event::Event;
use crate::events::EventFilter;
use crate::id::RunId;

/// The most events in one row.
const PAGE: usize = 256;

/// Stores events, whose numbers follow each other.
pub(in super::super) fn store(db: &Db, events: &[Event]) -> Done<()> {
    for page in events.chunk_by(|a, b| a.run == b.run).flat_map(|neighbours| neighbours.chunks(PAGE)) {
        let Some(first) = page.first() else { continue };
        let stored = |event: &Event| Ok(Event { payload: values::store(db, &event.payload)?, ..event.clone() });
        let stored = page.iter().map(stored).collect::<Done<Vec<Event>>>()?;
        let (number, count, body) = (int(first.seq), int(page.len() as u64), json(&stored)?);
        let run = first.run.as_ref().map(RunId::as_str);
        let crc = Sum::of("page").int(number).maybe(run).int(count).text(&body).crc();
        db.exec("INSERT INTO page VALUES(?1, ?2, ?3, ?4, ?5)", (number, run, count, &body, crc))?;
    }
    Ok(())
}

/// Up to `limit` events that pass, from number `from` on, and the number to go on from.
pub(super) fn read(conn: &Connection, filter: &EventFilter, from: u64, limit: usize) -> Done<(Vec<Event>, u64)> {
    // Number `from` is on the last page that begins with it or before it.
    let sql = match &filter.run {
        Some(_) => {
            "SELECT first, run, count, body, crc FROM page WHERE run = ?2
             AND first >= coalesce((SELECT max(first) FROM page WHERE first <= ?1), 0) ORDER BY first"
        }
        None => {
            "SELECT first, run, count, body, crc FROM page WHERE ?2 IS NULL
             AND first >= coalesce((SELECT max(first) FROM page WHERE first <= ?1), 0) ORDER BY first"
        }
    };
    let (mut found, mut next, mut expected) = (Vec::new(), from, None);
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((int(from), filter.run.as_ref().map(RunId::as_str)))?;
    while let Some(row) = rows.next()? {
        let page = page(row)?;
        // Of a run's pages only some follow each other, of all pages each has to.
        let first = page.first().map(|event| event.seq);
        if filter.run.is_none() && expected.is_some() && first != expected {
            return Err(Fault::damaged("page", expected.unwrap_or(0)));
        }
        expected = page.last().map(|event| event.seq + 1);
        for event in page.into_iter().skip_while(|event| event.seq < from) {
            if found.len() == limit {
                return Ok((found, next));
            }
            next = event.seq + 1;
            if filter.passes(&event) {
                found.push(Event { payload: values::load(conn, event.payload)?, ..event });
            }
        }
    }
    Ok((found, next))
}

/// The number and the time of the newest event; zeros when there is none.
pub(in super::super) fn newest(conn: &Connection) -> Done<(u64, Millis)> {
    let sql = "SELECT first, run, count, body, crc FROM page ORDER BY first DESC LIMIT 1";
    let last = file::one(conn, sql, [], page)?.and_then(|mut page| page.pop());
    Ok(last.map_or((0, 0), |event| (event.seq, event.time)))
}

/// The number of the newest event, without a look at what it says.
pub(in super::super) fn newest_number(conn: &Connection) -> Done<u64> {
    let sql = "SELECT first, run, count, body, crc FROM page ORDER BY first DESC LIMIT 1";
    let last = file::one(conn, sql, [], |row| {
        let mut fields = Fields::of("page", row, 0);
        let (first, _run, count, _body) = (fields.nat()?, fields.maybe()?, fields.nat()?, fields.text()?);
        fields.verify()?;
        Ok(first + count - 1)
    })?;
    Ok(last.unwrap_or(0))
}

fn page(row: &Row<'_>) -> Done<Vec<Event>> {
    let mut fields = Fields::of("page", row, 0);
    let (first, _run, count, body) = (fields.nat()?, fields.maybe()?, fields.nat()?, fields.text()?);
    let events: Vec<Event> = fields.verify()?.json(body)?;
    let whole = events.len() as u64 == count && events.iter().zip(first..).all(|(event, seq)| event.seq == seq);
    if whole { Ok(events) } else { Err(Fault::damaged("page", first)) }
}

/// All rows of events.
pub(in super::super) const SCANS: &[Scan] =
    &[("SELECT first, run, count, body, crc FROM page", |row| page(row).map(drop))];

/// No event is missing.
pub(in super::super) fn is_gapless(conn: &Connection) -> Done<()> {
    let mut next = 1;
    file::all(conn, "SELECT first, count FROM page ORDER BY first", [], |row| {
        let (first, count) = (nat(row.get(0)?), nat(row.get(1)?));
        if first != next {
            return Err(Fault::damaged("page", next));
        }
        next = first + count;
        Ok(())
    })?;
    Ok(())
}
