//! The rows of state: written with their checksum, verified when they are read.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{Fields, Sum, int, nat};
use super::super::tasks::json;
use super::super::values;
use super::super::verify::Scan;
use crate::clock::Millis;
use crate::id::TaskId;
use crate::payload::Payload;
use crate::state::{Author, Change, Key, StateEntry};

/// The entries at some moment.
pub(super) type Entries = BTreeMap<Key, StateEntry>;

/// The entry at a key.
pub(super) fn entry(conn: &Connection, key: &Key) -> Done<Option<StateEntry>> {
    let sql = "SELECT key, version, value, updated_by, updated_at, crc FROM state WHERE key = ?1";
    file::one(conn, sql, [key.as_str()], |row| whole(conn, read_entry(row)?))
}

/// The entries of a key and of all keys below it, by key.
pub(super) fn below(conn: &Connection, prefix: &str) -> Done<Vec<StateEntry>> {
    stored_below(conn, prefix)?.into_iter().map(|entry| whole(conn, entry)).collect()
}

/// An entry with its value in the place of a reference to it.
fn whole(conn: &Connection, entry: StateEntry) -> Done<StateEntry> {
    Ok(StateEntry { value: values::load(conn, entry.value)?, ..entry })
}

/// The same entries, their values as they are stored.
fn stored_below(conn: &Connection, prefix: &str) -> Done<Vec<StateEntry>> {
    // `/` is the character after `.`, so everything between them is below the key, and nothing else is.
    let sql = "SELECT key, version, value, updated_by, updated_at, crc FROM state
               WHERE ?1 = '' OR key = ?1 OR (key > ?1 || '.' AND key < ?1 || '/') ORDER BY key";
    file::all(conn, sql, [prefix], read_entry)
}

fn read_entry(row: &Row<'_>) -> Done<StateEntry> {
    let mut fields = Fields::of("state", row, 0);
    let (key, version, value) = (fields.text()?, fields.nat()?, fields.text()?);
    let (by, updated_at) = (fields.text()?.to_owned(), fields.nat()?);
    let row = fields.verify()?;
    let key = row.is(Key::parse(key).ok())?;
    Ok(StateEntry { key, value: row.json(value)?, version, updated_by: by, updated_at })
}

/// Makes the entry what a change says.
pub(super) fn apply(db: &Db, change: &Change) -> Done<()> {
    let key = change.key.as_str();
    let Some(value) = &change.value else {
        db.exec("DELETE FROM state WHERE key = ?1", [key])?;
        return Ok(());
    };
    let stored = values::store(db, value)?;
    let (version, value, by, at) = (int(change.version), stored.json()?, change.by.as_str(), int(change.at));
    let crc = Sum::of("state").text(key).int(version).text(value).text(by).int(at).crc();
    db.exec("INSERT OR REPLACE INTO state VALUES(?1, ?2, ?3, ?4, ?5, ?6)", (key, version, value, by, at, crc))?;
    Ok(())
}

/// Adds a change to the history.
pub(super) fn record(db: &Db, change: &Change) -> Done<()> {
    let text = |payload: &Option<Payload>| -> Done<Option<String>> {
        let stored = payload.as_ref().map(|payload| values::store(db, payload)).transpose()?;
        Ok(stored.map(|stored| stored.json().map(str::to_owned)).transpose()?)
    };
    let (sequence, key, by, at) = (int(change.sequence), change.key.as_str(), change.by.as_str(), int(change.at));
    let (value, previous) = (text(&change.value)?, text(&change.previous)?);
    let (task, attempt) = change.task.as_ref().map(|by| (by.task.as_str(), i64::from(by.attempt))).unzip();
    let record = change.task.as_ref().filter(|by| by.record > 0).map(|by| int(by.record));
    let sum = Sum::of("history").int(sequence).text(key).maybe(value.as_deref()).maybe(previous.as_deref());
    let crc = sum.text(by).int(at).maybe(task).maybe_int(attempt).later_int(record).crc();
    let sql = "INSERT INTO history(sequence, key, value, previous, updated_by, at, task, attempt, record, crc)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    db.exec(sql, (sequence, key, value, previous, by, at, task, attempt, record, crc))?;
    Ok(())
}

fn read_change(row: &Row<'_>) -> Done<Change> {
    let mut fields = Fields::of("history", row, 0);
    let (sequence, key) = (fields.nat()?, fields.text()?);
    let (value, previous) = (fields.maybe()?, fields.maybe()?);
    let (by, at) = (fields.text()?.to_owned(), fields.nat()?);
    let (task, attempt, record) = (fields.maybe()?, fields.maybe_int()?, fields.later_int()?);
    let row = fields.verify()?;
    let key = row.is(Key::parse(key).ok())?;
    let task = match (task, attempt) {
        (Some(task), Some(n)) => Some(Author {
            task: row.is(TaskId::parse(task).ok())?,
            attempt: row.is(u32::try_from(n).ok())?,
            record: record.map_or(0, nat),
        }),
        _ => None,
    };
    let payload = |text: Option<&str>| text.map(|text| row.json(text)).transpose();
    let (value, previous) = (payload(value)?, payload(previous)?);
    Ok(Change { sequence, key, value, previous, version: sequence, by, at, task })
}

