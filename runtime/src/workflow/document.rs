//! The workflow as a document: what a file says and what the workflow's task carries as its input.
//!
//! One set of types for both, with one name for each thing, so that what a person writes in TOML is what the run log shows
//! in JSON and what a worker in another language reads.

use std::collections::BTreeMap;
use std::time::Duration;

use callboard_broker::task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approval::ApprovalDoc;
use super::fallback::FallbackDoc;
use crate::period::Period;
use crate::settings::budget::BudgetDoc;

/// Tasks at once, unless the workflow says otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 10;
/// The most tasks that may be asked to run at once.
pub const MAX_CONCURRENCY: u32 = 1_000;
/// The most tasks of one workflow.
pub const MAX_TASKS: usize = 10_000;
/// The most attempts of one task.
pub const MAX_ATTEMPTS: u32 = 100;

/// A graph of tasks as data.
///
/// Its result is `output` with its references filled in; without one it is the output of the task on which no other
/// depends, and when there are several such tasks, an object with the output of each under its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowDoc {
    /// Names the workflow in lists: 1 to 80 letters, digits, `_` and `-`.
    pub name: String,
    /// How many tasks may be at work at once: 1 to 1,000, default 10.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// What a run of it may use, all of its tasks together. Whoever submits the workflow may set less or more.
    #[serde(default, skip_serializing_if = "BudgetDoc::is_empty")]
    pub budget: BudgetDoc,
    /// The language model that its tasks ask unless they name one themselves: `PROVIDER/NAME`, or `extractive` for none.
    /// Default: what the nodes have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Values for `{{inputs.key}}`: the defaults in a file, all of them in a task.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// What the workflow gives back, with references to the outputs of its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The tasks; their order matters only where several could start and not all may.
    #[serde(rename = "task")]
    pub tasks: Vec<TaskDoc>,
}

/// One task of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskDoc {
    /// Names the task within the workflow: 1 to 80 letters, digits, `_` and `-`; not `inputs`.
    pub id: String,
    /// Who can do it, such as `research.web`. Without one the first capability, by name, that accepts a description and does
    /// not decline gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// What it is for, in words; may hold references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The tasks that must have completed before. A reference to a task's output counts as well and need not be repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// What the agent gets; may hold references. Without one: `{"description": ..}` if there is a description, else `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The time for one attempt; none: until the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// The time for all attempts, from when the task starts; can only shorten what the workflow has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
    /// When a failed attempt is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryDoc>,
    /// Who has to approve, edit or reject it before it starts; none: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalDoc>,
    /// After which time it is done a second time as well, at most 15 s; the first to complete wins, the other is
    /// cancelled. Only for what may be done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Period>,
    /// The language model that it and all below it ask, `PROVIDER/NAME`, or `extractive` for none; none: that of the
    /// workflow, or what the nodes have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What is tried, in this order, when it failed for good; a result that came about so is marked as degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<FallbackDoc>,
    /// What the workflow does when this task yields nothing.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
}

/// When a failed attempt is tried again: with a wait that doubles from `base` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryDoc {
    /// How often it is tried in all, the first time included: 1 to 100, default 3.
    pub attempts: u32,
    /// The first wait, default 1 s.
    pub base: Period,
    /// The longest wait, default 60 s.
    pub max: Period,
}

/// What a workflow does when a task of it yields nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// What depends on it is skipped, the other branches finish, and the workflow fails.
    #[default]
    Fail,
    /// The workflow goes on: references to it are null, and the result is marked as degraded.
    Skip,
}

impl WorkflowDoc {
    /// A workflow without tasks, with all defaults.
    pub fn new(name: impl Into<String>) -> Self {
        let (name, concurrency) = (name.into(), DEFAULT_CONCURRENCY);
        let (budget, inputs) = (BudgetDoc::default(), Map::new());
        WorkflowDoc { name, concurrency, budget, model: None, inputs, output: None, tasks: Vec::new() }
    }

    /// The task with that id.
    pub fn task(&self, id: &str) -> Option<&TaskDoc> {
        self.tasks.iter().find(|task| task.id == id)
    }
}

impl TaskDoc {
    /// Whether the workflow goes on when this task yields nothing.
    pub fn is_optional(&self) -> bool {
        self.on_failure == OnFailure::Skip || self.fallback.iter().any(|one| one.skip)
    }

    /// What the agent gets, before its references are filled in.
    pub fn input_template(&self) -> Value {
        let described = || self.description.clone().map(|text| ("description".to_owned(), Value::String(text)));
        match (&self.input, &self.capability) {
            (Some(Value::Object(fields)), None) => {
                let mut fields = fields.clone();
                fields.extend(described());
                Value::Object(fields)
            }
            (Some(input), _) => input.clone(),
            (None, _) => Value::Object(described().into_iter().collect()),
        }
    }
}

impl Default for RetryDoc {
    fn default() -> Self {
        let task::Retry { attempts, base_ms, max_ms } = task::Retry::default();
        let period = |ms| Period::new(Duration::from_millis(ms));
        RetryDoc { attempts, base: period(base_ms), max: period(max_ms) }
    }
}

impl From<RetryDoc> for task::Retry {
    fn from(doc: RetryDoc) -> Self {
        task::Retry { attempts: doc.attempts, base_ms: doc.base.millis(), max_ms: doc.max.millis() }
    }
}

impl OnFailure {
    fn is_default(&self) -> bool {
        *self == OnFailure::Fail
    }
}

fn default_concurrency() -> u32 {
    DEFAULT_CONCURRENCY
}

/// The outputs of the tasks that have ended, by id. A task that may be skipped and yielded nothing has null.
pub type Outputs = BTreeMap<String, Value>;
