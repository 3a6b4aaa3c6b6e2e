//! `callboard state`: shared state, now and at any moment before.

use callboard::broker::code;
use callboard::broker::problem::Problem;
use callboard::broker::state::{Change, Expect, Key, Moment, Put, StateEntry, Write};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::commands::task::no_json;
use crate::console::Console;
use crate::failure::Failure;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};

/// Read, write, watch and rebuild shared state.
#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// The entry of a key, or all entries below a prefix
    Get(Get),
    /// Write an entry
    Set(Set),
    /// The entries below a prefix, then every change
    Watch(Watch),
    /// Who wrote what to a key, and when
    History(History),
    /// All entries as they were after the first N changes, or at a time
    At(At),
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// A key such as global.plan, or the beginning of several; nothing means all
    #[arg(value_name = "KEY|PREFIX", default_value = "")]
    key: String,
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// `run.RUN.name`, `team.TEAM.name` or `global.name`
    key: String,
    /// JSON; `null` deletes the entry
    #[arg(value_name = "JSON")]
    value: String,
    /// Only if the entry has this version; 0: only if there is none
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// A key, or the beginning of several; nothing means all
    #[arg(value_name = "KEY|PREFIX", default_value = "")]
    prefix: String,
    /// End after so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct History {
    /// `run.RUN.name`, `team.TEAM.name` or `global.name`
    key: String,
}

