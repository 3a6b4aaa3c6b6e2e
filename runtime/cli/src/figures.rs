//! A finished run in figures.

use callboard::broker::clock::Millis;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskView;
use callboard::quantile;
use serde::Serialize;

use crate::output::{count, time};

/// One task of a finished run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskFigures {
    pub(crate) id: String,
    pub(crate) capability: String,
    pub(crate) status: Status,
    pub(crate) attempt: u32,
    /// From submission to the end.
    pub(crate) ms: Millis,
    pub(crate) node: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) parent: Option<String>,
}

/// All tasks of a run together. Latencies are from submission to the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metrics {
    pub(crate) tasks: usize,
    /// Failed or expired.
    pub(crate) failed: usize,
    pub(crate) p50_ms: Option<Millis>,
    pub(crate) p95_ms: Option<Millis>,
    pub(crate) wall_ms: Millis,
    pub(crate) tasks_per_minute: f64,
    /// Failed of all, 0 to 1.
    pub(crate) error_rate: f64,
    /// None without a model.
    pub(crate) cache_hit_rate: Option<f64>,
}

/// The figures of every task.
pub(crate) fn tasks(views: &[TaskView]) -> Vec<TaskFigures> {
    let figures = |view: &TaskView| {
        let outcome = view.outcome.as_ref();
        TaskFigures {
            id: view.task.id.to_string(),
            capability: view.task.capability.to_string(),
            status: view.status,
            attempt: view.attempt,
            ms: latency(view).unwrap_or(0),
            node: outcome.and_then(|outcome| outcome.node.as_ref()).map(ToString::to_string),
            agent: outcome.and_then(|outcome| outcome.agent.clone()),
            parent: view.task.parent.as_ref().map(ToString::to_string),
        }
    };
    views.iter().map(figures).collect()
}

/// The figures of the run.
#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds of one run")]
pub(crate) fn metrics(views: &[TaskView]) -> Metrics {
    let mut latencies: Vec<Millis> = views.iter().filter_map(latency).collect();
    latencies.sort_unstable();
    let begun = views.iter().map(|view| view.task.created_at).min().unwrap_or(0);
    let ended = views.iter().filter_map(|view| Some(view.outcome.as_ref()?.finished_at)).max().unwrap_or(begun);
    let wall_ms = ended.saturating_sub(begun);
    let failed = views.iter().filter(|view| matches!(view.status, Status::Failed | Status::Expired)).count();
    let tasks = views.len();
    Metrics {
        tasks,
        failed,
        p50_ms: quantile(&latencies, 0.5),
        p95_ms: quantile(&latencies, 0.95),
        wall_ms,
        tasks_per_minute: (tasks as f64 * 60_000.0 / wall_ms.max(1) as f64).round(),
        error_rate: failed as f64 / tasks.max(1) as f64,
        cache_hit_rate: None,
    }
}

impl Metrics {
    /// `9 tasks, 0 failed, p50 18 ms, p95 108 ms, wall 0.1 s`.
    pub(crate) fn line(&self) -> String {
        let took = |ms: Option<Millis>| ms.map_or_else(|| "-".to_owned(), time::took);
        let (p50, p95, wall) = (took(self.p50_ms), took(self.p95_ms), time::took(self.wall_ms));
        let tasks = count(self.tasks, "task");
        format!("{tasks}, {} failed, p50 {p50}, p95 {p95}, wall {wall}", self.failed)
    }
}

fn latency(view: &TaskView) -> Option<Millis> {
    Some(view.outcome.as_ref()?.finished_at.saturating_sub(view.task.created_at))
}
