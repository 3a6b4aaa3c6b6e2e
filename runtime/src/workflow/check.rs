//! Everything that can be known to be wrong with a workflow before it runs, all of it at once.
//!
//! The same check looks at a file, where each problem has its place, and at a document that arrives as the input of a task,
//! where the sentences have to do; so every sentence names the task.

use std::collections::HashMap;

use callboard_agents::human;
use callboard_agents::llm::ModelName;
use callboard_broker::code;
use callboard_broker::problem::{Place, Problem, Problems, closest};
use callboard_broker::subject;
use serde_json::Value;

use super::document::{MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_TASKS, TaskDoc, WorkflowDoc};
use super::graph::{Graph, Node, circles};
use super::template::{self, INPUTS, Reference};

/// Finds the place of a value by its path in the document, or of a piece of it; none where there is no file.
pub(super) type Finder<'a> = &'a dyn Fn(&[String], Option<&str>) -> Option<Place>;

impl WorkflowDoc {
    /// The graph of the workflow, when nothing is wrong with it. `served` are the capabilities that tasks may name; none:
    /// any will do.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn check(&self, served: Option<&[&str]>) -> Result<Graph, Problems> {
        check(self, served, &|_, _| None)
    }
}

pub(super) fn check(doc: &WorkflowDoc, served: Option<&[&str]>, find: Finder<'_>) -> Result<Graph, Problems> {
    let mut check = Check { doc, find, ids: HashMap::new(), edges: Vec::new(), problems: Problems::new() };
    check.head();
    for (at, task) in doc.tasks.iter().enumerate() {
        check.id(at, task);
        check.fields(at, task);
        check.model(field(at, "model"), task.model.as_ref());
        check.capability(at, task, served);
        check.approval(at, task);
        check.fallbacks(at, task, served);
    }
    for (at, task) in doc.tasks.iter().enumerate() {
        let edges = check.dependencies(at, task);
        check.edges.push(edges);
    }
    if let Some(output) = &doc.output {
        check.references(&path(&["output"]), "`output`", output);
    }
    check.unused_inputs();
    let nodes = check.nodes();
    check.circles(&nodes);
    check.problems.or(Graph::new(nodes, doc.concurrency as usize))
}

pub(super) struct Check<'a> {
    doc: &'a WorkflowDoc,
    find: Finder<'a>,
    ids: HashMap<&'a str, usize>,
    edges: Vec<Vec<Edge>>,
    problems: Problems,
}

/// That a task waits for another one, and where it says so.
struct Edge {
    to: usize,
    path: Vec<String>,
    piece: String,
}

impl<'a> Check<'a> {
    fn head(&mut self) {
        let doc = self.doc;
        self.name(path(&["name"]), "the name of the workflow", &doc.name);
        self.model(path(&["model"]), doc.model.as_ref());
        if !(1..=MAX_CONCURRENCY).contains(&doc.concurrency) {
            let what = format!("`concurrency` is {}: it takes 1 to {MAX_CONCURRENCY}", doc.concurrency);
            self.report(Problem::new(code::RANGE, what), &path(&["concurrency"]), None);
        }
        if doc.tasks.is_empty() {
            let problem = Problem::new(code::NO_TASKS, format!("the workflow \"{}\" has no task", doc.name));
            self.report(problem.fix("[[task]] with an id and a capability"), &path(&["task"]), None);
        }
        if doc.tasks.len() > MAX_TASKS {
            let what = format!("the workflow has {} tasks: at most {MAX_TASKS} are allowed", doc.tasks.len());
            self.report(Problem::new(code::RANGE, what), &path(&["task"]), None);
        }
    }

    /// A model is named as in configuration. Whether a node allows it is known where the task runs.
    fn model(&mut self, here: Vec<String>, named: Option<&String>) {
        if let Some(Err(why)) = named.map(|name| ModelName::try_from(name.clone())) {
            self.report(Problem::new(code::NOT_ALLOWED, format!("`model`: {why}")), &here, None);
        }
    }

    fn id(&mut self, at: usize, task: &'a TaskDoc) {
        let here = field(at, "id");
        self.name(here.clone(), "the id of a task", &task.id);
        if task.id == INPUTS {
            let what = "a task cannot have the id \"inputs\": {{inputs.key}} refers to the workflow's inputs";
            self.report(Problem::new(code::NAME, what), &here, None);
        }
        if task.id.is_empty() {
            return;
        }
        if let Some(first) = self.ids.insert(&task.id, at) {
            self.ids.insert(&task.id, first);
            let problem = Problem::new(code::DUPLICATE, format!("two tasks have the id \"{}\"", task.id));
            let place = (self.find)(&field(first, "id"), None);
            let problem = match place {
                Some(place) => problem.note(format!("the first one is in line {}", place.line)),
                None => problem,
            };
            let free = (2..).map(|n| format!("{}_{n}", task.id)).find(|id| self.doc.task(id).is_none());
            self.report(Problem { fix: free.map(|id| format!("id = \"{id}\"")), ..problem }, &here, None);
        }
    }

