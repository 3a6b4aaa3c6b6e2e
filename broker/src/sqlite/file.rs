//! The file: how it is opened, recognised, created and given its settings.
//!
//! Nothing is changed in a file before it is known to be ours. The schema, its version and our mark come in one
//! transaction, so that a process that dies here leaves an empty file or a whole store. SQLite ignores settings that it
//! does not know or cannot follow, so every one is read back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params, Row};

use super::fault::{self, Done, Fault};
use super::options::Options;
use crate::error::Error;

/// `CBST`: what a person's `file` command and we know a store by.
const APPLICATION: i64 = 0x4342_5354;
/// The version that this program writes.
pub(super) const VERSION: i64 = 3;
/// How a store becomes one of each version.
const UPGRADES: [(i64, &str); 2] = [(2, include_str!("version_2.sql")), (3, include_str!("version_3.sql"))];
/// Files up to this size are checked page by page after an unclean stop (0.7 ms a MiB).
const CHECKED_BYTES: u64 = 256 << 20;
/// Pages of the log after which a commit also copies them into the file.
const CHECKPOINT_PAGES: i64 = 1_000;
/// How long a statement waits for another program that holds the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 96;

/// The file beside the store in which SQLite keeps what is committed and not yet copied.
pub(super) fn log_of(store: &Path) -> PathBuf {
    beside(store, "-wal")
}

/// A file beside the store.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The one path of a store: its folder is made, and links are followed, or two names would give it two locks.
///
/// # Errors
/// When the folder cannot be made (CB0204).
pub(super) fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let refused = |e: std::io::Error| fault::not_writable(path, &e.to_string());
    let whole = std::path::absolute(path).map_err(refused)?;
    let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(fault::not_a_store(path, "it is a folder"));
    };
    if whole.is_dir() {
        return Err(fault::not_a_store(path, "it is a folder"));
    }
    std::fs::create_dir_all(folder).map_err(refused)?;
    match whole.canonicalize() {
        Ok(there) => Ok(there),
        Err(_) => Ok(folder.canonicalize().map_err(refused)?.join(name)),
    }
}

/// Opens a store for writing, creating it when there is none. The caller holds its lock.
pub(super) fn open(store: &Path, options: &Options) -> Done<Connection> {
    let unclean = std::fs::metadata(log_of(store)).is_ok_and(|log| log.len() > 0);
    let conn = connect(store, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let known = identify(&conn, store)?;
    settle(&conn, store, options)?;
    if known.is_none() {
        create(&conn)?;
    } else if unclean {
        check(&conn, store)?;
    }
    for (version, statements) in UPGRADES {
        if known.is_some_and(|known| known < version) {
            upgrade(&conn, version, statements)?;
        }
    }
    Ok(conn)
}

/// Opens a store for reading beside its owner.
pub(super) fn open_reader(store: &Path) -> Done<Connection> {
    // Reading a live log needs the shared memory beside it, which only a connection that might write can set up. Where
    // the user may not write, SQLite reads what others have set up.
    let conn = match connect(store, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Ok(conn) => conn,
        Err(_) => connect(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
    };
    if identify(&conn, store)?.is_none() {
        return Err(Fault::Told(fault::not_a_store(store, "it is empty")));
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    expect(&conn, "query_only", "1", "1")?;
    Ok(conn)
}

fn connect(store: &Path, flags: OpenFlags) -> Done<Connection> {
    let conn = Connection::open_with_flags(store, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it this build plans a statement anew for each value that is bound to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

/// Whether a store is of this version or a later one. One that is only read may be older: its owner has not been renewed.
pub(super) fn is_since(conn: &Connection, version: i64) -> Done<bool> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? >= version)
}

/// The version of a store; none for an empty file.
fn identify(conn: &Connection, store: &Path) -> Done<Option<i64>> {
    let read = |pragma: &str| conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (read("application_id")?, read("user_version")?);
    let things: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version, things) {
        (APPLICATION, v, _) if v > VERSION => Err(Fault::Told(fault::newer(store, v, VERSION))),
        (APPLICATION, v, _) if v > 0 => Ok(Some(v)),
        (0, 0, 0) => Ok(None),
        _ => Err(Fault::Told(fault::not_a_store(store, "it is a database that another program made"))),
    }
}

fn settle(conn: &Connection, store: &Path, options: &Options) -> Done<()> {
    // Has to come before the first page is written; of an older file it changes nothing.
    conn.execute_batch("PRAGMA auto_vacuum=INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("its file system cannot share a log between processes (journal mode {mode})");
        return Err(Fault::Told(fault::not_writable(store, &why)));
    }
    expect(conn, "foreign_keys", "OFF", "0")?;
    expect(conn, "synchronous", "FULL", "2")?;
    expect(conn, "temp_store", "MEMORY", "2")?;
    expect(conn, "cache_size", "-16384", "-16384")?;
    expect(conn, "wal_autocheckpoint", &CHECKPOINT_PAGES.to_string(), &CHECKPOINT_PAGES.to_string())?;
    let log = options.log_bytes.to_string();
    expect(conn, "journal_size_limit", &log, &log)?;
    // Without it, a sync on macOS ends at the disk's cache.
    expect(conn, "fullfsync", "ON", "1")?;
    expect(conn, "checkpoint_fullfsync", "ON", "1")?;
    if let Some(max) = options.max_bytes {
        let page: u64 = conn.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0))?.into();
        conn.query_row(&format!("PRAGMA max_page_count={}", max.div_ceil(page).max(1)), [], |_| Ok(()))?;
    }
    Ok(())
}

fn expect(conn: &Connection, pragma: &str, value: &str, read: &str) -> Done<()> {
    conn.execute_batch(&format!("PRAGMA {pragma}={value}"))?;
    let found = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))?.to_string();
    if found == read {
        return Ok(());
    }
    Err(Fault::Told(Error::unavailable(format!("SQLite left {pragma} at {found} instead of {value}"))))
}

fn create(conn: &Connection) -> Done<()> {
    let all = format!(
        "BEGIN IMMEDIATE;\n{}\nPRAGMA application_id={APPLICATION};\nPRAGMA user_version={VERSION};\nCOMMIT;",
        include_str!("schema.sql")
    );
    conn.execute_batch(&all).inspect_err(|_| {
        // Closing the connection rolls back too; this only frees the lock early.
        let _ = conn.execute_batch("ROLLBACK");
    })?;
    Ok(())
}

/// Makes the store one of the next version, or leaves it as it is.
fn upgrade(conn: &Connection, version: i64, statements: &str) -> Done<()> {
    let all = format!("BEGIN IMMEDIATE;\n{statements}\nPRAGMA user_version={version};\nCOMMIT;");
    conn.execute_batch(&all).inspect_err(|_| {
        // As in `create`.
        let _ = conn.execute_batch("ROLLBACK");
    })?;
    Ok(())
}

fn check(conn: &Connection, store: &Path) -> Done<()> {
    if std::fs::metadata(store).map_or(0, |file| file.len()) > CHECKED_BYTES {
        return Ok(());
    }
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Fault::Told(fault::damaged(store, &found))) }
}

/// The first row, if any.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Done<T>,
) -> Done<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// All rows.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Done<T>,
) -> Done<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The number that a query gives in its only row; 0 for null.
pub(super) fn number(conn: &Connection, sql: &str, params: impl Params) -> Done<u64> {
    Ok(one(conn, sql, params, |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten().map_or(0, i64::unsigned_abs))
}
