//! `callboard schedule`: work that is submitted at its time.

use std::time::Duration;

use callboard::Error;
use callboard::broker::clock::{Millis, millis};
use callboard::broker::code;
use callboard::broker::problem::{Problem, closest};
use callboard::broker::subject::CapabilityName;
use callboard::period::Period;
use callboard::schedule::{Added, Missed, Schedule, Schedules, When};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::task::input;
use crate::console::{Console, Place};
use crate::failure::Failure;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};
use crate::store::Store;

/// In whose name the command line changes schedules.
const BY: &str = "cli";

/// Work that is submitted at its time.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Submit work later, at a time, every so often, or by a cron expression
    Add(Add),
    /// All schedules, by name
    Ls,
    /// Let one rest: nothing is submitted until it is resumed
    Pause(Of),
    /// Go on with the next tick from now
    Resume(Of),
    /// Remove one; what it has submitted stands
    Rm(Of),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("when").required(true))]
pub(crate) struct Add {
    /// A name: 1 to 22 letters, digits and -
    name: String,
    /// Who is to do it, such as research.database
    #[arg(value_parser = CapabilityName::parse)]
    capability: CapabilityName,
    /// Once, after this time, such as 10m
    #[arg(long = "in", value_name = "TIME", group = "when")]
    delay: Option<Period>,
    /// Once, at this time: 2026-12-01T03:00:00Z
    #[arg(long, value_name = "DATE", group = "when")]
    at: Option<String>,
    /// Again and again, first after this time; at least 1s
    #[arg(long, value_name = "TIME", group = "when")]
    every: Option<Period>,
    /// By a cron expression in UTC, such as "0 3 * * MON-FRI"
    #[arg(long, value_name = "EXPRESSION", group = "when")]
    cron: Option<String>,
    /// What it gets: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    input: String,
    /// What it is for, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What is done about ticks for which nobody was there
    #[arg(long, value_name = "HOW", default_value = "once")]
    missed: MadeUp,
}

/// What is done about missed ticks, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MadeUp {
    /// Nothing
    Skip,
    /// The newest is made up for
    Once,
    /// Each is made up for, at most the newest 100
    All,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// The name of a schedule
    name: String,
}

/// Runs a verb.
pub(crate) async fn schedule(of: Verb, console: &Console) -> Done {
    match of {
        Verb::Add(of) => add(of, console).await,
        Verb::Ls => ls(console).await,
        Verb::Pause(of) => {
            let store = console.touch().await?;
            shown(&store, &of.name, book(&store).pause(&of.name).await).await
        }
        Verb::Resume(of) => {
            let store = console.touch().await?;
            shown(&store, &of.name, book(&store).resume(&of.name).await).await
        }
        Verb::Rm(of) => rm(&of, console).await,
    }
}

fn book(store: &Store) -> Schedules {
    Schedules::of(&store.broker, BY)
}

async fn add(of: Add, console: &Console) -> Done {
    if console.place == Place::Memory {
        let problem = Problem::new(code::BAD_VALUE, "a schedule in memory is gone with the process that adds it");
        return Err(problem.fix("name a store: --store PATH").into());
    }
    let input = input(&of.input)?;
    let store = console.touch().await?;
    let when = of.when(store.broker.clock.now())?;
    let missed = match of.missed {
        MadeUp::Skip => Missed::Skip,
        MadeUp::Once => Missed::Once,
        MadeUp::All => Missed::All,
    };
    let schedule = Schedule { description: of.description, ..Schedule::of(&of.name, of.capability, input, when) };
    let added = match book(&store).add(schedule.missed(missed)).await {
        Ok(added) => added,
        Err(Error::Decode { what }) => return Err(Problem::new(code::BAD_VALUE, what).into()),
        Err(Error::Conflict { .. }) => {
            let what = format!("there is another schedule named {}", of.name);
            let fix = format!("callboard schedule rm {}, or another name", of.name);
            return Err(Problem::new(code::DUPLICATE, what).fix(fix).into());
        }
        Err(error) => return Err(error.into()),
    };
    let hint = match (store.is_worked_on(), added) {
        (false, Added::New) => "nothing is running here: what is due is submitted while a node or a run is",
        _ => "",
    };
    let there = find(&store, &of.name).await?;
    then(answer(Row::of(&there)), hint)
}

