//! What may be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

#[cfg(feature = "mcp")]
use crate::commands::mcp;
#[cfg(feature = "http")]
use crate::commands::serve;
use crate::commands::{
    agent, completions, config, dead, doctor, event, explain, inbox, node, pool, provision, run, schedule, state, task,
    tree, workflow,
};

const AFTER: &str = "\
Data goes to standard output, everything else to standard error.
Exit codes: 0 ok, 1 finished and failed, 2 usage, 3 store or broker unreachable,
4 deadline, 5 degraded with --strict, 6 waiting for a person, 70 supervision gave
up, 130 interrupted.
Errors have codes: callboard explain CB0004. Topics: callboard explain.";

/// Runs teams of AI agents as supervised actors over durable tasks.
#[derive(Debug, Parser)]
#[command(name = "callboard", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Where tasks, state and events are kept: a file, or `memory`. Default: main.db in the user's data directory
    #[arg(long, global = true, env = "CALLBOARD_STORE", value_name = "PATH|memory", help_heading = "Everywhere")]
    pub(crate) store: Option<OsString>,
    /// Where nodes work together: the address of a broker, nats://HOST:PORT, instead of a store
    #[arg(long, global = true, env = "CALLBOARD_BROKER", value_name = "URL", help_heading = "Everywhere")]
    pub(crate) broker: Option<String>,
    /// The credentials file for the broker. CALLBOARD_USER and CALLBOARD_PASSWORD are another way
    #[arg(long, global = true, env = "CALLBOARD_CREDS", value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) creds: Option<PathBuf>,
    /// Print data as JSON: lists as one array, what goes on as one object a line
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Log more than errors (`node start` and `serve`: than warnings): once what happens, twice everything. RUST_LOG says
    /// it in detail
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
    /// Print data and errors only
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// How log lines are written
    #[arg(
        long,
        global = true,
        env = "CALLBOARD_LOG_FORMAT",
        default_value = "text",
        hide_default_value = true,
        help_heading = "Everywhere"
    )]
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The nouns, and the verbs that need none.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question from documents, or run a workflow
    Run(run::Run),
    /// Submit tasks, look at them, stop them, try them again
    #[command(subcommand)]
    Task(task::Task),
    /// Check, draw, list, look at and resume workflows and other runs
    #[command(subcommand)]
    Workflow(workflow::Workflow),
    /// Follow what happens, or read what has happened
    #[command(subcommand)]
    Event(event::Event),
    /// Read, write, watch and rebuild shared state
    #[command(subcommand)]
    State(state::State),
    /// What came to nothing, and putting it back
    #[command(subcommand)]
    Dead(dead::Dead),
    /// What people are asked, and answering it
    #[command(subcommand)]
    Inbox(inbox::Verb),
    /// Work that is submitted at its time
    #[command(subcommand)]
    Schedule(schedule::Verb),
    /// Start a node, and look after those that run
    #[command(subcommand)]
    Node(node::Node),
    /// The agents that are running, and asking one
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Slots of capabilities over all nodes
    #[command(subcommand)]
    Pool(pool::Pool),
    /// Let clients of OpenAI-compatible models use a team, or any capability, as a model
    #[cfg(feature = "http")]
    Serve(serve::Serve),
    /// Offer a team, or any capability, as tools over the Model Context Protocol
    #[cfg(feature = "mcp")]
    Mcp(mcp::Mcp),
    /// The supervision trees that are running
    Tree(tree::Tree),
    /// Make the broker's streams
    Provision(provision::Provision),
    /// Check the store, the environment and how recent work did
    Doctor(doctor::Doctor),
    /// Check configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Explain an error code or a topic, or find the page for a few words
    Explain(explain::Explain),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// The description of everything that may be typed, for help, completions and complaints.
pub(crate) fn description() -> clap::Command {
    Cli::command()
}
