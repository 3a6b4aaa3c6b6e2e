//! The rows of tasks: written with their checksum, verified when they are read.

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{Fields, Sum, int, nat};
use super::super::values;
use super::super::verify::Scan;
use crate::clock::Millis;
use crate::error::Error;
use crate::facts;
use crate::id::{NodeName, TaskId};
use crate::payload::Payload;
use crate::queue::{Held, Item};
use crate::task::{BegunBy, Entry, Outcome, Record, Task};

/// The columns of a table, for a query in which it goes by its first letter.
macro_rules! columns {
    (task) => {
        "t.seq, t.id, t.run, t.parent, t.capability, t.body, t.crc"
    };
    (queue) => {
        "q.seq, q.claims, q.free, q.not_before, q.records, q.lease, q.node, q.since, q.crc"
    };
    (outcome) => {
        "o.seq, o.status, o.at, o.lease, o.attempts, o.records, o.body, o.crc"
    };
}
pub(super) use columns;

/// A task and its place in the order of submission.
#[derive(Clone, Debug)]
pub(in super::super) struct Stored {
    pub(in super::super) seq: u64,
    pub(in super::super) task: Task,
}

/// Where an unfinished task stands.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) claims: u32,
    pub(super) free: u32,
    pub(super) not_before: Millis,
    /// How many records its log has: one that is missing at the end would not be noticed otherwise.
    pub(super) records: u64,
    pub(super) held: Option<(u64, NodeName, Millis)>,
}

/// How a task ended, and by which claim.
#[derive(Clone, Debug)]
pub(in super::super) struct Ended {
    pub(in super::super) outcome: Outcome,
    pub(super) lease: Option<u64>,
    /// How many attempts had begun.
    pub(super) attempts: u32,
    /// How many records its log has.
    pub(super) records: u64,
}

impl Queued {
    pub(super) fn attempts(&self) -> u32 {
        self.claims - self.free.min(self.claims)
    }
}

/// The document as it is stored.
pub(in super::super) fn json(document: &impl Serialize) -> Done<String> {
    serde_json::to_string(document).map_err(|e| Fault::Told(Error::decode(format!("cannot be written as JSON: {e}"))))
}

/// Stores a task unless its id is known; whether it was not.
pub(super) fn insert_task(db: &Db, seq: u64, task: &Task) -> Done<bool> {
    let known = file::one(db.conn(), "SELECT seq FROM task WHERE id = ?1", [task.id.as_str()], |_| Ok(()))?;
    if known.is_some() {
        return Ok(false);
    }
    let (seq, body) = (int(seq), json(&Task { input: values::store(db, &task.input)?, ..task.clone() })?);
    let (id, run, capability) = (task.id.as_str(), task.run.as_str(), task.capability.as_str());
    let parent = task.parent.as_ref().map(TaskId::as_str);
    let crc = Sum::of("task").int(seq).text(id).text(run).maybe(parent).text(capability).text(&body).crc();
    let sql = "INSERT INTO task VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(id) DO NOTHING";
    Ok(db.exec(sql, (seq, id, run, parent, capability, &body, crc))? == 1)
}

/// A task from the columns of its table, the first at `at`.
pub(super) fn read_task(conn: &Connection, row: &Row<'_>, at: usize) -> Done<Stored> {
    let Stored { seq, task } = read_stored(row, at)?;
    let input = values::load(conn, task.input.clone())?;
    Ok(Stored { seq, task: Task { input, ..task } })
}

/// The same, its input as it is stored.
fn read_stored(row: &Row<'_>, at: usize) -> Done<Stored> {
    let mut fields = Fields::of("task", row, at);
    let seq = fields.nat()?;
    let (_id, _run, _parent, _capability) = (fields.text()?, fields.text()?, fields.maybe()?, fields.text()?);
    let body = fields.text()?;
    Ok(Stored { seq, task: fields.verify()?.json(body)? })
}

/// A task by its id.
pub(in super::super) fn task(conn: &Connection, id: &TaskId) -> Done<Option<Stored>> {
    let sql = concat!("SELECT ", columns!(task), " FROM task t WHERE t.id = ?1");
    file::one(conn, sql, [id.as_str()], |row| read_task(conn, row, 0))
}

/// A task by its place, at which there has to be one.
pub(super) fn task_at(conn: &Connection, seq: u64) -> Done<Task> {
    let sql = concat!("SELECT ", columns!(task), " FROM task t WHERE t.seq = ?1");
    let found = file::one(conn, sql, [int(seq)], |row| read_task(conn, row, 0))?;
    found.map(|stored| stored.task).ok_or_else(|| Fault::damaged("task", seq))
}

/// The place of the newest task; 0 when there is none.
pub(super) fn newest(conn: &Connection) -> Done<u64> {
    let sql = concat!("SELECT ", columns!(task), " FROM task t ORDER BY t.seq DESC LIMIT 1");
    Ok(file::one(conn, sql, [], |row| read_stored(row, 0))?.map_or(0, |stored| stored.seq))
}

