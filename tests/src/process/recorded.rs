//! What a store holds, read from a copy of its files while nobody or somebody writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// What was recorded by some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Every task that was ever submitted, with its status.
    pub tasks: BTreeMap<String, String>,
    /// Every step that has its result, with its task.
    pub steps: BTreeSet<(String, String)>,
    /// Shared state by key, as JSON.
    pub state: BTreeMap<String, String>,
    /// How many events say that the task was completed.
    pub completed: BTreeMap<String, u32>,
}

impl Recorded {
    /// Reads a copy of the store; nothing when there is no store yet.
    pub fn read(store: &Path) -> Self {
        if !store.exists() {
            return Self::default();
        }
        let copies = tempfile::tempdir().expect("a folder for copies");
        let copy = copies.path().join("copy.db");
        for ending in ["", "-wal"] {
            let (from, to) = (with_ending(store, ending), with_ending(&copy, ending));
            if from.exists() {
                std::fs::copy(from, to).expect("the store can be read");
            }
        }
        Self::of(&Connection::open(&copy).expect("the copy is a store"))
    }

    /// Reads a store through a connection.
    pub fn of(store: &Connection) -> Self {
        // A process that died while it made the store has recorded nothing.
        if pairs::<String, i64>(store, "SELECT name, 1 FROM sqlite_master WHERE name = 'tasks'").is_empty() {
            return Self::default();
        }
        let step = "SELECT t.id, j.body ->> '$.step.name' FROM journal j JOIN task t ON t.seq = j.seq
            WHERE j.body ->> '$.step.name' IS NOT NULL";
        let completed = "SELECT task, count(*) FROM events WHERE type = 'task.completed' GROUP BY task";
        Self {
            tasks: pairs(store, "SELECT id, status FROM tasks").into_iter().collect(),
            steps: pairs(store, step).into_iter().collect(),
            state: pairs(store, "SELECT key, value FROM state").into_iter().collect(),
            completed: pairs(store, completed).into_iter().collect(),
        }
    }

    /// Whether the outcome of a task was recorded.
    pub fn has_ended(&self, task: &str) -> bool {
        self.tasks.get(task).is_some_and(|status| status != "pending" && status != "in_progress")
    }
}

fn pairs<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(store: &Connection, sql: &str) -> Vec<(A, B)> {
    let mut statement = store.prepare(sql).expect("the schema is known");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    rows.map(|row| row.expect("it can be read")).collect()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
