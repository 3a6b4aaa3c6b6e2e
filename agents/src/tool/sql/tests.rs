//! What a statement may do, whatever its words are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callboard_broker::code;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{MAX_ROWS, tools};
use crate::testing::World;
use crate::tool::{Limits, Output, Rules, Toolbox, WhenTainted};
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
