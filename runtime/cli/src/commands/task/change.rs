//! What changes a task, and following one.

use std::time::Duration;

use callboard::broker::code;
use callboard::broker::id::TaskId;
use callboard::broker::problem::Problem;
use callboard::broker::task::Status;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::Of;
use crate::commands::run;
use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::nodes::Said;
use crate::output::{Done, Page, Show, answer, then};
use crate::store::Store;
use crate::work;

/// How long a node may take to stop what was cancelled; it answers after a second at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many of the tasks that were cancelled each node is asked about.
const MAX_ASKED: usize = 1_000;

#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// A task's id, a unique ending of one, or `last`: the newest run
    task: String,
    /// Why, for those who read its outcome
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// A task's id, a unique ending of one, or `last`: the newest run
    task: String,
    /// Stay while only people are waited for, instead of ending with 6
    #[arg(long)]
    stay: bool,
}

/// `task cancel`.
pub(super) async fn cancel(of: Cancel, console: &Console) -> Done {
    let store = console.touch().await?;
    let view = ids::task(&store.broker, &of.task).await?;
    let by = of.because.map_or_else(|| "cli".to_owned(), |why| format!("cli: {why}"));
    let cancelled = store.broker.tasks.cancel(view.task.id.clone(), by).await?;
    if cancelled.is_empty() {
        return Err(ended(&view.task.id, view.status, "cancelled").into());
    }
    let cancelled: Vec<String> = cancelled.iter().map(ToString::to_string).collect();
    let nodes = stopped(&store, &cancelled).await;
    answer(Cancelled { cancelled, nodes })
}

/// What each node says of whether it still works on what was cancelled. That it does not say so is no failure: the tasks
/// are cancelled, whatever works on.
async fn stopped(store: &Store, cancelled: &[String]) -> Vec<Value> {
    let body = json!({ "tasks": cancelled.iter().take(MAX_ASKED).collect::<Vec<_>>() });
    let silent = |node: &str, error: String| json!({ "node": node, "error": error });
    match store.nodes() {
        Some(nodes) => match nodes.all_about("stopped", &body, PATIENCE).await {
            Ok(said) => {
                let one = |said: Said| said.answer.unwrap_or_else(|e| silent(said.node.node.as_str(), e.to_string()));
                said.into_iter().map(one).collect()
            }
            Err(failure) => failure.problems.iter().map(|problem| silent("?", problem.what.clone())).collect(),
        },
        None => match store.node_says_about("stopped", body).await {
            Ok(said) => said.into_iter().collect(),
            Err(failure) => failure.problems.iter().map(|problem| silent("?", problem.what.clone())).collect(),
        },
    }
}

/// `task retry`. Whichever generation is named, the newest one is tried again once it has ended too.
pub(super) async fn retry(of: &Of, console: &Console) -> Done {
    let store = console.touch().await?;
    let named = ids::task(&store.broker, &of.task).await?;
    let mut newest = named.clone();
    let next = loop {
        let id = newest.task.id.clone();
        let next = match store.broker.tasks.retry(id.clone()).await {
            Ok(next) => next,
            Err(callboard::Error::Conflict { .. }) => return Err(ended(&id, newest.status, "tried again").into()),
            Err(error) => return Err(error.into()),
        };
        let view = store.broker.tasks.get(vec![next.clone()]).await?.pop().flatten();
        let Some(view) = view else {
            return Err(Problem::new(code::UNKNOWN_ID, format!("task {next} is gone")).into());
        };
        if !view.status.is_final() {
            break view;
        }
        newest = view;
    };
    let (id, run) = (&next.task.id, short(named.task.run.as_str()));
    let said = match store.is_worked_on() {
        true => console.next(&[("follow it", console.command(&format!("task watch {}", short(id.as_str()))))]),
        false => format!("do it now  {}", console.command(&format!("workflow resume {run}"))),
    };
    let (retry_of, generation) = (newest.task.id.to_string(), next.task.generation);
    then(answer(Retried { id: id.to_string(), retry_of, generation }), &said)
}

/// `task watch`: it works on nothing itself, and says so when nobody else does.
pub(super) async fn watch(of: &Watch, console: &Console) -> Done {
    let mut store = console.look().await?;
    let view = ids::task(&store.broker, &of.task).await?;
    if !view.status.is_final() && !store.is_worked_on() {
        let resume = format!("callboard workflow resume {}", short(view.task.run.as_str()));
        let problem = Problem::new(
            code::UNREACHABLE,
            format!("nothing is running that works on task {}", short(view.task.id.as_str())),
        );
        return Err(Failure::from(problem.fix(resume)));
    }
    store.listen();
    console.out.note(&format!("task    {}", view.task.id));
    let ended = work::until_end(console, &mut store, &view.task.run, &view.task.id, of.stay).await?;
    run::report(console, &store, ended, false).await
}

fn ended(id: &TaskId, status: Status, what: &str) -> Problem {
    let id = short(id.as_str());
    let problem = Problem::new(code::WRONG_STATUS, format!("task {id} is {status} and cannot be {what}"));
    problem.fix(format!("callboard task show {id}"))
}

#[derive(Serialize)]
struct Cancelled {
    cancelled: Vec<String>,
    nodes: Vec<Value>,
}

impl Show for Cancelled {
    fn text(&self, page: Page) -> String {
        let tasks = self.cancelled.iter().map(|id| format!("cancelled  {id}\n"));
        tasks.chain(self.nodes.iter().map(|said| page.field("node", 9, &told(said)))).collect()
    }
}

/// What a node said, in words.
fn told(said: &Value) -> String {
    let node = said["node"].as_str().unwrap_or("?");
    if let Some(error) = said["error"].as_str() {
        return format!("{node}: {error}");
    }
    let zombies: Vec<String> = said["zombies"].as_array().into_iter().flatten().map(zombie).collect();
    match (zombies.is_empty(), said["stopped"].as_u64().unwrap_or_default()) {
        (true, 0) => format!("{node}: nothing of it is at work"),
        (true, n) => format!("{node}: stopped {n} that were at work"),
        (false, _) => format!("{node}: does not stop: {}", zombies.join(", ")),
    }
}

fn zombie(of: &Value) -> String {
    let text = |field: &str| of[field].as_str().unwrap_or("?").to_owned();
    format!("{} ({})", short(&text("task")), text("agent"))
}

#[derive(Serialize)]
struct Retried {
    id: String,
    retry_of: String,
    generation: u32,
}

impl Show for Retried {
    fn text(&self, _: Page) -> String {
        format!("queued  {}  generation {}\n", self.id, self.generation)
    }
}
