//! A workflow written in Rust: the same document as a file, with the types of the capabilities checked by the compiler.
//!
//! A task's handle stands for its output. As the whole input of another task it must have that task's request type;
//! inside `json!` it becomes a reference, and the receiving agent checks the shape. Logic between tasks belongs in an agent
//! that delegates: a closure between two tasks could not move to another node.
//!
//! ```
//! use callboard::workflow::Workflow;
//! use callboard_agents::{Capability, json};
//!
//! const DRAFT: Capability<serde_json::Value, String> = Capability::new("text.draft");
//! const EDIT: Capability<String, String> = Capability::new("text.edit");
//!
//! let mut flow = Workflow::new("note");
//! let facts = flow.task_json("facts", DRAFT, json!({ "topic": "otters" }));
//! let draft = flow.task_json("draft", DRAFT, json!({ "notes": facts, "style": "plain" })).retry(3);
//! let edited = flow.task("edited", EDIT, &draft);
//! let flow = flow.output(edited);
//! assert!(flow.check().is_ok());
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_agents::{Capability, Payload};
use callboard_broker::code;
use callboard_broker::error::Error;
use callboard_broker::problem::{Problem, Problems};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::document::{OnFailure, RetryDoc, TaskDoc, WorkflowDoc};
use super::graph::Graph;
use crate::period::Period;
use crate::settings::budget::BudgetDoc;

/// A graph of tasks whose result is an `Out`; without [`output`](Workflow::output) see [`WorkflowDoc`] for what it is.
#[derive(Clone)]
pub struct Workflow<Out = Value> {
    plan: Arc<Mutex<Plan>>,
    out: PhantomData<fn() -> Out>,
}

/// The document as it grows, shared with the handles of its tasks, which configure it.
#[derive(Clone, Debug)]
struct Plan {
    doc: WorkflowDoc,
    /// Inputs that could not be written as JSON: told by `check` with everything else.
    unwritable: Problems,
}

/// The output of a task that is still to come. Serializes as a reference to it.
pub struct Task<Res> {
    plan: Arc<Mutex<Plan>>,
    at: usize,
    id: String,
    res: PhantomData<fn() -> Res>,
}

/// What a task is given: a value, or the output of another task.
#[derive(Debug)]
pub struct Input<Req> {
    value: Result<Value, String>,
    req: PhantomData<fn(Req)>,
}

impl Workflow {
    /// A workflow without tasks; the name has 1 to 80 letters, digits, `_` and `-`.
    pub fn new(name: &str) -> Self {
        let plan = Plan { doc: WorkflowDoc::new(name), unwritable: Problems::new() };
        Workflow { plan: Arc::new(Mutex::new(plan)), out: PhantomData }
    }

    /// How many tasks may be at work at once: 1 to 1,000, default 10.
    pub fn concurrency(self, tasks: u32) -> Self {
        lock(&self.plan).doc.concurrency = tasks;
        self
    }

    /// What a run of it may use, all of its tasks together. Default: that of the node that submits it.
    pub fn budget(self, budget: BudgetDoc) -> Self {
        lock(&self.plan).doc.budget = budget;
        self
    }

    /// The language model that its tasks ask unless they name one themselves: `PROVIDER/NAME`, or `extractive` for none.
    pub fn model(self, name: &str) -> Self {
        lock(&self.plan).doc.model = Some(name.to_owned());
        self
    }

    /// A value for `{{inputs.key}}`.
    pub fn input(self, key: &str, value: impl Into<Value>) -> Self {
        lock(&self.plan).doc.inputs.insert(key.to_owned(), value.into());
        self
    }

    /// A task for a capability, with a value or with the whole output of another task.
    pub fn task<Req: Payload, Res: Payload>(
        &mut self,
        id: &str,
        to: Capability<Req, Res>,
        input: impl Into<Input<Req>>,
    ) -> Task<Res> {
        let input = input.into().value;
        self.add(TaskDoc { capability: Some(to.name().to_owned()), ..TaskDoc::default() }, id, input)
    }

