//! Submitting a task, as a value with options.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::{Capability, Payload, Run};
use callboard_broker::BoxFuture;
use callboard_broker::budget::Budget;
use callboard_broker::clock::millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::{Priority, Retry, Task};

use crate::cell::hub::Hub;
use crate::telemetry;
use crate::workflow::declared_budget;

/// A task to be submitted. Awaiting it gives a [`Run`] once the task is stored.
///
/// # Errors
/// `Busy` when the queue is full, `TooLarge`, `Diverged` when the run is there with another input, `Decode` for a run id
/// that is none.
#[must_use = "nothing is submitted until it is awaited"]
pub struct Submit<Res> {
    hub: Arc<Hub>,
    task: Result<Task>,
    /// What the caller set.
    budget: Budget,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Submit<Res> {
    pub(super) fn new<Req: Payload>(hub: &Arc<Hub>, to: Capability<Req, Res>, input: Req) -> Self {
        let now = hub.broker.clock.now();
        let task =
            Task { from: Some(hub.name.to_string()), ..Task::root(RunId::fresh(), to.id(), Body::of(input), now) };
        Self { hub: hub.clone(), task: Ok(task), budget: Budget::default(), types: PhantomData }
    }

    /// The caller's own name for the run: 1 to 36 letters, digits and hyphens. Submitting under the same name again
    /// joins the run that is there.
    pub fn run(self, id: &str) -> Self {
        self.with(|task| {
            let run = RunId::parse(id)?;
            let root = TaskId::root(&run);
            Ok(Task { id: root.clone(), base: root, run, ..task })
        })
    }

    /// How long all attempts may take. Default: the wall time of its budget, or 24 h.
    pub fn expires(self, after: Duration) -> Self {
        self.with(|task| Ok(Task { deadline: task.created_at.saturating_add(millis(after)), ..task }))
    }

    /// How long one attempt may take. Default: until the deadline.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|task| Ok(Task { timeout_ms: Some(millis(limit)), ..task }))
    }

    /// After how many failed attempts it is given up, at least 1. Default 3.
    pub fn retry(self, attempts: u32) -> Self {
        self.with(|task| Ok(Task { retry: Retry { attempts: attempts.max(1), ..task.retry }, ..task }))
    }

    /// When a failed attempt is tried again. Default: [`Retry::default`].
    pub fn retry_with(self, retry: Retry) -> Self {
        self.with(|task| Ok(Task { retry: Retry { attempts: retry.attempts.max(1), ..retry }, ..task }))
    }

    /// What it and all below it may use. What is not set is what a workflow's document declares, else the node's default
    /// (`[budget]` of its configuration), or that of [`Budget`].
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget.or(self.budget);
        self
    }

    /// Who goes first. Default [`Priority::Normal`].
    pub fn priority(self, priority: Priority) -> Self {
        self.with(|task| Ok(Task { priority, ..task }))
    }

    /// The language model that it and all below it ask, `PROVIDER/NAME`, or `extractive` for none. Default: what their
    /// nodes have for each role. A node that does not allow it fails the task for good (`CB0803`).
    pub fn model(self, name: impl Into<String>) -> Self {
        let model = Some(name.into());
        self.with(|task| Ok(Task { model, ..task }))
    }

    /// What it is for, in words.
    pub fn describe(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.with(|task| Ok(Task { description: Some(text), ..task }))
    }

    fn with(mut self, change: impl FnOnce(Task) -> Result<Task>) -> Self {
        self.task = self.task.and_then(change);
        self
    }
}

impl<Res: Payload> IntoFuture for Submit<Res> {
    type Output = Result<Run<Res>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let task = self.task?;
            let declared = declared_budget(&task.capability, &task.input);
            let task = task.budgeted(self.budget.or(declared).or(self.hub.budget));
            let task = Task { traceparent: telemetry::here(task.traceparent), ..task };
            let id = task.id.clone();
            let stored = self.hub.broker.tasks.submit(vec![task]).await.pop();
            stored.unwrap_or_else(|| Err(Error::Unknown { what: "a submission".into() }))?;
            Ok(Run::of_tasks(self.hub.broker.tasks.clone(), id))
        })
    }
}

impl<Res> std::fmt::Debug for Submit<Res> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Submit({:?})", self.task.as_ref().map(|task| &task.capability))
    }
}