    fn name(&mut self, here: Vec<String>, what: &str, name: &str) {
        if let Err(bad) = subject::token("name", name) {
            let mut problem = Problem::new(code::NAME, format!("{what} cannot be \"{}\"", bad.given)).note(bad.allowed);
            let token: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
            let token: String = token.trim_matches('_').chars().take(subject::MAX_TOKEN).collect();
            let key = here.last().cloned().unwrap_or_default();
            problem.fix = (!token.is_empty()).then(|| format!("{key} = \"{token}\""));
            self.report(problem, &here, None);
        }
    }

    fn fields(&mut self, at: usize, task: &TaskDoc) {
        for (key, period) in [("timeout", task.timeout), ("deadline", task.deadline)] {
            if period.is_some_and(|period| period.is_zero()) {
                let what = format!("task \"{}\": `{key}` is no time at all", task.id);
                self.report(Problem::new(code::RANGE, what), &field(at, key), None);
            }
        }
        let Some(retry) = task.retry else { return };
        if !(1..=MAX_ATTEMPTS).contains(&retry.attempts) {
            let what = format!("task \"{}\": `attempts` is {}: it takes 1 to {MAX_ATTEMPTS}", task.id, retry.attempts);
            self.report(Problem::new(code::RANGE, what), &below(field(at, "retry"), "attempts"), None);
        }
        if retry.base > retry.max {
            let what = format!(
                "task \"{}\": the first wait, {}, is longer than the longest, {}",
                task.id, retry.base, retry.max
            );
            let problem = Problem::new(code::RANGE, what).fix(format!("max = \"{}\"", retry.base));
            self.report(problem, &below(field(at, "retry"), "base"), None);
        }
    }

    fn capability(&mut self, at: usize, task: &TaskDoc, served: Option<&[&str]>) {
        let here = field(at, "capability");
        let Some(name) = &task.capability else {
            if task.description.is_none() {
                let what = format!("task \"{}\" has neither `capability` nor `description`", task.id);
                self.report(Problem::new(code::MISSING_KEY, what).fix("capability = \"...\""), &field(at, ""), None);
            } else if task.input.as_ref().is_some_and(|input| !input.is_object()) {
                let what = format!("task \"{}\" has no `capability`, so its `input` is a table", task.id);
                self.report(Problem::new(code::WRONG_TYPE, what), &field(at, "input"), None);
            }
            return;
        };
        self.named(&here, &task.id, name, served);
    }

    /// The name of a capability, which must be one and be served.
    pub(super) fn named(&mut self, here: &[String], id: &str, name: &str, served: Option<&[&str]>) {
        if !subject::is_capability(name) {
            let mut problem =
                Problem::new(code::NAME, format!("task \"{}\": \"{name}\" is no name of a capability", id));
            problem = problem.note("lower-case words and numbers with dots between: research.web");
            let plain = name.to_lowercase().replace(['-', '_', ' ', '/'], ".");
            let meant = served.and_then(|served| closest(name, served)).unwrap_or(plain);
            problem.fix = subject::is_capability(&meant).then(|| format!("capability = \"{meant}\""));
            self.report(problem, here, None);
        } else if let Some(served) = served.filter(|served| !served.contains(&name))
            && !name.starts_with(human::PREFIX)
        {
            let what = format!("task \"{}\": nothing serves \"{name}\"", id);
            let mut problem = Problem::new(code::UNKNOWN_CAPABILITY, what).allowed_near(name, served);
            problem.fix = closest(name, served).map(|meant| format!("capability = \"{meant}\""));
            self.report(problem, here, None);
        }
    }

