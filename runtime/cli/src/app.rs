//! From arguments to an exit code.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use callboard::exit::Exit;
use clap::Parser;

use crate::args::{self, Cli, Command};
#[cfg(feature = "mcp")]
use crate::commands::mcp;
#[cfg(feature = "http")]
use crate::commands::serve;
use crate::commands::{
    agent, completions, config, dead, doctor, event, explain, inbox, node, pool, provision, run, schedule, state, task,
    tree, workflow,
};
use crate::complaint::{self, Parsed};
use crate::console::{self, Console};
use crate::failure::Failure;
use crate::log;
use crate::output::{Done, Printer};
use crate::telemetry;

/// How long what blocks a thread may take at the end: somebody who reads a terminal cannot be called back.
const LAST_WORK: Duration = Duration::from_secs(10);

/// Runs what was typed.
pub(crate) fn main() -> Exit {
    log::hook_panics();
    let typed: Vec<OsString> = std::env::args_os().collect();
    let printer = Printer::new(typed.iter().any(|word| word == "--json"), false, String::new());
    match catch_unwind(AssertUnwindSafe(|| go(&typed, &printer))) {
        Ok(exit) => exit,
        Err(_) => printer.failure(&log::fault().into()),
    }
}

fn go(typed: &[OsString], printer: &Printer) -> Exit {
    let cli = match Cli::try_parse_from(typed) {
        Ok(cli) => cli,
        Err(error) => match complaint::of(&error, typed) {
            Parsed::Help(text) => return printer.raw(&text),
            Parsed::Problem(problem) => return printer.failure(&problem.into()),
        },
    };
    let console = Console::new(&cli.global);
    let done = match cli.command {
        None => return printer.raw(&args::description().render_help().to_string()),
        Some(Command::Completions(of)) => return console.out.raw(&completions::script(&of)),
        Some(Command::Explain(of)) => explain::explain(&of),
        Some(command) => {
            let done = log::start(&cli.global, goes_on(&command))
                .map_err(Failure::from)
                .and_then(|()| config::environment().map_err(Failure::from))
                .and_then(|()| console::one_place().map_err(Failure::from))
                .and_then(|()| in_runtime(dispatch(command, &console)));
            telemetry::end();
            done
        }
    };
    match done {
        Ok(Some(reply)) => console.out.reply(&reply),
        Ok(None) => Exit::Ok,
        Err(failure) => console.out.failure(&failure),
    }
}

/// Whether it goes on until told to stop, rather than to an answer.
fn goes_on(command: &Command) -> bool {
    match command {
        Command::Node(node::Node::Start(_)) => true,
        #[cfg(feature = "http")]
        Command::Serve(_) => true,
        _ => false,
    }
}

fn in_runtime(work: impl Future<Output = Done>) -> Done {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = built.map_err(|why| {
        let what = format!("no threads can be started: {}", why.kind());
        Failure::from(callboard::broker::problem::Problem::new(callboard::broker::code::INTERNAL, what))
    })?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WORK);
    done
}

async fn dispatch(command: Command, console: &Console) -> Done {
    match command {
        Command::Run(of) => run::run(of, console).await,
        Command::Task(of) => task::task(of, console).await,
        Command::Workflow(of) => workflow::workflow(of, console).await,
        Command::Event(of) => event::event(of, console).await,
        Command::State(of) => state::state(of, console).await,
        Command::Dead(of) => dead::dead(of, console).await,
        Command::Inbox(of) => inbox::inbox(of, console).await,
        Command::Schedule(of) => schedule::schedule(of, console).await,
        Command::Node(of) => node::node(of, console).await,
        Command::Pool(of) => pool::pool(of, console).await,
        Command::Provision(of) => provision::provision(of, console).await,
        Command::Agent(of) => agent::agent(of, console).await,
        #[cfg(feature = "http")]
        Command::Serve(of) => serve::serve(of, console).await,
        #[cfg(feature = "mcp")]
        Command::Mcp(of) => mcp::mcp(of, console).await,
        Command::Tree(of) => tree::tree(of, console).await,
        Command::Doctor(of) => doctor::doctor(of, console).await,
        Command::Config(of) => config::config(of),
        Command::Explain(of) => explain::explain(&of),
        Command::Completions(_) => Ok(None),
    }
}
