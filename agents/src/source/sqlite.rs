//! Any SQLite file, row by row.
//!
//! It is opened for reading only and never trusted. What it holds is read and nothing is computed for it: its schema may
//! call no function, be it one of SQLite's own, and views, shadow tables and columns that are made from others as they are
//! read are left out. All reading ends at the limits, that of time included.

use std::path::Path;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::lines::split_long;
use super::{CELL_END, Limits, Locator, Passage, Unit};

/// From so many bytes or white spaces on, a cell is prose and has sentences.
const PROSE: usize = 200;
const WORDS: usize = 5;

/// The largest value that is read, be it a picture, in bytes: 64 MiB.
const MAX_VALUE: i32 = 64 << 20;
/// How many steps of the database's machine pass between two looks at the time.
const STEPS: i32 = 1_000;

/// A table, and those of its columns that hold what they say.
struct Table {
    name: String,
    columns: Vec<String>,
}

/// What a database gave.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) passages: Vec<Passage>,
    /// Bytes of text in them.
    pub(super) bytes: u64,
    /// Tables that could not be read (to their end), with the reason.
    pub(super) skipped: Vec<(String, String)>,
}

/// The rows of all tables that have text, at most `room` bytes of it.
///
/// # Errors
/// When the file is no readable database.
pub(super) fn rows(path: &Path, room: u64, limits: &Limits) -> Result<Rows, String> {
    let said = |error: rusqlite::Error| plain(&error, limits);
    let mut database = open(path, limits).map_err(said)?;
    database.authorizer(Some(may)).map_err(said)?;
    let tables = tables(&database).map_err(said)?;
    let mut rows = Rows::default();
    for table in tables {
        if let Err(why) = read(&database, &table, room, limits, &mut rows) {
            rows.skipped.push((table.name, why));
        }
    }
    Ok(rows)
}

fn open(path: &Path, limits: &Limits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // One that is too far off to be told apart from none is none.
    let end = Instant::now().checked_add(limits.parse);
    let check = |mut database: Connection| {
        database.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
        database.progress_handler(STEPS, Some(move || end.is_some_and(|end| Instant::now() >= end)))?;
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map(|()| database)
    };
    let database = Connection::open_with_flags(path, flags).and_then(check).or_else(|error| {
        // One in WAL mode needs a shared-memory file beside it, unless it is promised that nobody writes; where we may
        // not create that file, nobody else of our kind does.
        let Some(uri) = immutable(path) else { return Err(error) };
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).and_then(check).map_err(|_| error)
    })?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    database.pragma_update(None, "query_only", true)?;
    Ok(database)
}

fn immutable(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let escaped = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file://{escaped}?immutable=1"))
}

/// Whether the database may do a thing: read what is there, and tell its tables. What a view makes of a table is asked in
/// the view's name, and is no reading; a virtual table asks as we do, and may be made to ask a view.
fn may(asked: AuthContext<'_>) -> Authorization {
    // Those that we call, and that an index of places calls when it is opened.
    const FUNCTIONS: [&str; 3] = ["count", "length", "like"];
    // Those that we ask, and indexes of words.
    const PRAGMAS: [&str; 4] = ["data_version", "page_size", "table_list", "table_xinfo"];

    let is_reading = match asked.action {
        AuthAction::Select | AuthAction::Read { .. } => true,
        // An index of places prepares what it would write, when it is opened. Here it cannot.
        AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => true,
        AuthAction::Function { function_name } => FUNCTIONS.contains(&function_name),
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name),
        _ => false,
    };
    if is_reading && asked.accessor.is_none() { Authorization::Allow } else { Authorization::Deny }
}

