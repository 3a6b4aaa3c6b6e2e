//! Workflows: graphs of tasks as data, so that one outlives the process that runs it.
//!
//! A workflow is the input of a task like any other. Whoever claims that task reads the graph, delegates what may start,
//! and is told by the run log what had been done before; nothing about a workflow is kept anywhere else. So everything in
//! this module is plain data and pure functions.
//!
//! | module | what it does |
//! |---|---|
//! | `document` | the types, the same in a TOML file and in the JSON of a task |
//! | `read`, `check`, `check_fallback` | a file or a document, and all that is wrong with it, with places |
//! | `inputs`, `template`, `fill` | `{{inputs.key}}`, `{{task.field}}`, and what they stand for |
//! | `fallback` | what is tried when a task failed for good |
//! | `approval` | tasks that people approve before they start |
//! | `graph` | what waits for what, and what may start now |
//! | `builder` | the same from Rust, with types |
//! | `budgeted` | the budget that a document declares |
//! | `agent` | the agent that delegates the tasks of a graph |
//! | `route` | which capability takes a task that is only described |
//! | `draw` | the graph as text, Mermaid or Graphviz |

mod agent;
mod approval;
mod budgeted;
mod builder;
mod check;
mod check_fallback;
mod document;
mod draw;
mod fallback;
mod fill;
mod graph;
mod inputs;
mod read;
mod route;
mod template;

pub use agent::WORKFLOW;
pub(crate) use agent::service;
pub use approval::{ApprovalDoc, Silence};
pub use budgeted::declared_budget;
pub use builder::{Input, Task, Workflow};
pub use document::{
    DEFAULT_CONCURRENCY, MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_TASKS, OnFailure, Outputs, RetryDoc, TaskDoc, WorkflowDoc,
};
pub use draw::{Drawing, capabilities, draw};
pub use fallback::FallbackDoc;
pub use graph::{End, Graph, States, Turn};
pub use inputs::input_argument;
