//! What goes wrong between this wing and its file, and what a person is told about it.
//!
//! A refusal (a conflict, a stale fence) is an answer like any other and travels as a value. A fault is not: it ends the
//! open transaction for everybody in it, and each of them is told the same.

use std::fmt;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::code;
use crate::error::Error;
use crate::problem::Problem;

/// Why a statement, a row or a transaction was given up.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// A row that does not have the checksum it was written with, or cannot be read.
    Damaged {
        /// Its table.
        table: &'static str,
        /// Its key.
        row: String,
    },
    /// We have a fault of our own.
    Panicked,
    /// It has a reason of its own.
    Told(Error),
}

/// What a function that touches the file returns.
pub(super) type Done<T> = Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::Told(e)
    }
}

impl Fault {
    /// A damaged row.
    pub(super) fn damaged(table: &'static str, row: impl fmt::Display) -> Self {
        Self::Damaged { table, row: row.to_string() }
    }

    /// The error that callers get.
    pub(super) fn tell(&self, store: &Path) -> Error {
        match self {
            Self::Told(error) => error.clone(),
            Self::Panicked => {
                Error::unavailable(format!("the writer of {} panicked: nothing was written", store.display()))
            }
            Self::Damaged { table, row } => {
                damaged(store, &format!("row {row} of its table {table} is not as written"))
            }
            Self::Sql(e) => of_sql(e, store),
        }
    }
}

fn of_sql(e: &rusqlite::Error, store: &Path) -> Error {
    let at = store.display();
    match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => full(store),
        Some(ErrorCode::NotADatabase) => not_a_store(store, "it is no database"),
        Some(ErrorCode::DatabaseCorrupt) => damaged(store, &first_line(e)),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            not_writable(store, &first_line(e))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::unavailable(format!("the store {at} is locked by another program"))
        }
        _ => Error::unavailable(format!("the store {at} does not answer: {}", first_line(e))),
    }
}

fn first_line(e: &rusqlite::Error) -> String {
    e.to_string().lines().next().unwrap_or_default().to_lowercase()
}

/// CB0202.
pub(super) fn damaged(store: &Path, how: &str) -> Error {
    problem(
        Problem::new(code::CORRUPT_STORE, format!("the store {} is damaged", store.display()))
            .note(how)
            .fix("callboard doctor"),
    )
}

/// CB0203.
fn full(store: &Path) -> Error {
    problem(
        Problem::new(code::DISK_FULL, format!("no room for a write to {}", store.display()))
            .note("the write was not done; what was acknowledged before is safe")
            .fix("make room: work goes on by itself"),
    )
}

/// CB0204.
pub(super) fn not_writable(store: &Path, why: &str) -> Error {
    problem(
        Problem::new(code::NOT_WRITABLE, format!("the store {} cannot be written", store.display()))
            .note(why)
            .fix("--store PATH, or --store memory"),
    )
}

/// CB0205.
pub(super) fn owned(store: &Path, pid: Option<u32>) -> Error {
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    problem(
        Problem::new(code::OWNED, format!("{who} owns the store {}", store.display()))
            .fix("wait until it has ended, or give --store PATH"),
    )
}

/// CB0206.
pub(super) fn not_a_store(store: &Path, why: &str) -> Error {
    problem(
        Problem::new(code::NOT_A_STORE, format!("{} is not a store of Callboard", store.display()))
            .note(why)
            .fix("--store PATH"),
    )
}

/// CB0201.
pub(super) fn newer(store: &Path, found: i64, known: i64) -> Error {
    problem(
        Problem::new(code::NEWER_STORE, format!("the store {} is of version {found}", store.display()))
            .note(format!("this program knows versions up to {known}"))
            .fix("use the newer program, or give --store PATH"),
    )
}

fn problem(problem: Problem) -> Error {
    Error::Config(Box::new(problem.into()))
}
