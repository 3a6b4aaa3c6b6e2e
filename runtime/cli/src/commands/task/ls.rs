//! `callboard task ls`.

use callboard::broker::subject::CapabilityName;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use clap::{Args, ValueEnum};

use crate::console::Console;
use crate::ids;
use crate::output::{Done, answer, then};
use crate::views::{TaskRow, TaskRows};

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Of this run: its id, a unique ending of it, or `last`
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// In one of these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<Of>,
    /// For this capability
    #[arg(long, value_name = "NAME", value_parser = CapabilityName::parse)]
    capability: Option<CapabilityName>,
    /// Delegated by this task
    #[arg(long, value_name = "TASK")]
    parent: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

/// A status as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Of {
    Pending,
    InProgress,
    Completed,
    Failed,
    Cancelled,
    Expired,
    Skipped,
}

impl From<Of> for Status {
    fn from(of: Of) -> Status {
        match of {
            Of::Pending => Status::Pending,
            Of::InProgress => Status::InProgress,
            Of::Completed => Status::Completed,
            Of::Failed => Status::Failed,
            Of::Cancelled => Status::Cancelled,
            Of::Expired => Status::Expired,
            Of::Skipped => Status::Skipped,
        }
    }
}

pub(super) async fn ls(of: Ls, console: &Console) -> Done {
    let store = console.look().await?;
    let run = match &of.run {
        Some(run) => Some(ids::run(&store.broker, run).await?.task.run),
        None => None,
    };
    let parent = match &of.parent {
        Some(parent) => Some(ids::task(&store.broker, parent).await?.task.id),
        None => None,
    };
    let filter = TaskFilter {
        newest_first: run.is_none(),
        run,
        parent,
        capability: of.capability,
        status: of.status.into_iter().map(Status::from).collect(),
        limit: of.limit.into(),
        ..TaskFilter::default()
    };
    let everything =
        filter.run.is_none() && filter.parent.is_none() && filter.capability.is_none() && filter.status.is_empty();
    let (views, now) = (store.broker.tasks.list(filter).await?, store.broker.clock.now());
    let said = match views.len() {
        0 if everything => format!("no task has been submitted yet in {}", console.place),
        0 => "no task is like that".to_owned(),
        n if n == usize::from(of.limit) => format!("these are {n}; there may be more: --limit N"),
        _ => String::new(),
    };
    then(answer(TaskRows(views.iter().map(|view| TaskRow::of(view, now)).collect())), &said)
}
