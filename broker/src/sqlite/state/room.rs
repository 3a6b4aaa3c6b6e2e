//! Whose state makes room when there are as many entries as there may be. It stays in the history.

use std::collections::HashSet;

use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::turn::Turn;
use super::{put, rows};
use crate::id::RunId;
use crate::state::{Expect, Key, Write, spare};

/// Takes away entries of runs that are over; whether there is room now.
pub(super) fn make(turn: &mut Turn<'_>, keys: u64) -> Done<bool> {
    if turn.core.spare.is_due(turn.now) {
        let (mut gone, enough, kept) = (0, spare::enough(keys), with_letters(turn)?);
        for (run, keys) in spare::by_age(of_runs(turn)?) {
            if gone >= enough {
                break;
            }
            if !kept.contains(run.as_str()) && is_over(turn, &run)? {
                gone += clear(turn, keys)?;
            }
        }
        turn.core.spare.looked(gone, turn.now);
    }
    Ok(turn.core.snapshots.entries < keys)
}

/// The entries of all runs, with their versions. What is chosen by them is verified before it goes.
fn of_runs(turn: &Turn<'_>) -> Done<Vec<(Key, u64)>> {
    let sql = "SELECT key, version FROM state WHERE key > 'run.' AND key < 'run/'";
    let read = file::all(turn.db.conn(), sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let entries = read.into_iter().filter_map(|(key, version)| Some((Key::parse(&key).ok()?, version.unsigned_abs())));
    Ok(entries.collect())
}

/// The runs of which there is a dead letter.
fn with_letters(turn: &Turn<'_>) -> Done<HashSet<String>> {
    let sql = "SELECT t.run FROM dead d JOIN task t ON t.id = d.task";
    Ok(file::all(turn.db.conn(), sql, [], |row| Ok(row.get(0)?))?.into_iter().collect())
}

/// Whether it is there, and all of its tasks have ended.
fn is_over(turn: &Turn<'_>, run: &RunId) -> Done<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM task WHERE run = ?1)
               AND NOT EXISTS(SELECT 1 FROM task t JOIN queue q ON q.seq = t.seq WHERE t.run = ?1)";
    Ok(file::number(turn.db.conn(), sql, [run.as_str()])? == 1)
}

/// How many have gone: a damaged entry stays, to be reported to whoever reads it.
fn clear(turn: &mut Turn<'_>, keys: Vec<Key>) -> Done<usize> {
    let mut gone = 0;
    for key in keys {
        let current = match rows::entry(turn.db.conn(), &key) {
            Err(Fault::Damaged { .. }) => None,
            read => read?,
        };
        if current.is_some() {
            let write = Write { key, expect: Expect::Any, value: None, by: spare::BY.into(), task: None };
            put::change(turn, &write, current)?;
            gone += 1;
        }
    }
    Ok(gone)
}
