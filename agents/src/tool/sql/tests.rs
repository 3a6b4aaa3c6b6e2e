//! What a statement may do, whatever its words are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::code;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Asked, Base, MAX_ROWS, MAX_VALUE, PLACES, object, tools};
use crate::testing::World;
use crate::tool::{Limits, Output, Rules, ToolCtx, Toolbox, WhenTainted};
use crate::{Error, Result};

fn shop() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let database = Connection::open(&file).unwrap();
    let made = "CREATE TABLE articles (id INTEGER PRIMARY KEY, name TEXT, price REAL);
                INSERT INTO articles VALUES (1, 'mill', 40.5), (2, 'sieve', NULL);
                CREATE INDEX by_name ON articles (name);
                CREATE VIEW cheap AS SELECT * FROM articles WHERE price < 50;";
    database.execute_batch(made).unwrap();
    (folder, file)
}

fn world(file: &Path, writes: bool, rows: usize) -> World {
    let toolbox = Toolbox::new();
    let limits = Limits { timeout: Some(Duration::from_millis(500)), ..Limits::default() };
    toolbox.rule("shop.*", Rules { tainted: Some(WhenTainted::Allow), limits, ..Rules::default() });
    tools("shop", file, writes, rows).into_iter().for_each(|tool| toolbox.add(tool).unwrap());
    World::new().toolbox(&toolbox)
}

async fn call(world: &World, tool: &str, sql: &str, params: Value) -> Result<Output, Error> {
    world.context().tools().call(tool, json!({ "sql": sql, "params": params })).await
}

fn code_of(done: &Result<Output, Error>) -> &str {
    match done {
        Err(Error::Failed { failure, .. }) => &failure.code,
        _ => "done",
    }
}

