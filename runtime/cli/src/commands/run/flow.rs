//! A workflow file as a run, and its result.

use std::collections::BTreeMap;
use std::path::Path;

use callboard::broker::payload::Payload;
use callboard::broker::problem::Problems;
use callboard::broker::subject::CapabilityName;
use callboard::broker::task::{Outcome, Status};
use callboard::broker::tasks::TaskView;
use callboard::exit::Exit;
use callboard::workflow::{WORKFLOW, input_argument};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Job;
use crate::commands::workflow::file;
use crate::failure::Failure;
use crate::figures::{self, Metrics, TaskFigures};
use crate::output::{Page, Show};
use crate::views;

/// Reads a workflow with its inputs, and refuses it with everything that is wrong with either.
pub(super) fn job(path: &Path, inputs: &[String], served: &[String]) -> std::result::Result<Job, Failure> {
    let served: Vec<&str> = served.iter().map(String::as_str).collect();
    let (mut problems, mut given) = (Problems::new(), Map::new());
    for input in inputs {
        match input_argument(input) {
            Ok((key, value)) => drop(given.insert(key, value)),
            Err(problem) => problems.push(problem),
        }
    }
    let doc = file::read(path, Some(&served)).map(|(doc, _)| doc);
    let doc = match doc.and_then(|doc| doc.with_inputs(given)) {
        Ok(doc) => problems.or(doc)?,
        Err(more) => {
            problems.extend(more);
            return Err(problems.into());
        }
    };
    let capability: CapabilityName = WORKFLOW.id();
    let budget = doc.budget.budget();
    Ok(Job { capability, input: Payload::of(doc), budget })
}

/// What a run of anything but a question gave.
#[derive(Serialize)]
pub(super) struct Result {
    run: String,
    name: String,
    status: Status,
    output: Value,
    error: Option<callboard::Remote>,
    degraded: Option<String>,
    tasks: Vec<TaskFigures>,
    metrics: Metrics,
    #[serde(skip)]
    strict: bool,
    #[serde(skip)]
    failure: Option<Failure>,
}

impl Result {
    pub(super) fn of(outcome: &Outcome, tasks: &[TaskView], strict: bool, failure: Option<Failure>) -> Result {
        let root = tasks.iter().find(|view| view.task.id == outcome.task);
        Result {
            run: outcome.run.to_string(),
            name: root.map_or_else(|| outcome.capability.to_string(), |view| views::name(&view.task)),
            status: outcome.status,
            output: outcome.output.value().unwrap_or(Value::Null),
            error: outcome.error.clone(),
            degraded: outcome.degraded.clone().or_else(|| without(outcome, tasks)),
            tasks: figures::tasks(tasks),
            metrics: figures::metrics(tasks),
            strict,
            failure,
        }
    }
}

/// The optional tasks without which a workflow was completed, as a reason for being less than was asked for.
fn without(outcome: &Outcome, tasks: &[TaskView]) -> Option<String> {
    let mut newest: BTreeMap<&str, &TaskView> = BTreeMap::new();
    for view in tasks.iter().filter(|view| view.task.parent.as_ref() == Some(&outcome.task)) {
        newest.insert(view.task.key.as_deref().unwrap_or_else(|| view.task.id.as_str()), view);
    }
    let missing = newest.into_iter().filter(|(_, view)| view.status != Status::Completed);
    let missing: Vec<&str> = missing.map(|(name, _)| name).collect();
    let completed = outcome.status == Status::Completed;
    (completed && !missing.is_empty()).then(|| format!("without {}", missing.join(", ")))
}

impl Result {
    /// Why it is less than was asked for, when it is.
    pub(super) fn degraded(&self) -> Option<&str> {
        self.degraded.as_deref()
    }
}

impl Show for Result {
    fn text(&self, _: Page) -> String {
        match &self.output {
            Value::Null => String::new(),
            Value::String(text) => format!("{}\n", text.trim_end()),
            other => serde_json::to_string_pretty(other).map_or_else(|_| String::new(), |json| json + "\n"),
        }
    }

    fn exit(&self) -> Exit {
        if self.strict && self.degraded.is_some() { Exit::Degraded } else { Exit::Ok }
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }
}
