//! A SQLite database as tools: `NAME.tables`, `NAME.query`, and `NAME.execute` where the node allows it.
//!
//! What a statement may do is not read off its words: the database asks for each table that is read, each function that is
//! called and each change that is made, and is told no. So a comment, a `WITH` or a second statement changes nothing.
//!
//! It looks at the time between rows, not within one: what a function may be given is bounded, and whatever takes long all
//! the same keeps one of the few places of its database until it has really ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard_broker::code;
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, params_from_iter};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::{AnyTool, Does, Offer, Output, Tool, ToolCtx, definition::erased};
use crate::{Failure, Result, payload};

/// Rows of a result unless told otherwise.
pub const MAX_ROWS: usize = 1_000;
/// Statements that run at a time in one database, those that nobody waits for any more included; the others wait.
pub const PLACES: usize = 4;
/// How many steps of the database's machine pass between two looks at the time; each may be a function of a large value.
const STEPS: i32 = 100;
/// How long a database that somebody else writes to is waited for.
const BUSY: Duration = Duration::from_secs(2);
/// The most values of a statement.
const MAX_PARAMS: usize = 1_000;

/// The largest value, and the largest row that is written, in bytes, where a result may not have more: 1 MiB. The columns of
/// a row that is read are all in memory at a time, so a row is bounded by this and by [`MAX_COLUMNS`].
const MAX_VALUE: usize = 1 << 20;
/// The most columns of a table, an index or a result.
const MAX_COLUMNS: i32 = 200;
/// The longest pattern of a `LIKE` or `GLOB`, in bytes. One call takes as long as the text times its pattern.
const MAX_PATTERN: i32 = 256;

/// A statement with its values.
#[payload]
struct Asked {
    /// One statement in SQLite's SQL, with ? in the place of values.
    sql: String,
    /// The values, in the order of the ?: texts, numbers, booleans, null.
    #[serde(default)]
    params: Vec<Value>,
}

/// Nothing.
#[payload]
struct Nothing {}

#[derive(Clone)]
struct Base {
    name: String,
    file: Arc<PathBuf>,
    rows: usize,
    /// Held by the statement itself and not by who waits for it.
    places: Arc<Semaphore>,
}

struct Tables(Base);
struct Query(Base);
struct Execute(Base);

/// `family.tables`, `family.query`, and `family.execute` if `writes`, over the database in a file that is there.
pub fn tools(family: &str, file: &Path, writes: bool, rows: usize) -> Vec<Arc<dyn AnyTool>> {
    let (file, places) = (Arc::new(file.to_owned()), Arc::new(Semaphore::new(PLACES)));
    let base = |verb: &str| Base { name: format!("{family}.{verb}"), file: file.clone(), rows, places: places.clone() };
    let mut tools = vec![erased(Tables(base("tables"))), erased(Query(base("query")))];
    if writes {
        tools.push(erased(Execute(base("execute"))));
    }
    tools
}

impl Tool for Tables {
    type Arguments = Nothing;

    fn offer(&self) -> Offer {
        Offer::new::<Nothing>(&self.0.name, "The tables of the database, as the statements that made them", Does::Reads)
    }

    async fn call(&self, of: &ToolCtx, _: Nothing) -> Result<Output> {
        let sql = "SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name".to_owned();
        self.0.run(of, Asked { sql, params: Vec::new() }, false).await
    }
}

impl Tool for Query {
    type Arguments = Asked;

    fn offer(&self) -> Offer {
        Offer::new::<Asked>(&self.0.name, "Reads from the database with one SELECT", Does::Reads)
    }

    async fn call(&self, of: &ToolCtx, asked: Asked) -> Result<Output> {
        self.0.run(of, asked, false).await
    }
}

impl Tool for Execute {
    type Arguments = Asked;

    fn offer(&self) -> Offer {
        Offer::new::<Asked>(&self.0.name, "Changes rows of the database with one statement", Does::Writes)
    }

    async fn call(&self, of: &ToolCtx, asked: Asked) -> Result<Output> {
        self.0.run(of, asked, true).await
    }
}

impl Base {
    async fn run(&self, of: &ToolCtx, asked: Asked, writes: bool) -> Result<Output> {
        let (base, most) = (self.clone(), of.max_result);
        let stopping = || Failure::transient("the runtime is stopping");
        let place = tokio::time::timeout_at(of.deadline, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| full())?.map_err(|_| stopping().not_done())?;
        let limit = of.deadline.saturating_duration_since(tokio::time::Instant::now());
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            base.answer(&asked, writes, most, limit)
        });
        done.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn answer(&self, asked: &Asked, writes: bool, most: usize, limit: Duration) -> Result<Output> {
        if asked.params.len() > MAX_PARAMS {
            return Err(refused(format!("{} values, {MAX_PARAMS} are allowed", asked.params.len())));
        }
        let database = open(&self.file, writes, most, Instant::now() + limit).map_err(|e| failed(&e, true))?;
        let mut statement = one(&database, &asked.sql)?;
        if !writes && !statement.readonly() {
            return Err(refused("it changes something, and this tool only reads".into()));
        }
        let values = asked.params.iter().map(value).collect::<Result<Vec<_>>>()?;
        if statement.column_count() == 0 {
            let changed = statement.execute(params_from_iter(values)).map_err(|e| failed(&e, true))?;
            return Ok(Output::text(json!({ "changed": changed }).to_string()));
        }
        // One that changes and returns rows has changed when it breaks off: then nobody knows how much.
        self.rows(&mut statement, values, most).map_err(|e| failed(&e, !writes))
    }

    fn rows(&self, statement: &mut Statement<'_>, values: Vec<Param>, most: usize) -> rusqlite::Result<Output> {
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let (mut found, mut bytes, mut is_cut) = (Vec::new(), 0, false);
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let cells = names.iter().enumerate().map(|(at, name)| Ok((name.as_str(), row.get_ref(at)?)));
            let object = if found.len() < self.rows { object(cells, most.saturating_sub(bytes))? } else { None };
            let Some(object) = object else {
                is_cut = true;
                break;
            };
            bytes += object.to_string().len() + 1;
            if bytes + 2 > most {
                is_cut = true;
                break;
            }
            found.push(object);
        }
        Ok(Output { cut: is_cut, ..Output::text(Value::Array(found).to_string()) })
    }
}