    /// A task whose input is put together from several outputs: `json!({ "notes": research, "style": "plain" })`.
    pub fn task_json<Req: Payload, Res: Payload>(
        &mut self,
        id: &str,
        to: Capability<Req, Res>,
        input: Value,
    ) -> Task<Res> {
        self.add(TaskDoc { capability: Some(to.name().to_owned()), ..TaskDoc::default() }, id, Ok(input))
    }

    /// A task that only says what is to be done: the first capability, by name, that takes a description gets it.
    pub fn described(&mut self, id: &str, description: &str) -> Task<Value> {
        let doc = TaskDoc { description: Some(description.to_owned()), ..TaskDoc::default() };
        self.add(doc, id, Ok(Value::Null))
    }

    /// The workflow, with the output of this task as its result.
    pub fn output<T>(self, of: Task<T>) -> Workflow<T> {
        lock(&self.plan).doc.output = Some(Value::String(of.reference()));
        Workflow { plan: self.plan, out: PhantomData }
    }

    fn add<Res>(&mut self, task: TaskDoc, id: &str, input: Result<Value, String>) -> Task<Res> {
        let mut plan = lock(&self.plan);
        let input = input.unwrap_or_else(|why| {
            plan.unwritable.push(Problem::new(code::BAD_JSON, format!("the input of task \"{id}\" is no JSON: {why}")));
            Value::Null
        });
        let input = Some(input).filter(|input| !input.is_null());
        plan.doc.tasks.push(TaskDoc { id: id.to_owned(), input, ..task });
        let at = plan.doc.tasks.len() - 1;
        drop(plan);
        Task { plan: self.plan.clone(), at, id: id.to_owned(), res: PhantomData }
    }
}

impl<Out> Workflow<Out> {
    /// Whether it can run.
    ///
    /// # Errors
    /// `Error::Config` with everything that is wrong: two tasks with one id, a circle, a reference to nothing.
    pub fn check(&self) -> Result<(), Error> {
        self.graph().map(drop).map_err(|problems| Error::Config(Box::new(problems)))
    }

    /// The document, as a file would say it and as the workflow's task carries it.
    pub fn document(&self) -> WorkflowDoc {
        lock(&self.plan).doc.clone()
    }

    fn graph(&self) -> Result<Graph, Problems> {
        let plan = lock(&self.plan);
        let mut problems = plan.unwritable.clone();
        problems.extend(plan.doc.missing_inputs());
        match plan.doc.check(None) {
            Ok(graph) => problems.or(graph),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }
}

impl<Res> Task<Res> {
    /// Starts only when the other one has completed, though it needs nothing of its output.
    pub fn after<T>(self, other: &Task<T>) -> Self {
        self.set(|doc| doc.depends_on.push(other.id.clone()))
    }

    /// The language model that it and all below it ask, `PROVIDER/NAME`, or `extractive` for none.
    pub fn model(self, name: &str) -> Self {
        self.set(|doc| doc.model = Some(name.to_owned()))
    }

    /// How often it is tried in all, the first time included: 1 to 100, default 3.
    pub fn retry(self, attempts: u32) -> Self {
        self.set(|doc| doc.retry = Some(RetryDoc { attempts, ..doc.retry.unwrap_or_default() }))
    }

    /// The waits between attempts: the first, doubled each time, and the longest. Defaults 1 s and 60 s.
    pub fn backoff(self, base: Duration, max: Duration) -> Self {
        let (base, max) = (Period::new(base), Period::new(max));
        self.set(|doc| doc.retry = Some(RetryDoc { base, max, ..doc.retry.unwrap_or_default() }))
    }

    /// The time for one attempt, in whole milliseconds.
    pub fn timeout(self, time: Duration) -> Self {
        self.set(|doc| doc.timeout = Some(time.into()))
    }

    /// The time for all attempts together, in whole milliseconds.
    pub fn deadline(self, time: Duration) -> Self {
        self.set(|doc| doc.deadline = Some(time.into()))
    }

    /// What it is for, in words.
    pub fn about(self, description: &str) -> Self {
        self.set(|doc| doc.description = Some(description.to_owned()))
    }

