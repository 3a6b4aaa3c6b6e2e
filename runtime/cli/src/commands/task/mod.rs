//! `callboard task`: single tasks, submitted by hand, looked at, stopped, tried again.

mod change;
mod detail;
mod fork;
mod ls;
mod submit;

use clap::{Args, Subcommand};

use crate::commands::workflow::replay;
use crate::console::Console;
use crate::output::Done;

pub(crate) use submit::{input, no_json};

/// Submit tasks, look at them, stop them, try them again.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Submit work for a capability
    Submit(submit::Submit),
    /// Tasks, newest first; those of one run in their order
    Ls(ls::Ls),
    /// All there is to know about a task, and for a failure what to do next
    Show(detail::Which),
    /// Follow a task until it ends, and print its result
    Watch(change::Watch),
    /// Run the agent again against the log of a task, without doing anything, and name what would differ
    Replay(replay::OfTask),
    /// Begin a new run with the records of another up to any of them, and a changed input
    Fork(fork::OfFork),
    /// Stop a task and all that it delegated
    Cancel(change::Cancel),
    /// Try a task again that ended without success, as its next generation
    Retry(Of),
}

/// A task that is meant.
#[derive(Args, Debug)]
pub(crate) struct Of {
    /// A task's id, a unique ending of one, or `last`: the newest run
    pub(crate) task: String,
}

/// Runs a verb.
pub(crate) async fn task(of: Task, console: &Console) -> Done {
    match of {
        Task::Submit(of) => submit::submit(of, console).await,
        Task::Ls(of) => ls::ls(of, console).await,
        Task::Show(of) => detail::show(&of, console).await,
        Task::Watch(of) => change::watch(&of, console).await,
        Task::Replay(of) => replay::task(&of, console).await,
        Task::Fork(of) => fork::fork(of, console).await,
        Task::Cancel(of) => change::cancel(of, console).await,
        Task::Retry(of) => change::retry(&of, console).await,
    }
}