/// Ordinary and virtual tables by name; no views, no shadow tables, none of SQLite's own.
fn tables(database: &Connection) -> rusqlite::Result<Vec<Table>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let names: Vec<String> = database.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    // Hidden are columns of virtual tables that are no data (1) and those that are made as they are read (2); what was
    // made when the row was written (3) is data.
    let mut columns = database.prepare("SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden IN (0, 3)")?;
    let table = |name: String| {
        let columns = columns.query_map([&name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(Table { name, columns })
    };
    names.into_iter().map(table).collect()
}

fn read(database: &Connection, table: &Table, room: u64, limits: &Limits, into: &mut Rows) -> Result<(), String> {
    let Table { name, columns } = table;
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let list: Vec<String> = columns.iter().map(quoted).collect();
    let sql =
        |row: &str| format!("SELECT {} FROM {}", [&[row.to_owned()], &list[..]].concat().join(", "), quoted(name));
    // Tables without a row id are counted.
    let mut statement = database
        .prepare(&sql("rowid"))
        .or_else(|_| database.prepare(&sql("NULL")))
        .map_err(|error| plain(&error, limits))?;
    let mut found = statement.query([]).map_err(|error| plain(&error, limits))?;
    let mut place = 0;
    while let Some(row) = found.next().map_err(|error| plain(&error, limits))? {
        place += 1;
        let number = row.get::<_, i64>(0).unwrap_or(place);
        if into.passages.len() >= limits.passages {
            return Err(format!("cut: more than {} passages", limits.passages));
        }
        let Some(cells) = cells(row, columns) else { continue };
        let size: usize = cells.iter().map(|(_, cell)| cell.len()).sum();
        into.bytes += size as u64;
        if into.bytes > room {
            return Err("cut: too much text".to_owned());
        }
        passages(name, number, &cells, &mut into.passages);
    }
    Ok(())
}

/// The cells of a row that can be read as text, with their columns; none if no cell has letters in it.
fn cells<'a>(row: &Row<'_>, columns: &'a [String]) -> Option<Vec<(&'a str, String)>> {
    let mut cells = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let cell = match row.get_ref(at + 1) {
            Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).trim().to_owned(),
            Ok(ValueRef::Integer(number)) => number.to_string(),
            // With its point, as SQLite prints it.
            Ok(ValueRef::Real(number)) => format!("{number:?}"),
            _ => continue,
        };
        if !cell.is_empty() {
            cells.push((column.as_str(), cell));
        }
    }
    cells.iter().any(|(_, cell)| cell.contains(char::is_alphabetic)).then_some(cells)
}

/// Each long text of a row is a passage of its own, and all that is short in the row is what a reader knows when arriving
/// there. A row of short cells only is one passage.
fn passages(table: &str, row: i64, cells: &[(&str, String)], into: &mut Vec<Passage>) {
    let locator = Locator::Row { table: table.to_owned(), row };
    let is_prose = |cell: &str| cell.len() > PROSE || cell.chars().filter(|c| c.is_whitespace()).count() >= WORDS;
    let (prose, short): (Vec<_>, Vec<_>) = cells.iter().partition(|(_, cell)| is_prose(cell));
    // A colon in a column's name would be taken for its end.
    let show = |(column, cell): &&(&str, String)| format!("{}: {cell}", column.replace(':', " "));
    let shown: Vec<String> = short.iter().map(show).collect();
    if prose.is_empty() {
        into.push(Passage { text: shown.join(CELL_END), locator, unit: Unit::Cell, context: table.to_owned() });
        return;
    }
    let known = shown.join("\n");
    for (column, cell) in prose {
        let context = format!("{table}\n{column}\n{known}").trim_end().to_owned();
        let passage = Passage { text: cell.clone(), locator: locator.clone(), unit: Unit::Sentence, context };
        split_long(passage, into);
    }
}