    /// What the task waits for, by name and by reference.
    fn dependencies(&mut self, at: usize, task: &TaskDoc) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (n, name) in task.depends_on.iter().enumerate() {
            let here = below(field(at, "depends_on"), &n.to_string());
            match self.ids.get(name.as_str()) {
                Some(to) => edges.push(Edge { to: *to, path: here, piece: String::new() }),
                None => {
                    let what = format!("task \"{}\" depends on \"{name}\", which is no task", task.id);
                    let problem =
                        self.unknown(Problem::new(code::UNKNOWN_DEPENDENCY, what), name, Some(&task.id), |meant| {
                            format!("\"{meant}\"")
                        });
                    self.report_unless_ids_are_missing(problem, &here, None);
                }
            }
        }
        let whose = format!("task \"{}\"", task.id);
        if let Some(text) = &task.description {
            edges.extend(self.references(&field(at, "description"), &whose, &Value::String(text.clone())));
        }
        if let Some(input) = &task.input {
            edges.extend(self.references(&field(at, "input"), &whose, input));
        }
        edges
    }

    /// The tasks that a value refers to. Reports references to nothing, and texts that are no templates.
    fn references(&mut self, here: &[String], whose: &str, value: &Value) -> Vec<Edge> {
        let mut found = Vec::new();
        template::texts(value, &mut here.to_vec(), &mut |path, text| found.push((path.to_vec(), text.to_owned())));
        let mut edges = Vec::new();
        for (path, text) in found {
            match template::references(&text) {
                Err(bad) => {
                    let mut problem = bad.problem();
                    problem.what = format!("{whose}: {}", problem.what);
                    self.report(problem, &path, Some(&bad.piece));
                }
                Ok(references) => {
                    for reference in references.iter().filter(|reference| reference.root != INPUTS) {
                        match self.ids.get(reference.root.as_str()) {
                            Some(to) => {
                                edges.push(Edge { to: *to, path: path.clone(), piece: reference.written.clone() });
                            }
                            None => self.dangling(&path, whose, reference),
                        }
                    }
                }
            }
        }
        edges
    }

    fn dangling(&mut self, path: &[String], whose: &str, reference: &Reference) {
        let name = &reference.root;
        let problem =
            Problem::new(code::REFERENCE, format!("{whose} refers to {reference}, and there is no task \"{name}\""));
        let rest = |meant: &str| reference.written.replacen(name, meant, 1);
        let mut problem = self.unknown(problem, name, None, rest);
        if self.inputs().contains(name) {
            problem.fix = Some(rest(&format!("{INPUTS}.{name}")));
        }
        self.report_unless_ids_are_missing(problem, path, Some(&reference.written));
    }

    fn unknown(&self, problem: Problem, name: &str, but: Option<&str>, fix: impl Fn(&str) -> String) -> Problem {
        let ids = || self.doc.tasks.iter().map(|task| task.id.as_str()).filter(|id| Some(*id) != but && !id.is_empty());
        let fix = closest(name, ids()).map(|meant| fix(&meant));
        Problem { fix, ..problem.allowed_near(name, ids()) }
    }

    /// Whether a name is known cannot be told while some task has none.
    fn report_unless_ids_are_missing(&mut self, problem: Problem, path: &[String], piece: Option<&str>) {
        if self.doc.tasks.iter().all(|task| !task.id.is_empty()) {
            self.report(problem, path, piece);
        }
    }

    fn inputs(&self) -> Vec<String> {
        let (mut keys, given) = (self.doc.needed_inputs(), self.doc.inputs.keys());
        keys.extend(given.cloned());
        keys
    }

    /// An input that is nowhere used is most likely another one misspelt.
    fn unused_inputs(&mut self) {
        let used = self.doc.needed_inputs();
        for key in self.doc.inputs.keys().filter(|key| !used.contains(*key)) {
            let mut problem = Problem::new(code::UNKNOWN_INPUT, format!("the input \"{key}\" is used nowhere"));
            problem = problem.allowed_near(key, used.iter().map(|key| format!("{{{{inputs.{key}}}}}")));
            problem.fix = closest(key, &used);
            self.report(problem, &path(&["inputs", key]), None);
        }
    }

    fn nodes(&self) -> Vec<Node> {
        let node = |(task, edges): (&TaskDoc, &Vec<Edge>)| {
            let mut after: Vec<usize> = edges.iter().map(|edge| edge.to).collect();
            after.sort_unstable();
            after.dedup();
            Node { id: task.id.clone(), after, optional: task.is_optional() }
        };
        self.doc.tasks.iter().zip(&self.edges).map(node).collect()
    }

    fn circles(&mut self, nodes: &[Node]) {
        for circle in circles(nodes) {
            let names: Vec<&str> = circle.iter().chain(&circle[..1]).map(|at| nodes[*at].id.as_str()).collect();
            let what = match names.as_slice() {
                [one, _] => format!("task \"{one}\" depends on itself"),
                _ => format!("these tasks wait for each other: {}", names.join(" -> ")),
            };
            let problem = Problem::new(code::CYCLE, what).fix("take out one of these dependencies");
            let next = circle.get(1).unwrap_or(&circle[0]);
            let edge = self.edges[circle[0]].iter().find(|edge| edge.to == *next);
            let (path, piece) = edge.map(|edge| (edge.path.clone(), edge.piece.clone())).unwrap_or_default();
            self.report(problem, &path, (!piece.is_empty()).then_some(&piece));
        }
    }

    pub(super) fn report(&mut self, problem: Problem, path: &[String], piece: Option<&str>) {
        let at = (self.find)(path, piece).map(Box::new);
        self.problems.push(Problem { at, ..problem });
    }
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

pub(super) fn field(at: usize, key: &str) -> Vec<String> {
    path(&["task", &at.to_string(), key])
}

pub(super) fn below(mut path: Vec<String>, part: &str) -> Vec<String> {
    path.push(part.to_owned());
    path
}
