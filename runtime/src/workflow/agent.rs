//! The agent behind the capability `workflow`: it delegates each task of a graph under that task's id.
//!
//! Everything that it decides follows from the document and the outcomes of its children, and both are in the run log.
//! So when its process dies, whoever claims the workflow's task next computes the same ids, finds what has been done, and
//! goes on from there. A task starts as soon as its own dependencies have ended, not in waves.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use callboard_agents::call::fallback::{self, Fallback, Manner};
use callboard_agents::host::Order;
use callboard_agents::human::{self, OnTimeout, Question, Work};
use callboard_agents::{Capability, Context, Failure, Result, Service};
use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Scope, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status};
use serde_json::Value;

use super::document::{Outputs, TaskDoc, WorkflowDoc};
use super::graph::{End, Graph, States};
use super::route;
use crate::period::Period;

/// A workflow as the input of a task, and its result.
pub const WORKFLOW: Capability<WorkflowDoc, Value> =
    Capability::new("workflow").about("Delegates the tasks of a graph, each as soon as what it depends on has ended.");

/// Workflows that one node orchestrates at a time; while they wait for their tasks they hold no slot.
const CONCURRENCY: usize = 64;

/// The service that every node runs.
pub(crate) fn service() -> Service {
    WORKFLOW.by_fn(orchestrate).concurrency(CONCURRENCY)
}

async fn orchestrate(ctx: Context, doc: WorkflowDoc) -> Result<Value> {
    let served = ctx.host().served();
    let names: Vec<&str> = served.iter().map(|s| s.capability.as_str()).collect();
    let graph = doc.check(Some(&names)).map_err(|problems| Error::Config(Box::new(problems)))?;
    let mut run = Orchestration::new(ctx, &doc, &graph);
    let mut at_work = AtWork::new();
    loop {
        let turn = graph.turn(&run.states).map_err(|problem| Failure::permanent(problem.to_string()))?;
        for (task, because) in &turn.skip {
            run.skip(task, &format!("{because} did not complete")).await?;
        }
        for task in &turn.start {
            run.start(task, &mut at_work).await?;
        }
        match turn.end {
            Some(End::Completed { without }) => {
                if !without.is_empty() {
                    run.ctx.host().degrade(format!("without {}", without.join(", ")));
                }
                return run.result();
            }
            Some(End::Failed { tasks }) => return Err(run.failed(&tasks)),
            None if turn.skip.is_empty() && turn.start.is_empty() => run.wait(&mut at_work).await?,
            None => {}
        }
    }
}

/// What a question to people declares for when nobody answers in time, which comes before all else that stands in for it.
fn unanswered(order: &Order) -> Result<Option<Fallback>, Error> {
    let question = order.capability.is_human().then(|| order.input.read::<Question>().ok()).flatten();
    Ok(match question.map(|question| question.on_timeout) {
        Some(OnTimeout::Answer(value)) => Some(Fallback::Value(Payload::from(value))),
        Some(OnTimeout::Escalate(queue)) => Some(Fallback::Capability(human::queue(&queue)?.id())),
        Some(OnTimeout::Fail) | None => None,
    })
}

/// The tasks at work and what waits for each.
type AtWork = Vec<(String, BoxFuture<'static, Result<Outcome, Error>>)>;

struct Orchestration<'d> {
    ctx: Context,
    doc: &'d WorkflowDoc,
    graph: &'d Graph,
    states: States,
    outputs: Outputs,
    /// Why a task that did not complete did not.
    reasons: HashMap<String, String>,
    children: HashMap<String, TaskId>,
}

impl<'d> Orchestration<'d> {
    fn new(ctx: Context, doc: &'d WorkflowDoc, graph: &'d Graph) -> Self {
        let (states, outputs) = (States::new(), Outputs::new());
        Self { ctx, doc, graph, states, outputs, reasons: HashMap::new(), children: HashMap::new() }
    }

    /// Has a task delegated when what is at work is waited for. One whose input or capability cannot be had has failed without having been started.
    async fn start(&mut self, id: &str, at_work: &mut AtWork) -> Result<()> {
        let Some(task) = self.doc.task(id) else { return Ok(()) };
        let order = match self.order(task).await? {
            Ok(order) => order,
            Err(why) => {
                self.skip(id, &why).await?;
                self.states.insert(id.into(), Status::Failed);
                return Ok(());
            }
        };
        self.states.insert(id.into(), Status::InProgress);
        let (host, approval) = (self.ctx.host().clone(), task.approval());
        let mut manner = Manner::default();
        manner.fallbacks = unanswered(&order)?.into_iter().chain(task.fallbacks()?).collect();
        manner.hedge = task.hedge.map(Period::length);
        let work = async move {
            let order = match approval {
                Some(approval) => approval.of_order(&host, order, &Work::NAMED).await?,
                None => order,
            };
            fallback::outcome(&host, order, &manner).await
        };
        at_work.push((id.into(), Box::pin(work)));
        Ok(())
    }