impl Add {
    fn when(&self, now: Millis) -> Result<When, Failure> {
        let after = |delay: Duration| now.saturating_add(millis(delay));
        Ok(match (self.delay, &self.at, self.every, &self.cron) {
            (Some(delay), ..) => When::At(after(delay.length())),
            (_, Some(text), ..) => When::At(time::parse_date(text).ok_or_else(|| {
                let problem = Problem::new(code::BAD_VALUE, format!("--at: \"{text}\" is no date"));
                problem.fix(format!("--at {}", time::date(after(Duration::from_secs(3600)))))
            })?),
            (_, _, Some(period), _) => When::every(period.length()),
            (.., cron) => When::cron(cron.as_deref().unwrap_or_default()),
        })
    }
}

async fn ls(console: &Console) -> Done {
    let store = console.look().await?;
    let all = book(&store).list().await?;
    let said = if all.is_empty() { "nothing is scheduled" } else { "" };
    then(answer(Rows(all.iter().map(Row::of).collect())), said)
}

async fn rm(of: &Of, console: &Console) -> Done {
    let store = console.touch().await?;
    match book(&store).remove(&of.name).await {
        Ok(true) => answer(Removed { removed: of.name.clone() }),
        Ok(false) => Err(unknown(&store, &of.name).await?),
        Err(Error::Decode { what }) => Err(Problem::new(code::BAD_VALUE, what).into()),
        Err(error) => Err(error.into()),
    }
}

/// A schedule after it was changed.
async fn shown(store: &Store, name: &str, changed: Result<Schedule, Error>) -> Done {
    match changed {
        Ok(schedule) => answer(Row::of(&schedule)),
        Err(Error::NotFound { .. }) => Err(unknown(store, name).await?),
        Err(Error::Decode { what }) => Err(Problem::new(code::BAD_VALUE, what).into()),
        Err(error) => Err(error.into()),
    }
}

async fn find(store: &Store, name: &str) -> Result<Schedule, Failure> {
    match book(store).list().await?.into_iter().find(|one| one.name == name) {
        Some(schedule) => Ok(schedule),
        None => Err(unknown(store, name).await?),
    }
}

async fn unknown(store: &Store, name: &str) -> Result<Failure, Failure> {
    let names: Vec<String> = book(store).list().await?.into_iter().map(|one| one.name).collect();
    let problem = Problem::new(code::UNKNOWN_ID, format!("there is no schedule {name}"));
    let fix = closest(name, &names).unwrap_or_else(|| "callboard schedule ls".to_owned());
    Ok(problem.allowed_near(name, names).fix(fix).into())
}

#[derive(Serialize)]
struct Row {
    name: String,
    capability: String,
    input: Value,
    description: Option<String>,
    when: String,
    missed: Missed,
    paused: bool,
    next: Option<String>,
    last: Option<String>,
    fired: u64,
    skipped: u64,
}

impl Row {
    fn of(one: &Schedule) -> Self {
        let when = match &one.when {
            When::At(at) => format!("at {}", time::date(*at)),
            When::Every { period, .. } => format!("every {period}"),
            When::Cron(text) => format!("cron {text}"),
        };
        Self {
            name: one.name.clone(),
            capability: one.capability.to_string(),
            input: one.input.value().unwrap_or_default(),
            description: one.description.clone(),
            when,
            missed: one.missed,
            paused: one.paused,
            next: one.next.map(time::date),
            last: one.last.map(time::date),
            fired: one.fired,
            skipped: one.skipped,
        }
    }

    fn cells(&self) -> Vec<String> {
        let next = if self.paused { "paused" } else { self.next.as_deref().unwrap_or("-") };
        let counts = [self.fired.to_string(), self.skipped.to_string()];
        let [fired, skipped] = counts;
        vec![self.name.clone(), self.capability.clone(), self.when.clone(), next.to_owned(), fired, skipped]
    }
}

const COLUMNS: [Column; 6] = [
    Column::new("NAME"),
    Column::new("CAPABILITY").flexible().spare(1),
    Column::new("WHEN").flexible(),
    Column::new("NEXT"),
    Column::new("FIRED").right().spare(2),
    Column::new("SKIPPED").right().spare(3),
];

impl Show for Row {
    fn text(&self, page: Page) -> String {
        table(page, &COLUMNS, &[self.cells()])
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn text(&self, page: Page) -> String {
        table(page, &COLUMNS, &self.0.iter().map(Row::cells).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Show for Removed {
    fn text(&self, _: Page) -> String {
        format!("removed  {}\n", self.removed)
    }
}
