//! Tasks and runs as rows: what lists print and what `--json` promises.

use callboard::broker::clock::Millis;
use callboard::broker::task::{Status, Task};
use callboard::broker::tasks::TaskView;
use serde::Serialize;
use serde_json::Value;

use crate::ids::short;
use crate::output::{Column, Page, Show, table, time};

/// One task in a list. Dates are RFC 3339, durations milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskRow {
    pub(crate) id: String,
    pub(crate) run: String,
    pub(crate) capability: String,
    pub(crate) status: Status,
    /// Attempts begun.
    pub(crate) attempt: u32,
    /// From submission to the end, or until now.
    pub(crate) ms: Millis,
    pub(crate) node: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) parent: Option<String>,
    /// The name that its parent gave it: within a workflow its id there.
    pub(crate) key: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: String,
    pub(crate) finished_at: Option<String>,
}

impl TaskRow {
    /// The row of a task, at `now`.
    pub(crate) fn of(view: &TaskView, now: Millis) -> TaskRow {
        let (task, outcome) = (&view.task, view.outcome.as_ref());
        let end = outcome.map_or(now, |outcome| outcome.finished_at);
        TaskRow {
            id: task.id.to_string(),
            run: task.run.to_string(),
            capability: task.capability.to_string(),
            status: view.status,
            attempt: view.attempt,
            ms: end.saturating_sub(task.created_at),
            node: outcome.and_then(|outcome| outcome.node.clone()).or(view.node.clone()).map(|node| node.to_string()),
            agent: outcome.and_then(|outcome| outcome.agent.clone()),
            parent: task.parent.as_ref().map(ToString::to_string),
            key: task.key.clone(),
            description: task.description.clone(),
            error: outcome.and_then(|outcome| outcome.error.as_ref()).map(|error| error.message.clone()),
            created_at: time::date(task.created_at),
            finished_at: outcome.map(|outcome| time::date(outcome.finished_at)),
        }
    }
}

impl TaskRow {
    /// What there is to say of it in few words: its name, unless nobody gave it one, and what went wrong or what it is
    /// for.
    fn what(&self) -> String {
        // A key with a colon was made of the capability and a hash.
        let name = self.key.as_deref().filter(|key| !key.contains(':'));
        let words = self.error.as_deref().or(self.description.as_deref());
        [name, words].into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}

/// A list of tasks.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct TaskRows(pub(crate) Vec<TaskRow>);

impl Show for TaskRows {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 7] = [
            Column::new("TASK"),
            Column::new("CAPABILITY"),
            Column::new("STATUS"),
            Column::new("TRY").right().spare(3),
            Column::new("TIME").right().spare(1),
            Column::new("NODE").spare(4),
            Column::new("WHAT").flexible().spare(2),
        ];
        if self.0.is_empty() {
            return String::new();
        }
        let row = |task: &TaskRow| {
            vec![
                short(&task.id).to_owned(),
                task.capability.clone(),
                task.status.to_string(),
                task.attempt.to_string(),
                time::took(task.ms),
                task.node.clone().unwrap_or_default(),
                task.what(),
            ]
        };
        table(page, &COLUMNS, &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

/// One run in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunRow {
    pub(crate) run: String,
    /// The workflow's name, or the capability of any other run.
    pub(crate) name: String,
    pub(crate) status: Status,
    /// What it is for, in words.
    pub(crate) description: Option<String>,
    /// 1, and one more for each retry of the whole run.
    pub(crate) generation: u32,
    pub(crate) ms: Millis,
    pub(crate) created_at: String,
    pub(crate) finished_at: Option<String>,
    #[serde(skip)]
    ago: String,
}

impl RunRow {
    /// The row of a run by its newest root, at `now`.
    pub(crate) fn of(root: &TaskView, now: Millis) -> RunRow {
        let task = TaskRow::of(root, now);
        RunRow {
            run: task.run,
            name: name(&root.task),
            status: task.status,
            description: described(&root.task),
            generation: root.task.generation,
            ms: task.ms,
            created_at: task.created_at,
            finished_at: task.finished_at,
            ago: time::ago(root.task.created_at, now),
        }
    }

    /// In one line: `6e0a8c17  intro  completed  1.2 s  3m10s ago`.
    pub(crate) fn line(&self) -> String {
        let took = time::took(self.ms);
        format!("{}  {}  {}  {took}  {}", short(&self.run), self.name, self.status, self.ago)
    }
}

/// A list of runs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RunRows(pub(crate) Vec<RunRow>);

impl Show for RunRows {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 6] = [
            Column::new("RUN"),
            Column::new("NAME"),
            Column::new("STATUS"),
            Column::new("TIME").right().spare(2),
            Column::new("BEGAN").right().spare(1),
            Column::new("WHAT").flexible().spare(3),
        ];
        if self.0.is_empty() {
            return String::new();
        }
        let row = |run: &RunRow| {
            let (began, what) = (run.ago.clone(), run.description.clone().unwrap_or_default());
            vec![short(&run.run).into(), run.name.clone(), run.status.to_string(), time::took(run.ms), began, what]
        };
        table(page, &COLUMNS, &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

/// What a run is called: its workflow's name, or its capability.
pub(crate) fn name(root: &Task) -> String {
    let is_workflow = root.capability.as_str() == callboard::workflow::WORKFLOW.name();
    let named = is_workflow.then(|| text_of(root, "name")).flatten();
    named.unwrap_or_else(|| root.capability.to_string())
}

/// What a run is for: its description, or the question that it was asked.
fn described(root: &Task) -> Option<String> {
    root.description.clone().or_else(|| text_of(root, "question"))
}

fn text_of(task: &Task, field: &str) -> Option<String> {
    let input = task.input.value().ok()?;
    input.get(field).and_then(Value::as_str).map(str::to_owned)
}
