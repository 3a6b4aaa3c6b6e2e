//! `callboard node`: nodes as processes, and those that are there.

use std::ffi::OsString;
use std::path::PathBuf;

use callboard::Node as Running;
use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};
use callboard::config::{Config, Setting};
use callboard::exit::Exit;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::console::{Console, Place, option};
use crate::failure::Failure;
use crate::models::Models;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};
use crate::signals::Signals;
use crate::{log, nodes, services};

/// Start a node, and look after those that run.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Serve agents until told to stop, then drain
    Start(Start),
    /// The nodes that are there
    Ls,
    /// What one node is and has
    Info(Of),
    /// Have a node finish what it has, hand back the rest and end
    Drain(Of),
    /// Have a node hand back what it has and end
    Stop(Of),
}

#[derive(Args, Debug)]
pub(crate) struct Start {
    /// A node.toml; variables and options stand over it
    #[arg(long, env = "CALLBOARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's name. Default: the host's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Serve these capabilities, each with so many workers. Default, without --team: the team and diag.echo
    #[arg(long, value_name = "CAPABILITY[=N]", num_args = 1..)]
    serve: Vec<String>,
    /// Serve a whole team: research
    #[arg(long, value_name = "TEAM", num_args = 1..)]
    team: Vec<String>,
    /// Let clients of the Synadia Agent Protocol prompt these capabilities
    #[arg(long, value_name = "CAPABILITY", num_args = 1..)]
    public: Vec<String>,
    /// Under whose name they find them. Default: local
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    #[command(flatten)]
    models: Models,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// Its name
    #[arg(value_name = "NODE")]
    node: String,
}

/// Runs a verb.
pub(crate) async fn node(of: Node, console: &Console) -> Done {
    match of {
        Node::Start(of) => start(of, console).await,
        Node::Ls => ls(console).await,
        Node::Info(of) => ask(&of.node, "info", console).await,
        Node::Drain(of) => ask(&of.node, "drain", console).await,
        Node::Stop(of) => ask(&of.node, "stop", console).await,
    }
}

/// What was typed, over the environment, over the file. Of where the node works only `words` tell whether it was typed, and
/// so stands over a broker or a store that is configured.
fn configured(of: &Start, console: &Console, words: &[OsString]) -> Result<Config, Failure> {
    let config = of.config.as_ref().map_or_else(|| Ok(Config::default()), |path| Config::read(path));
    let mut config = config?.over_environment()?;
    let store = option(words, "--store");
    config.clear_place(store.is_some(), option(words, "--broker").is_some())?;
    let place = match store {
        Some(named) if named == "memory" => Place::Memory,
        Some(named) => Place::Named(PathBuf::from(named)),
        None => console.place.clone(),
    };
    let mut typed = vec![
        ("name", of.name.clone().unwrap_or_default()),
        ("serve", of.serve.join(",")),
        ("team", of.team.join(",")),
        ("public", of.public.join(",")),
        ("owner", of.owner.clone().unwrap_or_default()),
        ("creds", option(words, "--creds").unwrap_or_default().display().to_string()),
    ];
    typed.extend(of.models.typed());
    match place {
        Place::Broker(remote) => typed.push(("broker", remote.address)),
        Place::Named(path) => typed.push(("store", path.display().to_string())),
        Place::Usual(path) if config.store.is_none() => config.store = Some(path),
        Place::Usual(_) | Place::Memory => {}
    }
    let mut problems = Problems::new();
    for (flag, value) in typed.into_iter().filter(|(_, value)| !value.is_empty()) {
        if let Some(Err(problem)) = Setting::of_flag(flag).map(|setting| setting.set(&mut config, &value)) {
            problems.push(Problem { what: format!("--{flag}: {}", problem.what), ..problem });
        }
    }
    Ok(problems.or(config)?)
}