/// A change with its values in the place of references to them.
fn whole_change(conn: &Connection, change: Change) -> Done<Change> {
    let load = |value: Option<Payload>| value.map(|value| values::load(conn, value)).transpose();
    Ok(Change { value: load(change.value)?, previous: load(change.previous)?, ..change })
}

/// The columns of a change.
const HISTORY: &str = "SELECT sequence, key, value, previous, updated_by, at, task, attempt, record, crc FROM history";
/// The same of a store that has no records there.
const OLD_HISTORY: &str =
    "SELECT sequence, key, value, previous, updated_by, at, task, attempt, NULL, crc FROM history";

fn select(conn: &Connection, which: &str) -> Done<String> {
    let columns = if file::is_since(conn, 3)? { HISTORY } else { OLD_HISTORY };
    Ok(format!("{columns} {which}"))
}

/// The changes of one key, oldest first.
pub(super) fn history(conn: &Connection, key: &Key) -> Done<Vec<Change>> {
    let sql = select(conn, "WHERE key = ?1 ORDER BY sequence")?;
    file::all(conn, &sql, [key.as_str()], |row| whole_change(conn, read_change(row)?))
}

/// Changes after number `after`, oldest first, up to number `until` and at most `limit`.
pub(super) fn changes(conn: &Connection, after: u64, until: u64, limit: u64) -> Done<Vec<Change>> {
    let sql = select(conn, "WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3")?;
    let changes =
        file::all(conn, &sql, (int(after), int(until), int(limit)), |row| whole_change(conn, read_change(row)?))?;
    match changes.iter().zip(after + 1..).find(|(change, number)| change.sequence != *number) {
        None => Ok(changes),
        Some((_, missing)) => Err(Fault::damaged("history", missing)),
    }
}

/// The number and the time of the newest change; zeros when there is none.
pub(in super::super) fn newest(conn: &Connection) -> Done<(u64, Millis)> {
    let sql = select(conn, "ORDER BY sequence DESC LIMIT 1")?;
    Ok(file::one(conn, &sql, [], read_change)?.map_or((0, 0), |change| (change.sequence, change.at)))
}

/// How many changes there were up to and including a time.
pub(super) fn changes_until(conn: &Connection, time: Millis) -> Done<u64> {
    // Times never go back, so of the changes that are not later the last one has all others before it.
    let sql = "SELECT sequence FROM history WHERE at <= ?1 ORDER BY sequence DESC LIMIT 1";
    file::number(conn, sql, [int(time)])
}

/// Copies all entries as they are after change number `sequence`.
pub(super) fn take_snapshot(db: &Db, sequence: u64, at: Millis) -> Done<()> {
    let (sequence, at, body) = (int(sequence), int(at), json(&stored_below(db.conn(), "")?)?);
    let crc = Sum::of("snapshot").int(sequence).int(at).text(&body).crc();
    db.exec("INSERT INTO snapshot VALUES(?1, ?2, ?3, ?4)", (sequence, at, &body, crc))?;
    Ok(())
}

/// The newest snapshot that is not after change number `sequence`; before the first one, nothing.
pub(super) fn snapshot(conn: &Connection, sequence: u64) -> Done<(u64, Entries)> {
    let sql = "SELECT sequence, at, body, crc FROM snapshot WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT 1";
    let Some((sequence, entries)) = file::one(conn, sql, [int(sequence)], read_snapshot)? else {
        return Ok(Default::default());
    };
    let entries = entries.into_iter().map(|(key, entry)| Ok((key, whole(conn, entry)?))).collect::<Done<Entries>>()?;
    Ok((sequence, entries))
}

fn read_snapshot(row: &Row<'_>) -> Done<(u64, Entries)> {
    let mut fields = Fields::of("snapshot", row, 0);
    let (sequence, _at, body) = (fields.nat()?, fields.nat()?, fields.text()?);
    let entries: Vec<StateEntry> = fields.verify()?.json(body)?;
    Ok((sequence, entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect()))
}

/// All rows of state.
pub(in super::super) const SCANS: &[Scan] = &[
    ("SELECT key, version, value, updated_by, updated_at, crc FROM state", |row| read_entry(row).map(drop)),
    ("SELECT sequence, at, body, crc FROM snapshot", |row| read_snapshot(row).map(drop)),
];

/// All rows of the history.
pub(in super::super) fn history_scan(conn: &Connection) -> Done<Scan> {
    Ok((if file::is_since(conn, 3)? { HISTORY } else { OLD_HISTORY }, |row| read_change(row).map(drop)))
}

/// No change is missing.
pub(in super::super) fn is_gapless(conn: &Connection) -> Done<()> {
    changes(conn, 0, u64::MAX, u64::MAX).map(drop)
}