/// A row; none once its cells have more than `room` bytes as they are, so that a large one is not copied to be left out.
fn object<'a>(
    cells: impl Iterator<Item = rusqlite::Result<(&'a str, ValueRef<'a>)>>,
    room: usize,
) -> rusqlite::Result<Option<Value>> {
    let (mut object, mut bytes) = (Map::new(), 0);
    for cell in cells {
        let (name, value) = cell?;
        bytes += if let ValueRef::Text(text) = value { text.len() } else { 0 };
        if bytes > room {
            return Ok(None);
        }
        object.insert(name.to_owned(), shown(value));
    }
    Ok(Some(Value::Object(object)))
}

/// One statement and nothing after it.
fn one<'a>(database: &'a Connection, sql: &str) -> Result<Statement<'a>> {
    let mut batch = rusqlite::Batch::new(database, sql);
    let statement =
        batch.next().map_err(|e| failed(&e, true))?.ok_or_else(|| refused("there is no statement".into()))?;
    match batch.next() {
        Ok(None) => Ok(statement),
        _ => Err(refused("there is more than one statement".into())),
    }
}

fn open(file: &Path, writes: bool, most: usize, end: Instant) -> rusqlite::Result<Connection> {
    let mode = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let mut database = Connection::open_with_flags(file, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    database.busy_timeout(BUSY)?;
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(most.max(MAX_VALUE)).unwrap_or(i32::MAX))?;
    database.set_limit(Limit::SQLITE_LIMIT_COLUMN, MAX_COLUMNS)?;
    database.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    if !writes {
        database.pragma_update(None, "query_only", true)?;
    }
    database.authorizer(Some(move |asked: AuthContext<'_>| may(&asked.action, writes)))?;
    database.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
    Ok(database)
}

/// Whether the database may do a thing for a statement.
fn may(action: &AuthAction<'_>, writes: bool) -> Authorization {
    let is_own = |table: &str| table.to_ascii_lowercase().starts_with("sqlite_");
    let allowed = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => !is_outside(function_name),
        AuthAction::Insert { table_name } | AuthAction::Delete { table_name } => writes && !is_own(table_name),
        AuthAction::Update { table_name, .. } => writes && !is_own(table_name),
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// Functions that leave the database, in this library or one that somebody built otherwise.
fn is_outside(function: &str) -> bool {
    const OUTSIDE: [&str; 7] =
        ["load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile", "fsdir"];
    OUTSIDE.iter().any(|name| function.eq_ignore_ascii_case(name))
}

/// A value of a statement.
enum Param {
    Null,
    Whole(i64),
    Real(f64),
    Text(String),
}

impl rusqlite::ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Whole(n) => ValueRef::Integer(*n),
            Self::Real(n) => ValueRef::Real(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn value(value: &Value) -> Result<Param> {
    Ok(match value {
        Value::Null => Param::Null,
        Value::Bool(yes) => Param::Whole((*yes).into()),
        Value::String(text) => Param::Text(text.clone()),
        Value::Number(n) => match n.as_i64() {
            Some(n) => Param::Whole(n),
            None => Param::Real(n.as_f64().unwrap_or_default()),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(refused("a value is a text, a number, a boolean or null".into()));
        }
    })
}

fn shown(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(n) => n.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => format!("[{} bytes]", bytes.len()).into(),
    }
}

/// All places are taken by others.
fn full() -> Failure {
    let why = format!("{PLACES} statements run in the database, and none ended in time");
    Failure::limited(why).code(code::TOOL_LIMIT).not_done()
}

fn refused(why: String) -> Failure {
    Failure::permanent(why).code(code::TOOL_STATEMENT).not_done()
}

/// What the database says.
fn failed(error: &rusqlite::Error, is_not_done: bool) -> Failure {
    let failure = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::transient(error.to_string()),
        Some(ErrorCode::OperationInterrupted) => Failure::permanent("it took longer than the tool may"),
        Some(ErrorCode::AuthorizationForStatementDenied) => return refused(format!("it may not do that: {error}")),
        _ => Failure::permanent(error.to_string()),
    };
    if is_not_done { failure.not_done() } else { failure }
}

#[cfg(test)]
mod tests;