    async fn order(&self, task: &TaskDoc) -> Result<Result<Order, String>> {
        let filled = self.doc.task_input(task, &self.outputs);
        let (input, description) = match (filled, self.doc.task_description(task, &self.outputs)) {
            (Ok(input), Ok(description)) => (input, description),
            (Err(problem), _) | (_, Err(problem)) => return Ok(Err(problem.what)),
        };
        let capability = match &task.capability {
            Some(name) => CapabilityName::parse(name)?,
            None => match route::route(&self.ctx, &task.id, &input, description.as_deref()).await? {
                Some(capability) => capability,
                None => return Ok(Err("no agent available for task: none takes its description".into())),
            },
        };
        Ok(Ok(Order {
            key: Some(task.id.clone()),
            description,
            deadline: task.deadline.map(|period| period.length()),
            timeout: task.timeout.map(|period| period.length()),
            retry: task.retry.map(Into::into),
            model: task.model.clone().or_else(|| self.doc.model.clone()),
            depends_on: self.graph.after(&task.id).filter_map(|dep| self.children.get(dep).cloned()).collect(),
            ..Order::new(capability, Payload::of(input))
        }))
    }

    /// Records a task that is not to be done.
    async fn skip(&mut self, id: &str, why: &str) -> Result<()> {
        let named = self.doc.task(id).and_then(|task| task.capability.as_deref()).unwrap_or(WORKFLOW.name());
        let order = Order {
            key: Some(id.into()),
            description: self.doc.task(id).and_then(|task| task.description.clone()),
            depends_on: self.graph.after(id).filter_map(|dep| self.children.get(dep).cloned()).collect(),
            skipped: Some(why.into()),
            ..Order::new(CapabilityName::parse(named)?, Payload::null())
        };
        let child = self.ctx.host().delegate(order).await?;
        self.children.insert(id.into(), child);
        self.states.insert(id.into(), Status::Skipped);
        self.yielded_nothing(id, why.into());
        Ok(())
    }

    /// What refers to a task that may be skipped gets null, and so does what refers to a field of it.
    fn yielded_nothing(&mut self, id: &str, why: String) {
        if self.doc.task(id).is_some_and(TaskDoc::is_optional) {
            self.outputs.insert(id.into(), Value::Null);
        }
        self.reasons.insert(id.into(), why);
    }

    /// Waits until one of the tasks at work has ended.
    async fn wait(&mut self, at_work: &mut AtWork) -> Result<()> {
        let (id, outcome) = poll_fn(|cx| {
            let done = at_work.iter_mut().enumerate().find_map(|(at, (_, waiting))| match waiting.as_mut().poll(cx) {
                Poll::Ready(outcome) => Some((at, outcome)),
                Poll::Pending => None,
            });
            match done {
                Some((at, outcome)) => Poll::Ready((at_work.swap_remove(at).0, outcome)),
                None => Poll::Pending,
            }
        })
        .await;
        let outcome = outcome?;
        self.children.insert(id.clone(), outcome.task.clone());
        // Nobody but this workflow skips for what became of another task: one that was rejected, or that a circuit kept
        // from being asked and nothing stood in for, has failed.
        let stands = if outcome.status == Status::Skipped { Status::Failed } else { outcome.status };
        self.states.insert(id.clone(), stands);
        if outcome.status == Status::Completed {
            self.publish(&id, &outcome.output).await?;
            self.outputs.insert(id.clone(), outcome.output.value()?);
        } else {
            let why = outcome.error.map_or_else(|| outcome.status.to_string(), |error| error.message);
            self.yielded_nothing(&id, why);
        }
        let ended = self.states.values().filter(|status| status.is_final()).count();
        self.ctx.progress(ended as f32 / self.doc.tasks.len().max(1) as f32, id);
        Ok(())
    }

    /// Puts a result where the other agents of the run find it: `run.<run>.<id>_result`. A second attempt finds it there.
    async fn publish(&self, id: &str, output: &Payload) -> Result<()> {
        let Some(run) = self.ctx.host().facts().run.clone() else { return Ok(()) };
        let key = Key::new(&Scope::Run(run), &format!("{id}_result"))?;
        let by = self.ctx.host().facts().agent.to_string();
        let write = Write { key, expect: Expect::Version(0), value: Some(output.clone()), by, task: None };
        for put in self.ctx.host().states().put(vec![write]).await {
            put?;
        }
        Ok(())
    }

    fn result(&self) -> Result<Value> {
        self.doc.result(self.graph, &self.outputs).map_err(|problem| Failure::permanent(problem.to_string()))
    }

    fn failed(&self, tasks: &[&str]) -> Failure {
        self.ctx.keep(&self.outputs);
        let why = |id: &&str| format!("{id} ({})", self.reasons.get(*id).map_or("no reason given", String::as_str));
        let list: Vec<_> = tasks.iter().map(why).collect();
        Failure::permanent(format!("{} of {} tasks failed: {}", tasks.len(), self.doc.tasks.len(), list.join(", ")))
    }
}
