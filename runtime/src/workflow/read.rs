//! A workflow file as a document.

use callboard_broker::problem::Problems;

use super::approval::{ApprovalDoc, Silence};
use super::check::check;
use super::document::{DEFAULT_CONCURRENCY, MAX_ATTEMPTS, MAX_CONCURRENCY, OnFailure, RetryDoc, TaskDoc, WorkflowDoc};
use super::fallback::FallbackDoc;
use crate::settings::budget::BudgetDoc;
use crate::settings::{Source, Table};

#[cfg(test)]
mod tests;

const ON_FAILURE: [(&str, OnFailure); 2] = [("fail", OnFailure::Fail), ("skip", OnFailure::Skip)];
const SILENCE: [(&str, Silence); 2] = [("approve", Silence::Approve), ("reject", Silence::Reject)];

impl WorkflowDoc {
    /// Reads and checks the text of a file; `file` is its name for messages. `served` are the capabilities that tasks may
    /// name; none: any will do.
    ///
    /// # Errors
    /// Every problem of the file, with its place.
    pub fn from_toml(file: &str, text: &str, served: Option<&[&str]>) -> Result<Self, Problems> {
        let source = Source::parse(file, text)?;
        let doc = workflow(source.root(), file);
        if let Err(problems) = check(&doc, served, &|path, piece| match piece {
            Some(piece) => Some(source.place_within(path, piece)),
            None => Some(source.place(path)),
        }) {
            source.add(problems);
        }
        source.finish(doc)
    }
}

fn workflow(mut table: Table<'_>, file: &str) -> WorkflowDoc {
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".toml");
    let example = format!("name = \"{}\"", if stem.is_empty() { "research" } else { stem });
    let mut doc = WorkflowDoc::new(table.text("name").unwrap_or_default());
    table.missing("name", &example);
    let most = 1..=u64::from(MAX_CONCURRENCY);
    doc.concurrency = table.number("concurrency", most).map_or(DEFAULT_CONCURRENCY, small);
    doc.budget = table.table("budget").map(BudgetDoc::of_table).unwrap_or_default();
    doc.model = table.text("model");
    doc.inputs = table.object("inputs");
    doc.output = table.value("output");
    doc.tasks = table.tables("task").into_iter().map(task).collect();
    table.close();
    doc
}

fn task(mut table: Table<'_>) -> TaskDoc {
    let doc = TaskDoc {
        id: table.text("id").unwrap_or_default(),
        capability: table.text("capability"),
        description: table.text("description"),
        depends_on: table.texts("depends_on"),
        input: table.value("input"),
        timeout: table.period("timeout"),
        deadline: table.period("deadline"),
        retry: table.table("retry").map(retry),
        approval: table.table("approval").map(approval),
        hedge: table.period("hedge"),
        model: table.text("model"),
        fallback: table.tables("fallback").into_iter().map(fallback).collect(),
        on_failure: table.choice("on_failure", &ON_FAILURE).unwrap_or_default(),
    };
    table.missing("id", "id = \"...\"");
    if !table.has("description") {
        table.missing("capability", "capability = \"...\"");
    }
    table.close();
    doc
}

fn retry(mut table: Table<'_>) -> RetryDoc {
    let default = RetryDoc::default();
    let doc = RetryDoc {
        attempts: table.number("attempts", 1..=u64::from(MAX_ATTEMPTS)).map_or(default.attempts, small),
        base: table.period("base").unwrap_or(default.base),
        max: table.period("max").unwrap_or(default.max),
    };
    table.close();
    doc
}

fn approval(mut table: Table<'_>) -> ApprovalDoc {
    let doc = ApprovalDoc {
        queue: table.text("queue"),
        who: table.texts("who"),
        within: table.period("within"),
        on_timeout: table.choice("on_timeout", &SILENCE),
        escalate: table.text("escalate"),
    };
    table.close();
    doc
}

fn fallback(mut table: Table<'_>) -> FallbackDoc {
    let doc = FallbackDoc {
        capability: table.text("capability"),
        cached: table.period("cached"),
        partial: table.flag("partial").unwrap_or_default(),
        human: table.text("human"),
        skip: table.flag("skip").unwrap_or_default(),
    };
    table.close();
    doc
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