async fn start(of: Start, console: &Console) -> Done {
    // From before anything is held.
    let signals = Signals::listen();
    let config = configured(&of, console, &std::env::args_os().collect::<Vec<_>>())?;
    let address = config.broker.servers.join(",");
    let asked = !config.serve.is_empty() || !config.teams.is_empty() || !config.agents.is_empty();
    let own = if asked { Vec::new() } else { services::on_a_broker(&config.limits) };
    let builder = Running::configured(config).verb("loglevel", log::set_level);
    let started = own.into_iter().fold(builder, |node, service| node.serve(service)).start().await;
    let running = started.map_err(|error| match address.is_empty() {
        true => Failure::from(error),
        false => nodes::unreachable(&error, &address),
    })?;
    let served = running.served().iter().map(|one| one.capability.to_string()).collect::<Vec<_>>().join(", ");
    let page = console.out.page;
    let where_ = nodes::plain(&running.broker().about);
    console.out.note(&format!("node    {}, process {}, on {where_}", running.name(), std::process::id()));
    console.out.note(&page.field("serves", 7, &served));
    let ended = tokio::select! {
        () = signals.first() => {
            console.out.note("draining: what is at work is finished, a second signal ends at once");
            running.shutdown().await
        }
        ended = running.clone().until_ended() => ended,
    };
    match ended {
        Ok(()) => Ok(None),
        Err(error) => {
            let exit = Exit::of_node(&error);
            Err(Failure::from(error).exit(exit))
        }
    }
}

async fn ls(console: &Console) -> Done {
    let store = console.look().await?;
    let rows = match store.nodes() {
        Some(nodes) => nodes.all("info").await?.into_iter().map(row).collect(),
        None => store.node_says("info").await?.map(|info| Row::new("up", None, info)).into_iter().collect(),
    };
    let none = if Vec::is_empty(&rows) { super::agent::nothing(console, &store).await? } else { String::new() };
    then(answer(Rows(rows)), &none)
}

fn row(said: nodes::Said) -> Row {
    let node = said.node.node.to_string();
    let (state, info) = match said.answer {
        Ok(info) => (said.node.state, info),
        Err(error) => {
            // Whoever may not ask it sees that it gives signs of life.
            let asked = !matches!(error, callboard::Error::Denied { .. });
            let state = if asked { "silent".into() } else { said.node.state };
            (state, serde_json::json!({ "node": node, "error": error.to_string() }))
        }
    };
    Row::new(&state, Some(time::date(said.node.since)), info)
}

async fn ask(node: &str, verb: &str, console: &Console) -> Done {
    let store = console.look().await?;
    let said = match store.nodes() {
        Some(nodes) => nodes.ask(node, verb, Value::Null).await?,
        None => match store.node_says(verb).await? {
            Some(said) => said,
            None => {
                let problem = Problem::new(code::NO_RECIPIENT, format!("no node is running in {}", console.place));
                return Err(Failure::from(problem.fix("callboard node start")).exit(Exit::Usage));
            }
        },
    };
    answer(Answered(said))
}

#[derive(Serialize)]
struct Row {
    state: String,
    since: Option<String>,
    #[serde(flatten)]
    info: Value,
}

impl Row {
    /// What it says of its own state is newer than what is known of it.
    fn new(known: &str, since: Option<String>, mut info: Value) -> Self {
        let said = info.as_object_mut().and_then(|info| info.remove("state"));
        let state = said.as_ref().and_then(Value::as_str).unwrap_or(known).to_owned();
        Row { state, since, info }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 6] = [
            Column::new("NODE"),
            Column::new("STATE"),
            Column::new("PID").right(),
            Column::new("WORK").right(),
            Column::new("VERSION").spare(1),
            Column::new("SINCE").spare(2),
        ];
        if self.0.is_empty() {
            return String::new();
        }
        let row = |row: &Row| {
            let text = |field: &str| match &row.info[field] {
                Value::Null => "-".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let since = row.since.as_deref().map(time::clock).unwrap_or("-").to_owned();
            vec![text("node"), row.state.clone(), text("pid"), text("claims"), text("version"), since]
        };
        table(page, &COLUMNS, &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Answered(Value);

impl Show for Answered {
    fn text(&self, page: Page) -> String {
        let line = |(name, value): (&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            page.field(name, 10, &value)
        };
        self.0.as_object().into_iter().flatten().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// A program takes the same lines as `callboard node start`.
    #[test]
    fn the_options_that_take_several_values_are_the_lists_of_a_program() {
        let command = crate::args::Cli::command();
        let start = command.find_subcommand("node").and_then(|node| node.find_subcommand("start")).unwrap();
        for arg in start.get_arguments() {
            let several = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
            let Some(setting) = arg.get_long().and_then(Setting::of_flag) else { continue };
            assert_eq!(setting.is_list(), several, "--{}", setting.flag);
        }
    }
}
