//! `callboard doctor`: what this program sees, and whether it is well.

use callboard::Error;
use callboard::broker::task::Status;
use callboard::broker::tasks::{TaskFilter, TaskView};
use callboard::broker::{Broker, sqlite};
use callboard::exit::Exit;
use clap::Args;
use serde::Serialize;

use crate::console::{Console, Place};
use crate::failure::Failure;
use crate::figures::{self, Metrics};
use crate::output::{Done, Page, Show, answer, can_redraw};

/// How many of the newest tasks are judged.
const JUDGED: usize = 1_000;

/// Check the store, the environment and how recent work did.
#[derive(Args, Debug)]
pub(crate) struct Doctor {}

/// Looks at everything. A store that cannot be opened is a finding, not an end.
pub(crate) async fn doctor(_: Doctor, console: &Console) -> Done {
    let mut checks = vec![version(), terminal(console.out.page)];
    let mut problems = None;
    match console.look().await {
        Ok(store) => {
            checks.push(place(&console.place));
            let durability = store.nodes().map(|nodes| super::provision::told(&nodes.wing.durability));
            checks.extend(durability.map(|told| Check::ok("profile", told)));
            checks.extend(rows(&console.place).await?);
            let owner = if store.is_worked_on() { "running" } else { "nothing is running" };
            checks.push(Check::ok("node", owner));
            checks.extend(work(&store.broker).await?);
        }
        Err(failure) => {
            let why = failure.problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>().join("; ");
            checks.push(Check { name: "store", ok: false, found: why });
            problems = Some(failure);
        }
    }
    answer(Report { ok: checks.iter().all(|check| check.ok), checks, problems })
}

fn version() -> Check {
    Check::ok("version", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")))
}

fn terminal(page: Page) -> Check {
    let letters = if page.ascii { "ASCII" } else { "UTF-8" };
    let progress = if can_redraw() { "progress is redrawn" } else { "progress is one line a task" };
    Check::ok("terminal", format!("{} columns, {letters}, {progress}", page.columns))
}

fn place(place: &Place) -> Check {
    let found = match place.file().map(|path| (path, std::fs::metadata(path))) {
        Some((_, Ok(about))) => format!("{place}, {} KiB", about.len().div_ceil(1024)),
        Some((_, Err(_))) => format!("{place}: not there yet, made by the first run"),
        None if *place == Place::Memory => "memory: nothing is kept".to_owned(),
        None => place.to_string(),
    };
    Check::ok("store", found)
}

/// Whether every row of the store is as it was written.
async fn rows(place: &Place) -> Result<Option<Check>, Failure> {
    let Some(path) = place.file().filter(|path| path.exists()) else { return Ok(None) };
    let verified = sqlite::verify(path).await?;
    let found = match &verified.findings[..] {
        [] => format!("{} as they were written", verified.rows),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first}, and {} more", others.len()),
    };
    Ok(Some(Check { name: "rows", ok: verified.findings.is_empty(), found }))
}

/// How the newest work did against its targets, and what needs somebody.
async fn work(broker: &Broker) -> Result<Vec<Check>, Failure> {
    let filter = TaskFilter { newest_first: true, limit: JUDGED, ..TaskFilter::default() };
    let views = broker.tasks.list(filter).await?;
    let letters = match broker.dead.list(0, JUDGED).await {
        Ok(letters) => match letters.iter().filter(|letter| letter.retried_as.is_none()).count() {
            0 => "none".to_owned(),
            some => format!("{some}: callboard dead ls"),
        },
        Err(Error::Denied { .. }) => "this user may not read them".to_owned(),
        Err(error) => return Err(error.into()),
    };
    let dead = Check::ok("dead letters", letters);
    let waiting: u64 = broker.depth_of_all().await?;
    let mut checks = vec![Check::ok("queue", format!("{waiting} waiting")), dead];
    if !views.is_empty() {
        checks.extend(targets(&figures::metrics(&views), &views));
    }
    Ok(checks)
}

/// The targets that work is measured against: they are told, and missing one makes nothing fail.
fn targets(metrics: &Metrics, views: &[TaskView]) -> Vec<Check> {
    let ended = views.iter().filter(|view| view.status.is_final() && view.status != Status::Skipped).count();
    let p95 = metrics.p95_ms.unwrap_or(0);
    let mark = |met: bool| if met { "met" } else { "missed" };
    vec![
        Check::ok("latency", format!("p95 {p95} ms of {ended} tasks, target under 5000 ms: {}", mark(p95 < 5_000))),
        Check::ok(
            "errors",
            format!("{:.1} %, target under 1 %: {}", metrics.error_rate * 100.0, mark(metrics.error_rate < 0.01)),
        ),
    ]
}

trait Depths {
    /// How much waits for all capabilities together.
    async fn depth_of_all(&self) -> Result<u64, Failure>;
}

impl Depths for Broker {
    async fn depth_of_all(&self) -> Result<u64, Failure> {
        Ok(self.tasks.depth().await?.iter().map(|(_, depth)| depth.pending).sum())
    }
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    found: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, ok: true, found: found.into() }
    }
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
    #[serde(skip)]
    problems: Option<Failure>,
}

impl Show for Report {
    fn text(&self, page: Page) -> String {
        let mark = |check: &Check| if check.ok { "ok " } else { "BAD" };
        let line = |check: &Check| page.field(&format!("{} {}", mark(check), check.name), 16, &check.found);
        self.checks.iter().map(line).collect()
    }

    fn exit(&self) -> Exit {
        if self.ok { Exit::Ok } else { Exit::Failed }
    }

    fn failure(&self) -> Option<Failure> {
        self.problems.clone()
    }
}