    /// When it yields nothing the workflow goes on: references to it are null, and the result is marked as degraded.
    pub fn or_skip(self) -> Self {
        self.set(|doc| doc.on_failure = OnFailure::Skip)
    }

    /// Its id within the workflow.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn reference(&self) -> String {
        format!("{{{{{}}}}}", self.id)
    }

    pub(super) fn set(self, change: impl FnOnce(&mut TaskDoc)) -> Self {
        if let Some(doc) = lock(&self.plan).doc.tasks.get_mut(self.at) {
            change(doc);
        }
        self
    }
}

impl<Res> Serialize for Task<Res> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.reference())
    }
}

impl<T: Payload> From<T> for Input<T> {
    fn from(value: T) -> Self {
        let value = serde_json::to_value(value).map(escaped).map_err(|why| why.to_string());
        Input { value, req: PhantomData }
    }
}

impl<T> From<&Task<T>> for Input<T> {
    fn from(task: &Task<T>) -> Self {
        Input { value: Ok(Value::String(task.reference())), req: PhantomData }
    }
}

/// A value given from code is meant as it is: braces in its texts are no references.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("{{", "{{{{")),
        Value::Array(list) => list.into_iter().map(escaped).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, item)| (name, escaped(item))).collect(),
        other => other,
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    // Nothing here can panic half-way through a change, so a poisoned plan is whole.
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Out> fmt::Debug for Workflow<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").field("doc", &lock(&self.plan).doc).finish()
    }
}

impl<Res> fmt::Debug for Task<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::Outputs;

    const FIND: Capability<String, Value> = Capability::new("research.web");
    const WRITE: Capability<Value, String> = Capability::new("content.writer");
    const EDIT: Capability<String, String> = Capability::new("content.editor");

    #[test]
    fn code_and_file_make_one_document() {
        let mut flow = Workflow::new("intro").concurrency(4).input("tone", "dry");
        let facts = flow.task("facts", FIND, "otters".to_owned()).timeout(Duration::from_secs(30)).or_skip();
        let draft = flow.task_json("draft", WRITE, json!({ "notes": facts, "tone": "{{inputs.tone}}" })).retry(5);
        let check = flow.described("check", "look at {{draft}}").after(&facts);
        let edited = flow.task("edited", EDIT, &draft).after(&check).deadline(Duration::from_secs(3600));
        let flow = flow.output(edited);
        let file = r#"
            name = "intro"
            concurrency = 4
            output = "{{edited}}"
            inputs = { tone = "dry" }
            [[task]]
            id = "facts"
            capability = "research.web"
            input = "otters"
            timeout = "30s"
            on_failure = "skip"
            [[task]]
            id = "draft"
            capability = "content.writer"
            input = { notes = "{{facts}}", tone = "{{inputs.tone}}" }
            retry = { attempts = 5 }
            [[task]]
            id = "check"
            description = "look at {{draft}}"
            depends_on = ["facts"]
            [[task]]
            id = "edited"
            capability = "content.editor"
            input = "{{draft}}"
            depends_on = ["check"]
            deadline = "1h"
        "#;
        assert_eq!(flow.document(), WorkflowDoc::from_toml("intro.toml", file, None).unwrap());
        flow.check().unwrap();
    }

    #[test]
    fn a_value_from_code_is_meant_as_it_is() {
        let mut flow = Workflow::new("w");
        flow.task("a", FIND, "{{b}} {{{{c".to_owned());
        flow.check().unwrap();
        let doc = flow.document();
        assert_eq!(doc.task_input(&doc.tasks[0], &Outputs::new()).unwrap(), json!("{{b}} {{{{c"));
    }

    #[test]
    fn what_is_wrong_is_told_by_check_and_not_before() {
        let mut flow = Workflow::new("w");
        let a = flow.task("a", FIND, "x".to_owned()).retry(0);
        let b = flow.task_json("b", WRITE, json!({ "n": "{{inputs.none}}" })).after(&a);
        let _ = flow.task("b", FIND, "x".to_owned()).after(&b);
        let Err(Error::Config(problems)) = flow.check() else { panic!("was accepted") };
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code::MISSING_INPUT, code::RANGE, code::DUPLICATE]);
    }
}
