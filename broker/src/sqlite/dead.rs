//! The room for dead letters.

use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::fault::Done;
use super::file;
use super::job::Cost;
use super::store::Store;
use super::sum::{Fields, Sum, int};
use super::tasks::{self, json};
use super::turn::Turn;
use super::verify::Scan;
use super::view::View;
use super::writer::WeakWriter;
use crate::BoxFuture;
use crate::dead_letter::{DeadLetter, DeadLetters, MAX_DEAD_MESSAGES, NewDeadLetter, Reason};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::messages::{DeadMessages, Message};
use crate::payload::Payload;

/// The most dead letters in one page.
const MAX_PAGE: usize = 1_000;

/// Keeps a dead letter. The oldest messages make room, tasks never do.
pub(super) fn store(turn: &mut Turn<'_>, letter: NewDeadLetter) -> Done<()> {
    // Numbers are never given twice, also not after the newest letter was purged: SQLite remembers the highest.
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'dead'";
    let seq = file::number(turn.db.conn(), last, [])? + 1;
    letter.reason.count();
    put(turn, &DeadLetter::new(seq, turn.now, letter))?;
    turn.core.dead += 1;
    if turn.core.dead > MAX_DEAD_MESSAGES as u64 {
        let sql = "DELETE FROM dead WHERE seq = (SELECT min(seq) FROM dead WHERE task IS NULL)";
        turn.core.dead -= turn.db.exec(sql, [])? as u64;
    }
    Ok(())
}

fn put(turn: &Turn<'_>, letter: &DeadLetter) -> Done<()> {
    let (seq, task, body) = (int(letter.seq), letter.task.as_ref().map(TaskId::as_str), json(letter)?);
    let crc = Sum::of("dead").int(seq).maybe(task).text(&body).crc();
    turn.db.exec("INSERT OR REPLACE INTO dead VALUES(?1, ?2, ?3, ?4)", (seq, task, &body, crc))?;
    Ok(())
}

fn read(row: &Row<'_>) -> Done<DeadLetter> {
    let mut fields = Fields::of("dead", row, 0);
    let (_seq, _task, body) = (fields.nat()?, fields.maybe()?, fields.text()?);
    fields.verify()?.json(body)
}

fn get(conn: &Connection, seq: u64) -> Done<Option<DeadLetter>> {
    file::one(conn, "SELECT seq, task, body, crc FROM dead WHERE seq = ?1", [int(seq)], read)
}

/// How many there are.
pub(super) fn count(conn: &Connection) -> Done<u64> {
    file::number(conn, "SELECT count(*) FROM dead", [])
}

/// Puts a task back into its queue, once.
pub(super) fn retry(turn: &mut Turn<'_>, seq: u64) -> Done<Result<TaskId>> {
    let Some(letter) = get(turn.db.conn(), seq)? else {
        return Ok(Err(Error::not_found(format!("dead letter {seq}"))));
    };
    if let Some(again) = letter.retried_as {
        return Ok(Ok(again));
    }
    let Some(task) = &letter.task else {
        let key = format!("dead letter {seq}, a message,").into();
        return Ok(Err(Error::Conflict { key, expected: 0, actual: 0 }));
    };
    let again = match tasks::retry(turn, task)? {
        Ok(again) => again,
        refused => return Ok(refused),
    };
    put(turn, &DeadLetter { retried_as: Some(again.clone()), ..letter })?;
    Ok(Ok(again))
}

/// Deletes one, or all; how many there were.
pub(super) fn purge(turn: &mut Turn<'_>, seq: Option<u64>) -> Done<u64> {
    let purged = match seq {
        Some(seq) => turn.db.exec("DELETE FROM dead WHERE seq = ?1", [int(seq)])?,
        None => turn.db.exec("DELETE FROM dead", [])?,
    };
    turn.core.dead = count(turn.db.conn())?;
    Ok(purged as u64)
}

/// All rows of dead letters.
pub(super) const SCANS: &[Scan] = &[("SELECT seq, task, body, crc FROM dead", |row| read(row).map(drop))];

impl View {
    pub(super) async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>> {
        let limit = int(limit.min(MAX_PAGE) as u64);
        let sql = "SELECT seq, task, body, crc FROM dead WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        self.readers.read(move |conn| file::all(conn, sql, (int(after), limit), read)).await
    }

    pub(super) async fn dead_letter(&self, seq: u64) -> Result<Option<DeadLetter>> {
        self.readers.read(move |conn| get(conn, seq)).await
    }
}

/// Where the messages that came to nothing are kept. Nobody waits for it: a lost one has told its sender already.
pub(super) struct DeadBox(pub(super) WeakWriter);

impl DeadMessages for DeadBox {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        let Some(writer) = self.0.upgrade() else { return };
        let mut letter = facts::dead_message(message, reason, Some(why.to_owned()));
        if letter.body.json().is_err() {
            letter.body = Payload::null();
        }
        let bytes = letter.body.json().map_or(0, str::len) + 512;
        writer.post(Cost::write(bytes), move |turn| store(turn, letter.clone()));
    }
}

impl fmt::Debug for DeadBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sqlite::DeadBox")
    }
}

/// The room.
pub(super) struct DeadRoom(pub(super) Arc<Store>);

impl DeadLetters for DeadRoom {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(self.0.view.dead_letters(after, limit))
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        Box::pin(self.0.view.dead_letter(seq))
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        let answer = self.0.writer.call(Cost::write(512).at_edge(true), move |turn| retry(turn, seq));
        Box::pin(async move { answer.await? })
    }

    fn purge(&self, seq: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.0.writer.call(Cost::write(512).at_edge(true), move |turn| purge(turn, seq)))
    }
}
