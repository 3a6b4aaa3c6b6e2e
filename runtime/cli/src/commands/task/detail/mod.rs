//! `callboard task show`: a task that explains itself, in 30 lines.

mod attempts;
mod log;
mod text;
mod version;

use callboard::broker::Broker;
use callboard::broker::clock::Millis;
use callboard::broker::code;
use callboard::broker::id::TaskId;
use callboard::broker::task::{Entry, Record, Status};
use callboard::broker::tasks::{TaskFilter, TaskView};
use callboard::{Class, Remote};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Of;
use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Done, answer, time};
use crate::views::TaskRow;
use attempts::{Attempt, attempts};
use log::Line;
use version::Begun;

/// How far down the failed children are followed, and how many of anything are listed.
const DEPTH: usize = 8;
const LISTED: usize = 5;

#[derive(Args, Debug)]
pub(crate) struct Which {
    #[command(flatten)]
    of: Of,
    /// Every record of its log too, with the numbers that `task fork --from` takes
    #[arg(long)]
    log: bool,
}

/// `task show`.
pub(super) async fn show(of: &Which, console: &Console) -> Done {
    let store = console.look().await?;
    let view = ids::task(&store.broker, &of.of.task).await?;
    let (log, now) = (store.broker.tasks.log(view.task.id.clone()).await?, store.broker.clock.now());
    let children = children(&store.broker, &view, &log).await?;
    let chain = chain(&store.broker, &view).await?;
    let root = ids::root(&store.broker, &view.task.run).await?.unwrap_or_else(|| view.clone());
    let next = next(&view, &root, &chain, store.is_worked_on()).map(|verb| console.command(&verb));
    let mut detail = Detail::of(&view, &log, &children, chain, next, now);
    detail.version = version::begun_by(&store, &view, &log).await?;
    detail.log = of.log.then(|| log.iter().map(Line::of).collect());
    answer(detail)
}

/// The children that its log names and those that name it, which differ after a retry.
async fn children(broker: &Broker, view: &TaskView, log: &[Record]) -> Result<Vec<TaskView>, Failure> {
    let filter = TaskFilter { parent: Some(view.task.id.clone()), ..TaskFilter::default() };
    let mut found = broker.tasks.list(filter).await?;
    let named = log.iter().filter_map(|record| match &record.entry {
        Entry::Delegated { child, .. } => Some(child.clone()),
        _ => None,
    });
    let missing: Vec<TaskId> = named.filter(|id| found.iter().all(|view| view.task.id != *id)).collect();
    found.extend(broker.tasks.get(missing).await?.into_iter().flatten());
    found.sort_by_key(|view| view.seq);
    Ok(found)
}

/// Its error, then that of the child at which it began, and so on down.
async fn chain(broker: &Broker, view: &TaskView) -> Result<Vec<Link>, Failure> {
    let mut chain = Vec::new();
    let mut at = view.clone();
    while chain.len() < DEPTH {
        let Some(error) = at.outcome.as_ref().and_then(|outcome| outcome.error.clone()) else { break };
        chain.push(Link::of(&at, error));
        let status = vec![Status::Failed, Status::Expired];
        let filter = TaskFilter { parent: Some(at.task.id.clone()), status, limit: 1, ..TaskFilter::default() };
        match broker.tasks.list(filter).await?.into_iter().next() {
            Some(child) => at = child,
            None => break,
        }
    }
    Ok(chain)
}

/// The one command that helps most.
fn next(view: &TaskView, root: &TaskView, chain: &[Link], worked_on: bool) -> Option<String> {
    let id = short(view.task.id.as_str());
    let run = short(view.task.run.as_str());
    Some(match view.status {
        Status::Completed => return None,
        Status::Pending | Status::InProgress if worked_on => format!("task watch {id}"),
        Status::Pending | Status::InProgress => format!("workflow resume {run}"),
        Status::Skipped => format!("workflow show {run}"),
        Status::Failed | Status::Expired | Status::Cancelled => match chain {
            [_, .., deepest] => format!("task show {}", short(&deepest.task)),
            [own] if own.class == Class::Permanent && own.code != code::FAILED => format!("explain {}", own.code),
            // Nobody waits any more for a task of a run that has ended: it is tried again as a part of the run.
            _ if root.status.is_final() => format!("task retry {}", short(root.task.id.as_str())),
            _ => format!("task retry {id}"),
        },
    })
}

/// One error on the way down to where it began.
#[derive(Clone, Debug, Serialize)]
struct Link {
    task: String,
    capability: String,
    class: Class,
    code: String,
    message: String,
}

impl Link {
    fn of(view: &TaskView, error: Remote) -> Link {
        Link {
            task: view.task.id.to_string(),
            capability: view.task.capability.to_string(),
            class: error.class,
            code: error.code,
            message: error.message,
        }
    }
}

#[derive(Serialize)]
struct Child {
    id: String,
    capability: String,
    status: Status,
    error: Option<String>,
}

/// Everything about a task.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: TaskRow,
    generation: u32,
    retry_of: Option<String>,
    attempts_allowed: u32,
    deadline: String,
    started_at: Option<String>,
    not_before: Option<String>,
    depends_on: Vec<String>,
    input: Value,
    result: Value,
    degraded: Option<String>,
    /// The version of the agent that it stays with.
    version: Option<Begun>,
    chain: Vec<Link>,
    attempts: Vec<Attempt>,
    steps: Vec<String>,
    children: Vec<Child>,
    /// The command that helps most.
    next: Option<String>,
    /// Its log, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Vec<Line>>,
}

impl Detail {
    fn of(
        view: &TaskView,
        log: &[Record],
        children: &[TaskView],
        chain: Vec<Link>,
        next: Option<String>,
        now: Millis,
    ) -> Detail {
        let (task, outcome) = (&view.task, view.outcome.as_ref());
        let child = |view: &TaskView| {
            let row = TaskRow::of(view, now);
            Child { id: row.id, capability: row.capability, status: row.status, error: row.error }
        };
        let step = |record: &Record| match &record.entry {
            Entry::Step { name, .. } => Some(name.clone()),
            _ => None,
        };
        Detail {
            row: TaskRow::of(view, now),
            generation: task.generation,
            retry_of: task.retry_of.as_ref().map(ToString::to_string),
            attempts_allowed: task.retry.attempts,
            deadline: time::date(task.deadline),
            started_at: outcome.and_then(|outcome| outcome.started_at).or(view.started_at).map(time::date),
            not_before: view.not_before.map(time::date),
            depends_on: task.depends_on.iter().map(ToString::to_string).collect(),
            input: task.input.value().unwrap_or(Value::Null),
            result: outcome.and_then(|outcome| outcome.output.value().ok()).unwrap_or(Value::Null),
            degraded: outcome.and_then(|outcome| outcome.degraded.clone()),
            version: None,
            chain,
            attempts: attempts(view, log),
            steps: log.iter().filter_map(step).collect(),
            children: children.iter().map(child).collect(),
            next,
            log: None,
        }
    }
}