fn plain(error: &rusqlite::Error, limits: &Limits) -> String {
    match error {
        error if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            format!("cut: not read within {} s", limits.parse.as_secs())
        }
        rusqlite::Error::SqliteFailure(failure, message) => {
            message.clone().unwrap_or_else(|| failure.to_string()).to_lowercase()
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn database(sql: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("a?b#c.db");
        Connection::open(&path).and_then(|database| database.execute_batch(sql)).expect("a database");
        (folder, path)
    }

    const MILLS: &str = "
        CREATE TABLE mills (id INTEGER PRIMARY KEY, name TEXT, built INTEGER, height REAL, note TEXT, photo BLOB);
        INSERT INTO mills VALUES (7, 'Old Mill', 1843, 12.0, NULL, x'00ff');
        INSERT INTO mills VALUES (9, 'New Mill', 1901, 15.5, 'It was built after the fire of 1900. It has two wheels.', NULL);
        CREATE TABLE numbers (a INTEGER); INSERT INTO numbers VALUES (1);
        CREATE TABLE keyed (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID; INSERT INTO keyed VALUES ('x', 'y');
        CREATE VIEW seen AS SELECT name FROM mills;
        CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('One note');";

    #[test]
    fn rows_of_short_cells_are_one_passage_and_prose_has_its_own() {
        let (_folder, path) = database(MILLS);
        let rows = rows(&path, u64::MAX, &Limits::default()).expect("rows");
        let found: Vec<(String, &str)> =
            rows.passages.iter().map(|passage| (passage.locator.to_string(), passage.text.as_str())).collect();
        let row = "id: 7;\u{2029}name: Old Mill;\u{2029}built: 1843;\u{2029}height: 12.0";
        let prose = "It was built after the fire of 1900. It has two wheels.";
        let expected =
            [("keyed:1", "k: x;\u{2029}v: y"), ("mills:7", row), ("mills:9", prose), ("notes:1", "body: One note")];
        assert_eq!(found, expected.map(|(locator, text)| (locator.to_owned(), text)));
        assert_eq!(rows.passages[2].context, "mills\nnote\nid: 9\nname: New Mill\nbuilt: 1901\nheight: 15.5");
    }

    #[test]
    fn limits_cut_and_say_so() {
        let (_folder, path) = database(MILLS);
        let cut = rows(&path, 20, &Limits::default()).expect("rows");
        assert!(cut.skipped.contains(&("mills".to_owned(), "cut: too much text".to_owned())), "{:?}", cut.skipped);
        let cut = rows(&path, u64::MAX, &Limits { passages: 1, ..Limits::default() }).expect("rows");
        assert_eq!(cut.passages.len(), 1);
    }

    #[test]
    fn nothing_is_computed_for_a_database() {
        let made = "CREATE TABLE mills (name TEXT, long TEXT GENERATED ALWAYS AS (hex(zeroblob(9000 + length(name)))),
                        short TEXT GENERATED ALWAYS AS (name || '!'), kept TEXT AS (name || '?') STORED);
                    INSERT INTO mills (name) VALUES ('Old Mill');
                    CREATE VIEW seen AS SELECT 1 AS rowid, name || name AS body FROM mills;
                    CREATE VIRTUAL TABLE notes USING fts5(body, content='seen', content_rowid='rowid');
                    CREATE TABLE places (body TEXT); INSERT INTO places VALUES ('At the river');
                    CREATE VIRTUAL TABLE words USING fts5(body, content='places');
                    CREATE VIRTUAL TABLE squares USING rtree(id, left, right, +name TEXT);
                    INSERT INTO squares VALUES (1, 2.0, 3.0, 'Weir');";
        let (_folder, path) = database(made);
        let rows = rows(&path, u64::MAX, &Limits::default()).expect("rows");
        let found: Vec<&str> = rows.passages.iter().map(|passage| passage.text.as_str()).collect();
        let mill = "name: Old Mill;\u{2029}kept: Old Mill?";
        let weir = "id: 1;\u{2029}left: 2.0;\u{2029}right: 3.0;\u{2029}name: Weir";
        assert_eq!(found, [mill, "body: At the river", weir, "body: At the river"], "{:?}", rows.skipped);
        let tables: Vec<&str> = rows.skipped.iter().map(|(table, _)| table.as_str()).collect();
        assert_eq!(tables, ["notes"]);
    }

    #[test]
    fn time_and_the_size_of_a_value_are_limited() {
        let many = "CREATE TABLE many (n INTEGER);
                    WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 5000)
                        INSERT INTO many SELECT n FROM up;
                    CREATE TABLE photos (name TEXT, photo BLOB);
                    INSERT INTO photos VALUES ('Old Mill', zeroblob(1000)), ('All mills', zeroblob(67108865));";
        let (_folder, path) = database(many);
        let late = rows(&path, u64::MAX, &Limits { parse: Duration::ZERO, ..Limits::default() }).expect("rows");
        assert!(
            late.skipped.contains(&("many".to_owned(), "cut: not read within 0 s".to_owned())),
            "{:?}",
            late.skipped
        );
        let large = rows(&path, u64::MAX, &Limits::default()).expect("rows");
        assert_eq!(large.skipped, [("photos".to_owned(), "string or blob too big".to_owned())]);
        assert_eq!(large.passages.len(), 1);
        // The longest time there is.
        let patient = Limits { parse: Duration::MAX, ..Limits::default() };
        assert_eq!(rows(&path, u64::MAX, &patient).expect("rows").passages.len(), 1);
    }

    #[test]
    fn what_only_looks_like_a_database_is_refused() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("broken.db");
        std::fs::write(&path, b"SQLite format 3\0 and nothing more").expect("a file");
        assert!(rows(&path, u64::MAX, &Limits::default()).is_err());
    }

    #[test]
    fn a_database_in_wal_mode_is_read_and_left_as_it_is() {
        let (_folder, path) =
            database("PRAGMA journal_mode = wal; CREATE TABLE t (x TEXT); INSERT INTO t VALUES ('hello');");
        let before = std::fs::read(&path).expect("the file");
        let rows = rows(&path, u64::MAX, &Limits::default()).expect("rows");
        assert_eq!(rows.passages[0].text, "x: hello");
        assert_eq!(std::fs::read(&path).expect("the file"), before);
    }
}
