//! `callboard task show`: a task that explains itself, in 30 lines.

use callboard::broker::Broker;
use callboard::broker::clock::Millis;
use callboard::broker::code;
use callboard::broker::id::TaskId;
use callboard::broker::task::{Entry, Record, Release, Status};
use callboard::broker::tasks::{TaskFilter, TaskView};
use callboard::{Class, Remote};
use serde::Serialize;
use serde_json::Value;

use super::Of;
use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Done, Page, Show, answer, time};
use crate::views::TaskRow;

/// How far down the failed children are followed, and how many of anything are listed.
const DEPTH: usize = 8;
const LISTED: usize = 5;

/// `task show`.
pub(super) async fn show(of: &Of, console: &Console) -> Done {
    let store = console.look().await?;
    let view = ids::task(&store.broker, &of.task).await?;
    let (log, now) = (store.broker.tasks.log(view.task.id.clone()).await?, store.broker.clock.now());
    let children = children(&store.broker, &view, &log).await?;
    let chain = chain(&store.broker, &view).await?;
    let next = next(&view, &chain, store.is_worked_on()).map(|verb| console.command(&verb));
    answer(Detail::of(&view, &log, &children, chain, next, now))
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
fn next(view: &TaskView, chain: &[Link], worked_on: bool) -> Option<String> {
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

/// One attempt. The first leaves no record at its beginning, so it may not be known where it ran.
#[derive(Clone, Debug, Serialize)]
struct Attempt {
    attempt: u32,
    node: Option<String>,
    /// `completed`, `failed`, `retry`, `declined`, `drained`; none while it runs or when its process died.
    end: Option<String>,
    error: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    /// When the next one was due.
    next_at: Option<String>,
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
    chain: Vec<Link>,
    attempts: Vec<Attempt>,
    steps: Vec<String>,
    children: Vec<Child>,
    /// The command that helps most.
    next: Option<String>,
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
            chain,
            attempts: attempts(view, log),
            steps: log.iter().filter_map(step).collect(),
            children: children.iter().map(child).collect(),
            next,
        }
    }
}

/// The attempts as the log tells them.
fn attempts(view: &TaskView, log: &[Record]) -> Vec<Attempt> {
    let begun = |attempt, node: Option<String>, at: Option<Millis>| Attempt {
        attempt,
        node,
        end: None,
        error: None,
        started_at: at.map(time::date),
        ended_at: None,
        next_at: None,
    };
    let mut all: Vec<Attempt> = Vec::new();
    for record in log {
        match &record.entry {
            Entry::Claimed { attempt, node } => all.push(begun(*attempt, Some(node.to_string()), Some(record.at))),
            Entry::Released { reason, error, not_before, .. } => {
                if all.last().is_none_or(|last| last.end.is_some()) {
                    all.push(begun(all.last().map_or(1, |last| last.attempt + 1), None, None));
                }
                let Some(last) = all.last_mut() else { continue };
                last.end = Some(match reason {
                    Release::Retry => "retry".into(),
                    Release::Declined => "declined".into(),
                    Release::Drained => "drained".into(),
                });
                last.error = error.as_ref().map(|error| error.message.clone());
                last.ended_at = Some(time::date(record.at));
                last.next_at = (*reason == Release::Retry).then(|| time::date(*not_before));
            }
            Entry::Step { .. } | Entry::Delegated { .. } => {}
        }
    }
    let now_running = (view.status == Status::InProgress).then_some((view.node.clone(), view.started_at, view.attempt));
    let ended = view.outcome.as_ref().filter(|outcome| outcome.attempt > 0);
    let newest = ended.map(|outcome| (outcome.node.clone(), outcome.started_at, outcome.attempt)).or(now_running);
    if let Some((node, at, attempt)) = newest {
        if all.last().is_none_or(|last| last.attempt != attempt || last.end.is_some()) {
            all.push(begun(attempt, node.map(|node| node.to_string()), at));
        }
        if let (Some(last), Some(outcome)) = (all.last_mut(), ended) {
            last.end = Some(outcome.status.to_string());
            last.error = outcome.error.as_ref().map(|error| error.message.clone());
            last.ended_at = Some(time::date(outcome.finished_at));
        }
    }
    all
}

