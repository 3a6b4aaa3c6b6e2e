//! Workflow files: whether they can run, and what they look like.

use callboard::workflow::{OnFailure, WorkflowDoc, capabilities, draw};
use serde::Serialize;

use super::{Check, Graph, file};
use crate::console::{Console, quoted};
use crate::output::{Done, Page, Show, answer, count, then};
use crate::services;

/// `workflow check`.
pub(super) fn check(of: &Check, console: &Console) -> Done {
    let served = services::capabilities();
    let served: Vec<&str> = served.iter().map(String::as_str).collect();
    let (doc, _) = file::read(&of.file, (!of.any_capability).then_some(&served))?;
    let needed = doc.needed_inputs();
    let missing = needed.iter().filter(|key| !doc.inputs.contains_key(*key));
    let inputs: String = missing.map(|key| format!(" -i {key}=...")).collect();
    let ready = inputs.is_empty() && !of.any_capability;
    let run = console.command(&format!("run {}", quoted(of.file.as_os_str())));
    let next = if ready { console.next(&[("run it", run)]) } else { String::new() };
    let checked = Checked {
        file: of.file.display().to_string(),
        ok: true,
        name: doc.name.clone(),
        tasks: tasks(&doc),
        concurrency: doc.concurrency,
        inputs: doc.needed_inputs(),
        missing: inputs,
    };
    then(answer(checked), &next)
}

/// `workflow graph`. Whoever draws a file does not run it, so its capabilities need not be served.
pub(super) fn graph(of: &Graph, console: &Console) -> Done {
    let (doc, graph) = file::read(&of.file, None)?;
    let drawing = of.form.drawing(console.out.page.ascii);
    let text = draw(&doc, &graph, drawing, &capabilities(&doc));
    let after = |id: &str| graph.after(id).map(str::to_owned).collect();
    let tasks = tasks(&doc).into_iter().map(|task| Drawn { after: after(&task.id), task }).collect();
    answer(Picture { name: doc.name.clone(), tasks, text })
}

fn tasks(doc: &WorkflowDoc) -> Vec<Task> {
    let task = |task: &callboard::workflow::TaskDoc| Task {
        id: task.id.clone(),
        capability: task.capability.clone(),
        optional: task.on_failure == OnFailure::Skip,
    };
    doc.tasks.iter().map(task).collect()
}

#[derive(Serialize)]
struct Task {
    id: String,
    /// None: whoever takes its description.
    capability: Option<String>,
    optional: bool,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    ok: bool,
    name: String,
    tasks: Vec<Task>,
    concurrency: u32,
    inputs: Vec<String>,
    /// What a run must be given, as it is typed.
    #[serde(skip)]
    missing: String,
}

impl Show for Checked {
    fn text(&self, page: Page) -> String {
        let (tasks, at_once) = (count(self.tasks.len(), "task"), self.concurrency);
        let head = format!("{}  ok: \"{}\" has {tasks}, at most {at_once} at once", self.file, self.name);
        match self.missing.is_empty() {
            true => page.wrap(&head, 2) + "\n",
            false => format!("{}\n{}\n", page.wrap(&head, 2), page.wrap(&format!("a run needs {}", self.missing), 2)),
        }
    }
}

#[derive(Serialize)]
struct Drawn {
    #[serde(flatten)]
    task: Task,
    after: Vec<String>,
}

#[derive(Serialize)]
struct Picture {
    name: String,
    tasks: Vec<Drawn>,
    #[serde(skip)]
    text: String,
}

impl Show for Picture {
    fn text(&self, _: Page) -> String {
        self.text.clone()
    }
}
