//! `callboard workflow replay` and `callboard task replay`: handlers run again against a log.

use std::path::{Path, PathBuf};

use callboard::Error;
use callboard::broker::payload::Payload;
use callboard::broker::problem::Problem;
use callboard::broker::{Broker, code};
use callboard::config::Config;
use callboard::exit::Exit;
use callboard::period::Period;
use callboard::replay::{Divergence, Replay, Report, RunLog, Verdict};
use clap::Args;
use serde::Serialize;

use super::super::task::Of;
use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::models::Models;
use crate::output::{Column, Done, Page, Show, answer, count, table, then};
use crate::services;

/// Tasks of one verdict that are listed for a person.
const LISTED: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct OfRun {
    /// A run's id, a unique ending of one, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// The run in this file instead, as `workflow export` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    log: Option<PathBuf>,
    /// How long the handler of one task may take
    #[arg(long, value_name = "TIME", default_value = "60s")]
    patience: Period,
    #[command(flatten)]
    agents: Agents,
}

#[derive(Args, Debug)]
pub(crate) struct OfTask {
    #[command(flatten)]
    of: Of,
    #[command(flatten)]
    agents: Agents,
}

/// Who is to have made the log.
#[derive(Args, Debug)]
struct Agents {
    /// The agents, tools and models of this node.toml instead of our own. Nothing is started: no MCP server, no model
    #[arg(long, env = "CALLBOARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    models: Models,
}

impl Agents {
    /// A replay with what a node would have that is configured like this.
    ///
    /// # Errors
    /// Everything that is wrong with the file, the environment or what was typed, and what such a node could not start
    /// with.
    fn replay(&self, broker: &Broker, console: &Console) -> Result<Replay, Failure> {
        let config = match &self.config {
            Some(file) => Config::read(file)?.over_environment()?,
            None => console.config.clone(),
        };
        let config = self.models.over_config(config)?;
        // A file that says nothing of what is served is one for runs here, which have all of our own beside its agents.
        let says = !config.serve.is_empty() || !config.teams.is_empty();
        let own = if says { Vec::new() } else { services::with(&config.limits) };
        Ok(own.into_iter().fold(Replay::of(broker), Replay::serve).configured(&config)?)
    }
}

/// `workflow replay`.
pub(super) async fn run(of: &OfRun, console: &Console) -> Done {
    let (broker, run) = match &of.log {
        Some(file) => {
            let log = read(file)?;
            (log.clone().broker(), log.run)
        }
        None => {
            let broker = console.look().await?.broker;
            let run = ids::run(&broker, &of.run).await?.task.run;
            (broker, run)
        }
    };
    let replay = of.agents.replay(&broker, console)?;
    told(replay.patience(of.patience.length()).run(run.as_str()).await?, console)
}

fn read(file: &Path) -> Result<RunLog, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Problem::new(code::FILE, format!("{name} cannot be read: {}", error.kind())))?;
    let damaged = |error: Error| Problem::new(code::DECODE, format!("{name}: {error}"));
    Ok(RunLog::read(&text).map_err(|error| damaged(error).fix("callboard workflow export RUN"))?)
}

#[derive(Args, Debug)]
pub(crate) struct OfExport {
    /// A run's id, a unique ending of one, or `last`
    #[arg(default_value = "last")]
    run: String,
}

/// `workflow export`.
pub(super) async fn export(of: &OfExport, console: &Console) -> Done {
    let store = console.look().await?;
    let run = ids::run(&store.broker, &of.run).await?.task.run;
    answer(Exported(Payload::from_json(RunLog::of(&store.broker, &run).await?.write()?)?))
}

/// The document as it was written: what is compared byte for byte may not be spelled anew.
#[derive(Serialize)]
#[serde(transparent)]
struct Exported(Payload);

impl Show for Exported {
    fn text(&self, _: Page) -> String {
        self.0.json().unwrap_or_default().to_owned() + "\n"
    }
}

/// `task replay`.
pub(crate) async fn task(of: &OfTask, console: &Console) -> Done {
    let store = console.look().await?;
    let task = ids::task(&store.broker, &of.of.task).await?.task.id;
    told(of.agents.replay(&store.broker, console)?.task(&task).await?, console)
}

fn told(report: Report, console: &Console) -> Done {
    let next = report.first().map(|found| console.command(&format!("task show {} --log", short(found.task.as_str()))));
    let next = next.map_or(String::new(), |verb| console.next(&[("its log", verb)]));
    then(answer(Shown { identical: report.is_identical(), first: report.first().cloned(), report }), &next)
}

#[derive(Serialize)]
struct Shown {
    identical: bool,
    first: Option<Divergence>,
    #[serde(flatten)]
    report: Report,
}

impl Show for Shown {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 4] = [
            Column::new("TASK"),
            Column::new("CAPABILITY").flexible(),
            Column::new("RECORDS").right(),
            Column::new("VERDICT").flexible(),
        ];
        let row = |task: &callboard::replay::Replayed| {
            let id = short(task.task.as_str()).to_owned();
            vec![id, task.capability.to_string(), task.records.to_string(), said(&task.verdict)]
        };
        let (same, other): (Vec<_>, Vec<_>) =
            self.report.tasks.iter().partition(|task| task.verdict == Verdict::Identical);
        let rows: Vec<_> = other.into_iter().take(LISTED).map(row).collect();
        let line = format!(
            "{} of {} identical, {} replayed\n",
            same.len(),
            count(self.report.tasks.len(), "task"),
            count(usize::try_from(self.report.records()).unwrap_or(usize::MAX), "record"),
        );
        if rows.is_empty() { line } else { table(page, &COLUMNS, &rows) + &line }
    }

    fn exit(&self) -> Exit {
        if self.identical { Exit::Ok } else { Exit::Failed }
    }

    fn failure(&self) -> Option<Failure> {
        let unserved = self.report.tasks.iter().find(|task| task.verdict == Verdict::Unserved);
        let problem = match (&self.first, unserved) {
            (Some(found), _) => {
                let Divergence { task, sequence, kind, key, recorded, asked, .. } = found;
                let named = if key.is_empty() { kind.clone() } else { format!("{kind} \"{key}\"") };
                let what =
                    format!("record {sequence} of task {} is the first that differs: {named}", short(task.as_str()));
                Problem::new(code::DIVERGED, what)
                    .note(format!("then {recorded}, now {asked}"))
                    .fix("callboard explain resume")
            }
            (None, Some(task)) => {
                let what = format!("nothing here serves {}, so it was not replayed", task.capability);
                let fix = "name the file of a node that serves it: --config node.toml";
                let note = "an agent of a program of your own is replayed by that: callboard::replay";
                Problem::new(code::UNSERVED, what).note(note).fix(fix)
            }
            (None, None) => return None,
        };
        Some(Failure::from(problem).exit(Exit::Failed))
    }
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Identical => "identical".into(),
        Verdict::Cut { why } => format!("no further: {why}"),
        Verdict::Diverged(found) => format!("differs at {}: {} {}", found.sequence, found.kind, found.key),
        Verdict::Unserved => "not replayed: nothing here serves it".into(),
    }
}