#[tokio::test]
async fn rows_come_as_objects_and_tables_as_their_statements() {
    let (_folder, file) = shop();
    let world = world(&file, false, MAX_ROWS);
    let rows = call(&world, "shop.query", "SELECT name, price FROM articles WHERE id = ?", json!([1])).await.unwrap();
    assert_eq!(rows.text, r#"[{"name":"mill","price":40.5}]"#);
    let with = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT count(*) AS n FROM n, cheap";
    assert_eq!(call(&world, "shop.query", with, json!([])).await.unwrap().text, r#"[{"n":3}]"#);
    let tables = world.context().tools().call("shop.tables", json!({})).await.unwrap();
    assert!(tables.text.contains("CREATE TABLE articles") && tables.text.contains("CREATE VIEW cheap"));
}

#[tokio::test]
async fn a_tool_that_reads_changes_nothing_whatever_it_is_told() {
    let (folder, file) = shop();
    let before = std::fs::read(&file).unwrap();
    let world = world(&file, false, MAX_ROWS);
    let other = folder.path().join("other.db").display().to_string();
    for sql in [
        "INSERT INTO articles VALUES (3, 'x', 1)",
        "UPDATE articles SET price = 0",
        "DELETE FROM articles",
        "DROP TABLE articles",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "CREATE TRIGGER t AFTER INSERT ON articles BEGIN SELECT 1; END",
        "ALTER TABLE articles ADD COLUMN z",
        "WITH x AS (SELECT 1) DELETE FROM articles",
        "/* SELECT */ DELETE FROM articles",
        "SELECT 1; DELETE FROM articles",
        "SELECT 1;;DELETE FROM articles",
        "INSERT INTO articles(name) VALUES ('x') RETURNING id",
        "REPLACE INTO articles VALUES (1, 'x', 1)",
        &format!("ATTACH '{other}' AS other"),
        &format!("VACUUM INTO '{other}'"),
        "VACUUM",
        "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "PRAGMA database_list",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "REINDEX",
        "ANALYZE",
        "SELECT load_extension('x')",
        "SELECT * FROM pragma_database_list",
        "",
        "-- nothing",
    ] {
        let done = call(&world, "shop.query", sql, json!([])).await;
        assert!(done.is_err(), "{sql}: {done:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(!Path::new(&other).exists());
}

#[tokio::test]
async fn a_tool_that_writes_changes_rows_and_nothing_else() {
    let (folder, file) = shop();
    let world = world(&file, true, MAX_ROWS);
    let changed = call(&world, "shop.execute", "UPDATE articles SET price = ? WHERE id = ?", json!([9, 2])).await;
    assert_eq!(changed.unwrap().text, r#"{"changed":1}"#);
    let other = folder.path().join("other.db").display().to_string();
    for sql in [
        "DROP TABLE articles",
        "CREATE TABLE x (y)",
        "DELETE FROM sqlite_schema",
        "PRAGMA writable_schema = 1",
        &format!("ATTACH '{other}' AS other"),
        &format!("VACUUM INTO '{other}'"),
        "DELETE FROM articles; DELETE FROM articles",
    ] {
        let done = call(&world, "shop.execute", sql, json!([])).await;
        assert!(done.is_err(), "{sql}: {done:?}");
    }
    let count: i64 =
        Connection::open(&file).unwrap().query_row("SELECT count(*) FROM articles", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn rows_bytes_and_time_are_bounded() {
    let (_folder, file) = shop();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT";
    let few = call(&world(&file, false, 10), "shop.query", &format!("{endless} i FROM n"), json!([])).await.unwrap();
    let rows: Vec<Value> = serde_json::from_str(&few.text).unwrap();
    assert_eq!((rows.len(), few.cut), (10, true));
    let wide = format!("{endless} printf('%.*c', 1000, 'x') AS x FROM n");
    let wide = call(&world(&file, false, MAX_ROWS), "shop.query", &wide, json!([])).await.unwrap();
    assert!(wide.cut && wide.text.len() <= 64 << 10 && serde_json::from_str::<Value>(&wide.text).is_ok());
    let late = call(&world(&file, false, 10), "shop.query", &format!("{endless} max(i) FROM n"), json!([])).await;
    assert_eq!(code_of(&late), code::TOOL_FAILED, "{late:?}");
}

/// Why a call failed, in words.
fn why(done: Result<Output, Error>) -> String {
    match done {
        Err(Error::Failed { failure, .. }) => failure.message,
        other => panic!("it failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_pattern_that_would_keep_one_function_at_work_for_long_is_refused() {
    // It was compared for half a minute, in which the database looked at no time.
    let (_folder, file) = shop();
    let world = world(&file, false, MAX_ROWS);
    let like = "SELECT ? LIKE ? AS is_like";
    let (text, slow) = ("a".repeat(30_000), format!("%{}b", "a".repeat(20_000)));
    let refused = why(call(&world, "shop.query", like, json!([text, slow])).await);
    assert!(refused.contains("pattern too complex"), "{refused}");
    let found = call(&world, "shop.query", like, json!([text, format!("%{}%", "a".repeat(250))])).await.unwrap();
    assert_eq!(found.text, r#"[{"is_like":1}]"#);
}

#[tokio::test]
async fn a_value_is_bounded_and_what_is_beside_a_larger_one_is_read() {
    let (_folder, file) = shop();
    let put = "INSERT INTO articles VALUES (3, CAST(zeroblob(?) AS TEXT), 7)";
    Connection::open(&file).unwrap().execute(put, [(MAX_VALUE + 1) as i64]).unwrap();
    let world = world(&file, true, MAX_ROWS);
    for sql in ["SELECT hex(randomblob(600000)) AS x", "SELECT substr(name, 1, 9) AS x FROM articles WHERE id = 3"] {
        let refused = why(call(&world, "shop.query", sql, json!([])).await);
        assert!(refused.contains("too big"), "{sql}: {refused}");
    }
    let beside = call(&world, "shop.query", "SELECT price FROM articles WHERE id = 3", json!([])).await.unwrap();
    assert_eq!(beside.text, r#"[{"price":7.0}]"#);
    let most = call(&world, "shop.query", "SELECT length(hex(randomblob(500000))) AS n", json!([])).await.unwrap();
    assert_eq!(most.text, r#"[{"n":1000000}]"#);
}

#[test]
fn a_row_that_is_too_large_is_not_copied_to_its_end() {
    let large = "x".repeat(1_000);
    let mut looked_at = 0;
    let cells = (0..200).map(|_| Ok(("x", ValueRef::Text(large.as_bytes())))).inspect(|_| looked_at += 1);
    assert_eq!(object(cells, 2_500).unwrap(), None);
    assert_eq!(looked_at, 3);
    let cells = [("blob", ValueRef::Blob(large.as_bytes())), ("text", ValueRef::Text(b"four"))].map(Ok);
    let fits = object(cells.into_iter(), 4).unwrap();
    assert_eq!(fits, Some(json!({ "blob": "[1000 bytes]", "text": "four" })), "of bytes only their number is shown");
}

#[tokio::test]
async fn a_statement_looks_at_the_time_after_few_steps() {
    let (_folder, file) = shop();
    let base = Base { name: "shop.query".into(), file: Arc::new(file), rows: 10, places: Arc::new(Semaphore::new(1)) };
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) SELECT max(i) AS n FROM n";
    let asked = Asked { sql: sql.into(), params: Vec::new() };
    let late = base.answer(&asked, false, 1_000, Duration::ZERO).unwrap_err();
    assert!(late.to_string().contains("longer than"), "{late}");
    assert_eq!(base.answer(&asked, false, 1_000, Duration::from_secs(60)).unwrap().text, r#"[{"n":30}]"#);
}

#[tokio::test]
async fn a_statement_that_goes_on_keeps_its_place_when_nobody_waits_for_it() {
    let (_folder, file) = shop();
    let places = Arc::new(Semaphore::new(PLACES));
    let base = Base { name: "shop.query".into(), file: Arc::new(file.clone()), rows: 10, places: places.clone() };
    let of = |limit| ToolCtx {
        ctx: World::new().context(),
        key: None,
        deadline: Instant::now() + limit,
        timeout: None,
        max_result: 1_000,
    };
    let asked = || Asked { sql: "SELECT count(*) AS n FROM articles".into(), params: Vec::new() };
    // Whoever reads waits two seconds for who has locked the file, whatever becomes of the call.
    let locked = Connection::open(&file).unwrap();
    locked.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let long = of(Duration::from_secs(60));
    assert!(timeout(Duration::ZERO, base.run(&long, asked(), false)).await.is_err(), "it is under way, and given up");
    assert_eq!(places.available_permits(), PLACES - 1);
    locked.execute_batch("ROLLBACK").unwrap();
    let all = places.clone().acquire_many_owned(PLACES as u32);
    let all = timeout(Duration::from_secs(60), all).await.expect("it ends, and its place is free").unwrap();
    let full = base.run(&of(Duration::from_millis(50)), asked(), false).await.unwrap_err();
    assert_eq!((full.code_of(), full.is_not_done()), (code::TOOL_LIMIT, true), "{full}");
    drop(all);
    assert_eq!(base.run(&long, asked(), false).await.unwrap().text, r#"[{"n":2}]"#);
}
