//! What changes a task, and following one.

use callboard::broker::code;
use callboard::broker::id::TaskId;
use callboard::broker::problem::Problem;
use callboard::broker::task::Status;
use clap::Args;
use serde::Serialize;

use super::Of;
use crate::commands::run;
use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Done, Page, Show, answer, then};
use crate::work;

#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// A task's id, a unique ending of one, or `last`: the newest run
    task: String,
    /// Why, for those who read its outcome
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
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
    answer(Cancelled { cancelled: cancelled.iter().map(ToString::to_string).collect() })
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
pub(super) async fn watch(of: &Of, console: &Console) -> Done {
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
    let ended = work::until_end(console, &mut store, &view.task.run, &view.task.id).await?;
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
}

impl Show for Cancelled {
    fn text(&self, _: Page) -> String {
        self.cancelled.iter().map(|id| format!("cancelled  {id}\n")).collect()
    }
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
