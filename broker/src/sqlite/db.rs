//! The one connection that writes, and its open transaction.
//!
//! A transaction begins with the first statement that writes, so that whatever only looks (a claim that finds nothing, a
//! sign of life) costs no commit. `synchronous` is switched between transactions, which takes 0.3 us and is what makes
//! syncing only at the edges possible.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, Params, ffi};

use super::fault::{Done, Fault};
use super::file;
use super::probe::{Fate, Point, Probe};
use crate::payload::Payload;

/// Commits between two looks at the size of the log.
const LOOK_EVERY: u32 = 64;
/// Values that are remembered.
const RECENT: usize = 2;

pub(super) struct Db {
    conn: Connection,
    probe: Probe,
    log_bytes: u64,
    /// Whether a transaction is open.
    open: Cell<bool>,
    /// Whether commits are forced to the disk, and whether the next one is to be.
    synced: Cell<bool>,
    sync_next: Cell<bool>,
    /// Statements that have written, ever.
    writes: Cell<u64>,
    until_look: Cell<u32>,
    /// The values that were stored last, with what stands in their place.
    recent: RefCell<VecDeque<(Payload, Payload)>>,
}

impl Db {
    /// Takes a connection that `file::open` has set up.
    pub(super) fn new(conn: Connection, probe: Probe, log_bytes: u64) -> Self {
        Self {
            conn,
            probe,
            log_bytes,
            open: Cell::new(false),
            synced: Cell::new(true),
            sync_next: Cell::new(true),
            writes: Cell::new(0),
            until_look: Cell::new(LOOK_EVERY),
            recent: RefCell::default(),
        }
    }

    /// For reading, inside the transaction when there is one.
    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Whether the next transaction has to be on the disk when its commit returns.
    pub(super) fn sync_next(&self, sync: bool) {
        self.sync_next.set(sync);
    }

    /// How many statements have tried to write so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// Writes; how many rows.
    pub(super) fn exec(&self, sql: &str, params: impl Params) -> Done<usize> {
        self.begin()?;
        self.writes.set(self.writes.get() + 1);
        if self.probe.at(Point::Statement) == Fate::DiskFull {
            return Err(disk_full());
        }
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// What stands in the place of a value that was stored a moment ago: a change of state stores one several times.
    pub(super) fn recent(&self, value: &str) -> Option<Payload> {
        let recent = self.recent.borrow();
        recent.iter().find(|(other, _)| other.json().is_ok_and(|text| text == value)).map(|(_, stored)| stored.clone())
    }

    /// Remembers what stands in the place of a value.
    pub(super) fn remember(&self, value: Payload, stored: Payload) {
        let mut recent = self.recent.borrow_mut();
        recent.truncate(RECENT - 1);
        recent.push_front((value, stored));
    }

    /// Whether there is anything to commit.
    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Asks the probe.
    pub(super) fn probe(&self, point: Point) -> Fate {
        self.probe.at(point)
    }

    /// Makes everything since the last commit one durable step.
    pub(super) fn commit(&self) -> Done<()> {
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.open.set(false);
        self.probe.at(Point::Committed);
        Ok(())
    }

    /// Takes everything since the last commit back.
    pub(super) fn rollback(&self) {
        self.open.set(false);
        // They were stored in what is taken back.
        self.recent.borrow_mut().clear();
        // SQLite has rolled back by itself after some errors; a rollback that fails leaves a transaction that the next
        // `BEGIN` reports.
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    /// Empties the log when it has outgrown its limit, which only happens while readers keep it from being reused.
    pub(super) fn trim_log(&self, store: &Path) {
        let left = self.until_look.get().saturating_sub(1);
        self.until_look.set(if left == 0 { LOOK_EVERY } else { left });
        if left > 0 || std::fs::metadata(file::log_of(store)).map_or(0, |log| log.len()) <= self.log_bytes {
            return;
        }
        // Waits for readers only as long as a commit may take anyway; the next look tries again.
        let _ = self.conn.busy_timeout(std::time::Duration::from_millis(50));
        let emptied = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let _ = self.conn.busy_timeout(file::BUSY);
        if !matches!(emptied, Ok(0)) {
            tracing::warn!(limit = self.log_bytes, "a reader keeps the log of the store over its limit");
        }
    }

    fn begin(&self) -> Done<()> {
        if self.open.get() {
            return Ok(());
        }
        let sync = self.sync_next.get();
        if sync != self.synced.get() {
            self.conn.execute_batch(if sync { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" })?;
            self.synced.set(sync);
        }
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.open.set(true);
        Ok(())
    }
}

/// What SQLite says when there is no room.
pub(super) fn disk_full() -> Fault {
    let code = ffi::Error { code: ErrorCode::DiskFull, extended_code: ffi::SQLITE_FULL };
    Fault::Sql(rusqlite::Error::SqliteFailure(code, None))
}