/// Stores where an unfinished task stands, in the place of where it stood.
pub(super) fn put_queued(db: &Db, item: &Item, held: Option<&Held>, records: u64) -> Done<()> {
    let Item { seq, claims, free, not_before, .. } = item;
    let (seq, claims, free) = (int(*seq), i64::from(*claims), i64::from(*free));
    let (not_before, records) = (int(*not_before), int(records));
    let (lease, since) = (held.map(|h| int(h.lease)), held.map(|h| int(h.since)));
    let node = held.map(|h| h.node.as_str());
    let sum = Sum::of("queue").int(seq).int(claims).int(free).int(not_before).int(records);
    let crc = sum.maybe_int(lease).maybe(node).maybe_int(since).crc();
    let sql = "INSERT OR REPLACE INTO queue VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    db.exec(sql, (seq, claims, free, not_before, records, lease, node, since, crc))?;
    Ok(())
}

/// Where a task stands, from the columns of its table; none when there is no row.
pub(super) fn read_queued(row: &Row<'_>, at: usize) -> Done<Option<Queued>> {
    if row.get::<_, Option<i64>>(at)?.is_none() {
        return Ok(None);
    }
    let mut fields = Fields::of("queue", row, at);
    let _seq = fields.nat()?;
    let (claims, free, not_before, records) = (fields.nat()?, fields.nat()?, fields.nat()?, fields.nat()?);
    let (lease, node, since) = (fields.maybe_int()?, fields.maybe()?, fields.maybe_int()?);
    let row = fields.verify()?;
    let count = |n: u64| row.is(u32::try_from(n).ok());
    let held = match (lease, node, since) {
        (Some(lease), Some(node), Some(since)) => Some((nat(lease), row.is(NodeName::parse(node).ok())?, nat(since))),
        _ => None,
    };
    Ok(Some(Queued { claims: count(claims)?, free: count(free)?, not_before, records, held }))
}

/// A task has ended: it stands nowhere any more.
pub(super) fn delete_queued(db: &Db, seq: u64) -> Done<()> {
    db.exec("DELETE FROM queue WHERE seq = ?1", [int(seq)])?;
    Ok(())
}

/// Records how a task ended, once.
pub(super) fn insert_outcome(db: &Db, seq: u64, ended: &Ended) -> Done<()> {
    let Ended { outcome, lease, attempts, records } = ended;
    let stored = Outcome { output: values::store(db, &outcome.output)?, ..outcome.clone() };
    let (status, body) = (outcome.status.as_str(), json(&stored)?);
    let (seq, at, lease) = (int(seq), int(outcome.finished_at), lease.map(int));
    let (attempts, records) = (i64::from(*attempts), int(*records));
    let sum = Sum::of("outcome").int(seq).text(status).int(at).maybe_int(lease).int(attempts).int(records);
    let crc = sum.text(&body).crc();
    let sql = "INSERT INTO outcome VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    db.exec(sql, (seq, status, at, lease, attempts, records, &body, crc))?;
    Ok(())
}

/// How a task ended, from the columns of its table; none when there is no row.
pub(super) fn read_outcome(conn: &Connection, row: &Row<'_>, at: usize) -> Done<Option<Ended>> {
    let Some(Ended { outcome, lease, attempts, records }) = read_ended(row, at)? else { return Ok(None) };
    let output = values::load(conn, outcome.output.clone())?;
    Ok(Some(Ended { outcome: Outcome { output, ..outcome }, lease, attempts, records }))
}

/// The same, its output as it is stored.
fn read_ended(row: &Row<'_>, at: usize) -> Done<Option<Ended>> {
    if row.get::<_, Option<i64>>(at)?.is_none() {
        return Ok(None);
    }
    let mut fields = Fields::of("outcome", row, at);
    let (_seq, _status, _at, lease) = (fields.nat()?, fields.text()?, fields.nat()?, fields.maybe_int()?);
    let (attempts, records, body) = (fields.nat()?, fields.nat()?, fields.text()?);
    let row = fields.verify()?;
    let attempts = row.is(u32::try_from(attempts).ok())?;
    Ok(Some(Ended { outcome: row.json(body)?, lease: lease.map(nat), attempts, records }))
}

/// How a task ended; none when it has not, or is not known.
pub(in super::super) fn outcome(conn: &Connection, id: &TaskId) -> Done<Option<Ended>> {
    let sql = concat!("SELECT ", columns!(outcome), " FROM task t JOIN outcome o ON o.seq = t.seq WHERE t.id = ?1");
    Ok(file::one(conn, sql, [id.as_str()], |row| read_outcome(conn, row, 0))?.flatten())
}

/// Appends to a task's log.
pub(super) fn append(db: &Db, seq: u64, record: &Record) -> Done<()> {
    let entry = with_value(record.entry.clone(), |value| values::store(db, &value))?;
    let (seq, n, at, body) = (int(seq), int(record.n), int(record.at), json(&entry)?);
    let crc = Sum::of("journal").int(seq).int(n).int(at).text(&body).crc();
    db.exec("INSERT INTO journal VALUES(?1, ?2, ?3, ?4, ?5)", (seq, n, at, &body, crc))?;
    Ok(())
}