impl Show for Detail {
    fn text(&self, page: Page) -> String {
        let row = &self.row;
        let mut lines = vec![
            field("task", &row.id),
            field("status", &format!("{}  {}{}", row.status, self.tries(), self.when())),
            field("capability", &row.capability),
        ];
        let mut optional = |name: &str, value: Option<String>| lines.extend(value.map(|value| field(name, &value)));
        optional("for", row.description.clone());
        optional("agent", row.agent.clone().map(|agent| format!("{agent} on {}", row.node.as_deref().unwrap_or("-"))));
        optional("node", row.node.clone().filter(|_| row.agent.is_none()));
        optional("parent", row.parent.clone());
        optional("after", ids_of(&self.depends_on));
        optional("retry of", self.retry_of.clone());
        optional("not before", self.not_before.clone());
        optional("input", json(&self.input));
        optional("result", json(&self.result));
        optional("degraded", self.degraded.clone());
        optional(
            "steps",
            (!self.steps.is_empty()).then(|| format!("{} recorded: {}", self.steps.len(), self.steps.join(", "))),
        );
        lines.extend(self.error_lines());
        lines.extend(self.attempt_lines());
        lines.extend(self.child_lines());
        lines.extend(self.next.as_ref().map(|next| field("next", next)));
        lines.iter().map(|line| page.fit(line, page.columns) + "\n").collect()
    }
}

impl Detail {
    fn tries(&self) -> String {
        let generation =
            if self.generation > 1 { format!(" of generation {}", self.generation) } else { String::new() };
        format!("attempt {} of {}{generation}", self.row.attempt, self.attempts_allowed)
    }

    fn when(&self) -> String {
        let took = time::took(self.row.ms);
        match &self.row.finished_at {
            Some(at) => format!(", {took}, ended {at}"),
            None => format!(", for {took}, until {}", self.deadline),
        }
    }

    fn error_lines(&self) -> Vec<String> {
        let line = |(at, link): (usize, &Link)| {
            let class = serde_json::to_value(link.class).ok().and_then(|class| class.as_str().map(str::to_owned));
            let class = class.unwrap_or_default();
            let whose = if at == 0 { String::new() } else { format!("{} ", link.capability) };
            field(if at == 0 { "error" } else { "because" }, &format!("{whose}{} {class}: {}", link.code, link.message))
        };
        self.chain.iter().take(LISTED).enumerate().map(line).collect()
    }

    /// The last attempts; a single one has been told above.
    fn attempt_lines(&self) -> Vec<String> {
        if self.attempts.len() < 2 {
            return Vec::new();
        }
        let line = |attempt: &Attempt| {
            let clock = |at: &Option<String>| at.as_deref().map_or("-", time::clock).to_owned();
            let end = attempt.end.as_deref().unwrap_or("no end");
            let why = attempt.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let node = attempt.node.as_deref().unwrap_or("-");
            let next = attempt.next_at.as_ref().map(|_| format!(", again {}", clock(&attempt.next_at)));
            let when = if attempt.ended_at.is_some() { clock(&attempt.ended_at) } else { clock(&attempt.started_at) };
            format!("  {:>2}  {when}  {node}  {end}{}{why}", attempt.attempt, next.unwrap_or_default())
        };
        let skipped = self.attempts.len().saturating_sub(LISTED);
        let head = field(
            "attempts",
            &format!("{}{}", self.attempts.len(), if skipped > 0 { ", the last of them:" } else { "" }),
        );
        std::iter::once(head).chain(self.attempts.iter().skip(skipped).map(line)).collect()
    }

    fn child_lines(&self) -> Vec<String> {
        if self.children.is_empty() {
            return Vec::new();
        }
        let mut shown: Vec<&Child> = self.children.iter().collect();
        shown.sort_by_key(|child| matches!(child.status, Status::Completed));
        let line = |child: &&Child| {
            let why = child.error.as_ref().map(|why| format!("  {why}")).unwrap_or_default();
            format!("  {}  {}  {}{why}", short(&child.id), child.status, child.capability)
        };
        let completed = self.children.iter().filter(|child| child.status == Status::Completed).count();
        let head = field("children", &format!("{}, {completed} completed", self.children.len()));
        std::iter::once(head).chain(shown.iter().take(LISTED).map(line)).collect()
    }
}

fn field(name: &str, value: &str) -> String {
    format!("{name:10} {value}")
}

fn ids_of(ids: &[String]) -> Option<String> {
    (!ids.is_empty()).then(|| ids.iter().map(|id| short(id)).collect::<Vec<_>>().join(", "))
}

fn json(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}
