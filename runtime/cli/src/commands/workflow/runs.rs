//! Runs, whatever they are of: listed, looked at, gone on with.

use callboard::broker::Broker;
use callboard::broker::code;
use callboard::broker::id::RunId;
use callboard::broker::problem::Problem;
use callboard::broker::task::Status;
use callboard::broker::tasks::{TaskFilter, TaskView};
use serde::Serialize;

use super::{Ls, Of, Resume};
use crate::commands::run::report;
use crate::console::Console;
use crate::failure::Failure;
use crate::figures::{self, Metrics};
use crate::follow::{self, Notes, Rows};
use crate::ids::{self, short};
use crate::output::{Done, Page, Show, answer, count, then};
use crate::views::{RunRow, RunRows, TaskRow};
use crate::work;

/// `workflow ls`: each run once, by its newest generation.
pub(super) async fn ls(of: &Ls, console: &Console) -> Done {
    let store = console.look().await?;
    let filter = TaskFilter { roots: true, newest_first: true, limit: of.limit.into(), ..TaskFilter::default() };
    let mut roots = store.broker.tasks.list(filter).await?;
    let mut seen = std::collections::HashSet::new();
    roots.retain(|root| seen.insert(root.task.run.clone()));
    if roots.is_empty() {
        console.out.note(&format!("nothing has been run yet in {}", console.place));
    }
    let now = store.broker.clock.now();
    answer(RunRows(roots.iter().map(|root| RunRow::of(root, now)).collect()))
}

/// `workflow show`.
pub(super) async fn show(of: &Of, console: &Console) -> Done {
    let store = console.look().await?;
    let root = ids::run(&store.broker, &of.run).await?;
    let (views, now) = (follow::stored(&store.broker, &root.task.run).await?, store.broker.clock.now());
    let mut rows = Rows::default();
    views.iter().for_each(|view| drop(rows.stored(view)));
    let (id, root_id) = (short(root.task.run.as_str()), short(root.task.id.as_str()));
    let next = match root.status {
        Status::Completed => Vec::new(),
        Status::Pending | Status::InProgress => vec![("go on", console.command(&format!("workflow resume {id}")))],
        _ => vec![
            ("why", console.command(&format!("task show {root_id}"))),
            ("again", console.command(&format!("task retry {root_id}"))),
        ],
    };
    let tasks: Vec<TaskRow> = views.iter().map(|view| TaskRow::of(view, now)).collect();
    let shown = Shown { row: RunRow::of(&root, now), metrics: figures::metrics(&views), tasks, rows, now };
    then(answer(shown), &console.next(&next))
}

/// `workflow resume`: a process that works on what is queued until this run ends.
pub(super) async fn resume(of: &Resume, console: &Console) -> Done {
    let console = &of.here.over(console)?;
    // Which run is meant, and what is kept, is asked before any work begins: a wrong id disturbs nothing.
    let (run, before) = {
        let store = console.look().await?;
        let run = ids::run(&store.broker, &of.run).await?.task.run;
        let views = follow::stored(&store.broker, &run).await?;
        (run, Standing::of(&views))
    };
    let mut store = console.work().await?;
    of.here.refuse_beside(&store, console)?;
    let root = ids::root(&store.broker, &run).await?.ok_or_else(|| gone(&run))?;
    let served = store.served().await?;
    if let Some(view) = follow::stored(&store.broker, &run).await?.iter().find(|view| is_left_over(view, &served)) {
        work::close(&store).await?;
        return Err(unserved(view, &served).into());
    }
    console.out.note(&format!("run     {run}"));
    let was_over = root.status.is_final();
    let ended = work::until_end(console, &mut store, &run, &root.task.id, of.stay).await?;
    let done = report(console, &store, ended, of.strict).await;
    let after = Standing::of(&follow::stored(&store.broker, &run).await?);
    let last =
        format!("{} kept, {} done now", count(before.completed, "task"), after.ended.saturating_sub(before.ended));
    let last = match (was_over, root.status) {
        (true, Status::Completed) => format!("it had ended: {last}"),
        (true, status) => {
            let retry = console.command(&format!("task retry {}", short(root.task.id.as_str())));
            format!("again   {retry}\nit had ended, {status}: {last}")
        }
        (false, _) => last,
    };
    then(done, &last)
}

/// How far a run was at some moment.
struct Standing {
    completed: usize,
    ended: usize,
}

impl Standing {
    fn of(views: &[TaskView]) -> Standing {
        let count = |is: &dyn Fn(Status) -> bool| views.iter().filter(|view| is(view.status)).count();
        Standing { completed: count(&|status| status == Status::Completed), ended: count(&Status::is_final) }
    }
}

/// Whether a task waits for a capability that is not served here: the run would never end.
fn is_left_over(view: &TaskView, served: &[String]) -> bool {
    let people = view.task.capability.is_human();
    !view.status.is_final() && !people && !served.iter().any(|name| name == view.task.capability.as_str())
}

fn unserved(view: &TaskView, served: &[String]) -> Problem {
    let (id, capability) = (short(view.task.id.as_str()), view.task.capability.as_str());
    let problem = Problem::new(code::UNSERVED, format!("task {id} waits for {capability}, which nothing here serves"));
    problem.allowed_near(capability, served).fix("resume it with the program that serves it")
}

fn gone(run: &RunId) -> Failure {
    Problem::new(code::UNKNOWN_ID, format!("run {run} is no longer in the store")).into()
}

/// A run with its tasks.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    row: RunRow,
    tasks: Vec<TaskRow>,
    metrics: Metrics,
    #[serde(skip)]
    rows: Rows,
    #[serde(skip)]
    now: callboard::broker::clock::Millis,
}

impl Show for Shown {
    fn text(&self, page: Page) -> String {
        let mut text = format!("run     {}\n", self.row.run);
        text += &(page.fit(&format!("status  {}", self.row.line()), page.columns) + "\n");
        if let Some(what) = &self.row.description {
            text += &(page.fit(&format!("for     {what}"), page.columns) + "\n");
        }
        text += "\n";
        for line in self.rows.tree(page, self.now, &Notes::new(), usize::MAX) {
            text += &(line + "\n");
        }
        text + "\n" + &page.field("figures", 7, &self.metrics.line())
    }
}

/// The newest run of a store, for those who ask what is running when nothing is.
pub(crate) async fn last(broker: &Broker) -> Result<Option<RunRow>, Failure> {
    let filter = TaskFilter { roots: true, newest_first: true, limit: 1, ..TaskFilter::default() };
    let roots: Vec<TaskView> = broker.tasks.list(filter).await?;
    Ok(roots.first().map(|root| RunRow::of(root, broker.clock.now())))
}