/// An entry with something else in the place of its value, if it has one.
fn with_value(entry: Entry, change: impl FnOnce(Payload) -> Done<Payload>) -> Done<Entry> {
    Ok(match entry {
        Entry::Step { name, value, input } => Entry::Step { name, value: change(value)?, input },
        Entry::Effect { name, value } => Entry::Effect { name, value: change(value)? },
        other => other,
    })
}

/// A record, its value as it is stored.
fn read_record(row: &Row<'_>) -> Done<Record> {
    let mut fields = Fields::of("journal", row, 0);
    let (_seq, n, at, body) = (fields.nat()?, fields.nat()?, fields.nat()?, fields.text()?);
    let entry = fields.verify()?.json(body)?;
    Ok(Record { n, at, entry })
}

/// The log of the task at a place, oldest first, which has so many records.
pub(super) fn log(conn: &Connection, seq: u64, records: u64) -> Done<Vec<Record>> {
    let sql = "SELECT seq, n, at, body, crc FROM journal WHERE seq = ?1 ORDER BY n";
    let log = file::all(conn, sql, [int(seq)], |row| {
        let Record { n, at, entry } = read_record(row)?;
        Ok(Record { n, at, entry: with_value(entry, |value| values::load(conn, value))? })
    })?;
    // A record that is missing is as bad as one that was changed.
    let whole = log.len() as u64 == records && log.iter().zip(1..).all(|(record, n)| record.n == n);
    if whole { Ok(log) } else { Err(Fault::damaged("journal", seq)) }
}

/// Which version the task at a place stays with, as its log tells it; its claims and releases alone are read.
pub(super) fn begun_by(conn: &Connection, seq: u64) -> Done<BegunBy> {
    let sql = "SELECT seq, n, at, body, crc FROM journal WHERE seq = ?1
               AND (body GLOB '{\"claimed\"*' OR body GLOB '{\"released\"*') ORDER BY n";
    let mut begun = BegunBy::default();
    let mut last = 0;
    file::all(conn, sql, [int(seq)], |row| {
        let Record { n, entry, .. } = read_record(row)?;
        if n != last + 1 {
            // What stands in between is the work of a handler.
            begun.settle();
        }
        last = n;
        begun.add(&entry);
        Ok(())
    })?;
    Ok(begun)
}

/// The log of the task at a place, whether it has ended or not.
pub(super) fn whole_log(conn: &Connection, seq: u64) -> Done<Vec<Record>> {
    let sql = concat!(
        "SELECT ",
        columns!(queue),
        ", ",
        columns!(outcome),
        " FROM task t LEFT JOIN queue q ON q.seq = t.seq LEFT JOIN outcome o ON o.seq = t.seq WHERE t.seq = ?1"
    );
    let records = file::one(conn, sql, [int(seq)], |row| {
        let (queued, ended) = (read_queued(row, 0)?, read_ended(row, 9)?);
        Ok(queued.map(|queued| queued.records).or(ended.map(|ended| ended.records)))
    })?;
    log(conn, seq, records.flatten().ok_or_else(|| Fault::damaged("queue", seq))?)
}

/// What the mirror holds of a task.
pub(super) fn item(stored: &Stored, queued: &Queued) -> Item {
    let Stored { seq, task } = stored;
    Item {
        task: task.id.clone(),
        seq: *seq,
        capability: task.capability.clone(),
        priority: task.priority,
        deadline: task.deadline,
        not_before: queued.not_before,
        claims: queued.claims,
        free: queued.free,
        bytes: facts::admit(task).unwrap_or(0),
        begun_by: BegunBy::default(),
    }
}

/// The claim of a task that was held when it was last written.
pub(super) fn held(queued: &Queued, until: Millis) -> Option<Held> {
    let (lease, node, since) = queued.held.clone()?;
    Some(Held { lease, attempt: queued.attempts(), node, since, until })
}

/// All rows of tasks.
pub(in super::super) const SCANS: &[Scan] = &[
    (concat!("SELECT ", columns!(task), " FROM task t"), |row| read_stored(row, 0).map(drop)),
    (concat!("SELECT ", columns!(queue), " FROM queue q"), |row| read_queued(row, 0).map(drop)),
    (concat!("SELECT ", columns!(outcome), " FROM outcome o"), |row| read_ended(row, 0).map(drop)),
    ("SELECT seq, n, at, body, crc FROM journal", |row| read_record(row).map(drop)),
];

/// Every task is unfinished or has its outcome, not both, and its log is whole.
pub(in super::super) fn stand_somewhere(conn: &Connection) -> Done<()> {
    let sql = "SELECT t.seq, (q.seq IS NULL) = (o.seq IS NULL) FROM task t
               LEFT JOIN queue q ON q.seq = t.seq LEFT JOIN outcome o ON o.seq = t.seq";
    file::all(conn, sql, [], |row| {
        let (seq, nowhere) = (nat(row.get(0)?), row.get(1)?);
        if nowhere { Err(Fault::damaged("queue", seq)) } else { whole_log(conn, seq).map(drop) }
    })?;
    Ok(())
}
