//! `callboard workflow`: the files before they run, and the runs that came of them and of everything else.

pub(crate) mod file;
mod graph;
mod purge;
pub(crate) mod replay;
mod runs;

use std::path::PathBuf;

use callboard::workflow::Drawing;
use clap::{Args, Subcommand, ValueEnum};

use crate::console::Console;
use crate::models::Here;
use crate::output::Done;

pub(crate) use runs::last;

/// Check, draw, list, look at and resume workflows and other runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Workflow {
    /// Tell every mistake of a workflow file, with its place, without running anything
    Check(Check),
    /// Draw what waits for what
    Graph(Graph),
    /// The runs of this store, newest first
    Ls(Ls),
    /// A run and its tasks
    Show(Of),
    /// Go on with a run until it ends: what was recorded is kept, the rest is done
    Resume(Resume),
    /// Run the agents again against the log of a run, without doing anything, and name what would differ
    Replay(replay::OfRun),
    /// Print a run as one document: its tasks, how they ended, and their logs
    Export(replay::OfExport),
    /// Delete what is kept of runs that have ended
    Purge(purge::Purge),
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// A workflow file
    #[arg(value_name = "WORKFLOW.toml")]
    file: PathBuf,
    /// Allow capabilities that only a program of your own serves
    #[arg(long)]
    any_capability: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Graph {
    /// A workflow file
    #[arg(value_name = "WORKFLOW.toml")]
    file: PathBuf,
    /// In which language
    #[arg(long, value_name = "FORM", default_value = "tree")]
    form: Form,
}

/// In which language a graph is drawn.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Lines of text
    Tree,
    /// A Mermaid flowchart
    Mermaid,
    /// A Graphviz digraph
    Dot,
}

impl Form {
    fn drawing(self, ascii: bool) -> Drawing {
        match self {
            Form::Tree if ascii => Drawing::Ascii,
            Form::Tree => Drawing::Tree,
            Form::Mermaid => Drawing::Mermaid,
            Form::Dot => Drawing::Dot,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// A run's id, a unique ending of one, or `last`
    #[arg(default_value = "last")]
    run: String,
}

#[derive(Args, Debug)]
pub(crate) struct Resume {
    /// A run's id, a unique ending of one, or `last`
    run: String,
    /// End with 5 when the result is less than was asked for
    #[arg(long)]
    strict: bool,
    /// Stay while only people are waited for, instead of ending with 6
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    here: Here,
}

/// Runs a verb.
pub(crate) async fn workflow(of: Workflow, console: &Console) -> Done {
    match of {
        Workflow::Check(of) => graph::check(&of, console),
        Workflow::Graph(of) => graph::graph(&of, console),
        Workflow::Ls(of) => runs::ls(&of, console).await,
        Workflow::Show(of) => runs::show(&of, console).await,
        Workflow::Resume(of) => runs::resume(&of, console).await,
        Workflow::Replay(of) => replay::run(&of, console).await,
        Workflow::Export(of) => replay::export(&of, console).await,
        Workflow::Purge(of) => purge::run(&of, console).await,
    }
}