#[derive(Args, Debug)]
pub(crate) struct At {
    /// After so many changes, or a time such as 2026-11-25T09:17:03Z
    #[arg(value_name = "N|TIME")]
    moment: String,
    /// Only below this
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

/// Runs a verb.
pub(crate) async fn state(of: State, console: &Console) -> Done {
    match of {
        State::Get(of) => get(&of, console).await,
        State::Set(of) => set(of, console).await,
        State::Watch(of) => watch(of, console).await,
        State::History(of) => history(&of, console).await,
        State::At(of) => at(of, console).await,
    }
}

async fn get(of: &Get, console: &Console) -> Done {
    let store = console.look().await?;
    if let Ok(key) = Key::parse(&of.key)
        && let Some(Some(entry)) = store.broker.states.get(vec![key]).await?.into_iter().next()
    {
        return answer(Entry::of(&entry)?);
    }
    let entries = store.broker.states.list(of.key.clone()).await?;
    if entries.is_empty() && Key::parse(&of.key).is_ok() {
        let problem = Problem::new(code::UNKNOWN_ID, format!("there is no entry {}", of.key));
        return Err(problem.fix("callboard state get").into());
    }
    let said = if entries.is_empty() { "there is no entry like that" } else { "" };
    then(answer(Entries(entries.iter().map(Entry::of).collect::<Result<_, _>>()?)), said)
}

async fn set(of: Set, console: &Console) -> Done {
    let key = key(&of.key)?;
    let value: Value = serde_json::from_str(&of.value).map_err(|error| no_json("VALUE", &of.value, &error))?;
    let store = console.touch().await?;
    let expect = of.if_version.map_or(Expect::Any, Expect::Version);
    let value = (!value.is_null()).then(|| value.into());
    let write = Write { key: key.clone(), expect, value, by: "cli".into(), task: None };
    let put = store.broker.states.put(vec![write]).await.pop();
    let put = put.unwrap_or_else(|| Err(callboard::Error::unavailable("the store gave no answer")))?;
    if let Put::Conflict(Some(current)) = &put {
        let what = format!("{key} is at version {}, not at {}", current.version, of.if_version.unwrap_or(0));
        let note = format!("it is {} by {}", current.value.json().unwrap_or("?"), current.updated_by);
        let fix = format!("callboard state get {key}");
        return Err(Problem::new(code::CONFLICT, what).note(note).fix(fix).into());
    }
    answer(Written { key: key.to_string(), version: put.into_version(&key, expect)? })
}

async fn watch(of: Watch, console: &Console) -> Done {
    let store = console.touch().await?;
    let mut changes = store.broker.states.watch(of.prefix).await?;
    let mut left = of.limit.unwrap_or(usize::MAX);
    while left > 0 {
        console.out.item(&Row::of(&changes.next().await?)?)?;
        left -= 1;
    }
    Ok(None)
}

async fn history(of: &History, console: &Console) -> Done {
    let store = console.look().await?;
    let changes = store.broker.states.history(key(&of.key)?).await?;
    let said = if changes.is_empty() { "it was never written" } else { "" };
    then(answer(Rows(changes.iter().map(Row::of).collect::<Result<_, _>>()?)), said)
}

async fn at(of: At, console: &Console) -> Done {
    let moment = of.moment.parse().ok().map(Moment::Sequence);
    let moment = moment.or_else(|| time::parse_date(&of.moment).map(Moment::Time)).ok_or_else(|| {
        let what = format!("\"{}\" is neither a number of changes nor a time", of.moment);
        Problem::new(code::BAD_VALUE, what).fix("callboard state at 100")
    })?;
    let store = console.look().await?;
    let entries = store.broker.states.at(moment, of.prefix).await?;
    let said = if entries.is_empty() { "there was no entry" } else { "" };
    then(answer(Entries(entries.iter().map(Entry::of).collect::<Result<_, _>>()?)), said)
}

fn key(text: &str) -> Result<Key, Problem> {
    Key::parse(text).map_err(|_| {
        let problem = Problem::new(code::BAD_KEY, format!("\"{text}\" is not a state key"));
        problem.allowed(["global.name", "team.TEAM.name", "run.RUN.name"]).fix("callboard explain state")
    })
}

/// One entry.
#[derive(Serialize)]
struct Entry {
    key: String,
    value: Value,
    version: u64,
    updated_by: String,
    updated_at: String,
}

impl Entry {
    fn of(entry: &StateEntry) -> Result<Entry, Failure> {
        Ok(Entry {
            key: entry.key.to_string(),
            value: entry.value.value()?,
            version: entry.version,
            updated_by: entry.updated_by.clone(),
            updated_at: time::date(entry.updated_at),
        })
    }
}

impl Show for Entry {
    /// The value alone, as it can be piped on.
    fn text(&self, _: Page) -> String {
        format!("{}\n", self.value)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Entries(Vec<Entry>);

impl Show for Entries {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 5] = [
            Column::new("KEY").flexible(),
            Column::new("VERSION").right().spare(1),
            Column::new("BY").spare(3),
            Column::new("WHEN").spare(4),
            Column::new("VALUE").flexible(),
        ];
        let row = |entry: &Entry| {
            let (by, when) = (entry.updated_by.clone(), entry.updated_at.clone());
            vec![entry.key.clone(), entry.version.to_string(), by, when, entry.value.to_string()]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        if rows.is_empty() { String::new() } else { table(page, &COLUMNS, &rows) }
    }
}

#[derive(Serialize)]
struct Written {
    key: String,
    version: u64,
}

impl Show for Written {
    fn text(&self, _: Page) -> String {
        format!("{}  version {}\n", self.key, self.version)
    }
}

/// One change: the audit trail.
#[derive(Serialize)]
struct Row {
    sequence: u64,
    key: String,
    op: &'static str,
    value: Option<Value>,
    previous: Option<Value>,
    version: u64,
    by: String,
    at: String,
    task: Option<String>,
    attempt: Option<u32>,
    /// The record of the task that it came after.
    record: Option<u64>,
}

impl Row {
    fn of(change: &Change) -> Result<Row, Failure> {
        let value = change.value.as_ref().map(|value| value.value()).transpose()?;
        Ok(Row {
            sequence: change.sequence,
            key: change.key.to_string(),
            op: if value.is_some() { "set" } else { "delete" },
            value,
            previous: change.previous.as_ref().map(|value| value.value()).transpose()?,
            version: change.version,
            by: change.by.clone(),
            at: time::date(change.at),
            task: change.task.as_ref().map(|by| by.task.to_string()),
            attempt: change.task.as_ref().map(|by| by.attempt),
            record: change.task.as_ref().map(|by| by.record).filter(|record| *record > 0),
        })
    }

    fn told(&self) -> String {
        self.value.as_ref().map_or_else(|| "(deleted)".to_owned(), Value::to_string)
    }
}

impl Show for Row {
    fn text(&self, page: Page) -> String {
        let clock = time::clock(&self.at);
        let line = format!("{:>6}  {clock}  {}  {}  {}", self.sequence, self.key, self.by, self.told());
        page.fit(&line, page.columns) + "\n"
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 6] = [
            Column::new("CHANGE").right(),
            Column::new("VERSION").right().spare(2),
            Column::new("WHEN").spare(3),
            Column::new("BY"),
            Column::new("TASK").spare(4),
            Column::new("VALUE").flexible(),
        ];
        let row = |row: &Row| {
            let task = row.task.as_deref().map(crate::ids::short).unwrap_or_default().to_owned();
            vec![row.sequence.to_string(), row.version.to_string(), row.at.clone(), row.by.clone(), task, row.told()]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        if rows.is_empty() { String::new() } else { table(page, &COLUMNS, &rows) }
    }
}
