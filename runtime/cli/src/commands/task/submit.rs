//! `callboard task submit`.

use std::io::Read;

use callboard::BudgetDoc;
use callboard::broker::budget::Budget;
use callboard::broker::clock::millis;
use callboard::broker::code;
use callboard::broker::id::RunId;
use callboard::broker::payload::{MAX_PAYLOAD, Payload};
use callboard::broker::problem::{Place, Problem, closest};
use callboard::broker::subject::CapabilityName;
use callboard::broker::task::{Priority, Retry, Status, Task};
use callboard::broker::tasks::Submitted;
use callboard::period::Period;
use callboard::workflow::declared_budget;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::commands::run;
use crate::console::{self, Console, retyped};
use crate::failure::Failure;
use crate::ids::short;
use crate::output::{Done, Page, Show, answer, then};
use crate::store::Store;
use crate::work;

#[derive(Args, Debug)]
pub(crate) struct Submit {
    /// Who is to do it, such as research.database
    #[arg(value_parser = CapabilityName::parse)]
    capability: CapabilityName,
    /// What it gets: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "{}")]
    input: String,
    /// What it is for, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A name for its run instead of a new id; the same name and input again is the same task
    #[arg(long = "run", value_name = "NAME")]
    id: Option<String>,
    /// Who goes first within a capability
    #[arg(long, value_name = "WHICH", default_value = "normal")]
    priority: Urgency,
    /// How often it is tried
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// How long one attempt may take
    #[arg(long, value_name = "TIME")]
    timeout: Option<Period>,
    /// How long all attempts may take. Default: the wall time of its budget, or 24h
    #[arg(long, value_name = "TIME")]
    deadline: Option<Period>,
    /// What it and all below it may use, such as tasks=100,steps=500,tokens=20000,cost=1.5,wall=10m
    #[arg(long, value_name = "LIMITS", default_value = "", hide_default_value = true)]
    budget: BudgetDoc,
    /// Work on it here unless somebody does, and print its result
    #[arg(long)]
    wait: bool,
    /// Queue it though nothing serves its capability
    #[arg(long)]
    queue_anyway: bool,
}

/// A priority as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Urgency {
    High,
    Normal,
    Bulk,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Priority {
        match urgency {
            Urgency::High => Priority::High,
            Urgency::Normal => Priority::Normal,
            Urgency::Bulk => Priority::Bulk,
        }
    }
}

pub(super) async fn submit(of: Submit, console: &Console) -> Done {
    if console.place == console::Place::Memory && !of.wait {
        let problem = Problem::new(code::BAD_VALUE, "a task in memory is gone with the process that submits it");
        return Err(problem.fix("add --wait, which works on it here, or name a store: --store PATH").into());
    }
    let input = input(&of.input)?;
    let mut store = if of.wait { console.work().await? } else { console.touch().await? };
    if !of.queue_anyway {
        require(&store, &of.capability).await?;
    }
    let task = document(&of, input, &store, console.config.budget.budget())?;
    let (run, id) = (task.run.clone(), task.id.clone());
    let known = run::submit(&store.broker, task).await? == Submitted::Known;
    if of.wait {
        console.out.note(&format!("run     {run}"));
        let ended = work::until_end(console, &mut store, &run, &id, false).await?;
        return run::report(console, &store, ended, false).await;
    }
    let status =
        store.broker.tasks.get(vec![id.clone()]).await?.pop().flatten().map_or(Status::Pending, |view| view.status);
    let running = store.is_worked_on();
    let ending = short(run.as_str());
    let said = match (status.is_final(), running) {
        (false, _) if of.capability.is_human() => {
            format!("answer it  {}", console.command(&format!("inbox answer {ending} ANSWER")))
        }
        (false, false) => format!(
            "nothing is running here: it waits until something is\ndo it now  {}",
            console.command(&format!("workflow resume {ending}"))
        ),
        _ => console.next(&[("follow it", console.command(&format!("task watch {ending}")))]),
    };
    let capability = of.capability.to_string();
    then(answer(Stored { id: id.to_string(), run: run.to_string(), capability, status, known, running }), &said)
}

fn document(of: &Submit, input: Payload, store: &Store, default: Budget) -> Result<Task, Failure> {
    let run = match &of.id {
        Some(name) => RunId::parse(name).map_err(|bad| Problem::new(code::BAD_VALUE, format!("--run: {bad}")))?,
        None => RunId::fresh(),
    };
    let budget = of.budget.budget().or(declared_budget(&of.capability, &input)).or(default);
    let task = Task::root(run, of.capability.clone(), input, store.broker.clock.now());
    let deadline = of.deadline.map_or(task.deadline, |limit| task.created_at.saturating_add(millis(limit.length())));
    Ok(Task {
        description: of.description.clone(),
        priority: of.priority.into(),
        retry: Retry { attempts: of.attempts, ..Retry::default() },
        timeout_ms: of.timeout.map(Period::millis),
        deadline,
        from: Some("cli".into()),
        ..task
    }
    .budgeted(budget))
}

/// Refuses what nobody would take, with what is served.
async fn require(store: &Store, capability: &CapabilityName) -> Result<(), Failure> {
    let name = capability.as_str();
    if capability.is_human() {
        return Ok(());
    }
    let served = store.served().await?;
    if served.iter().any(|one| one == name) {
        return Ok(());
    }
    let here = if store.nodes().is_some() { "no node" } else { "nothing here" };
    let problem = Problem::new(code::UNSERVED, format!("{here} serves {name}")).allowed_near(name, &served);
    let fix = match closest(name, &served) {
        Some(meant) => retyped(name, &meant).unwrap_or_else(|| format!("{meant} instead of {name}")),
        None => "add --queue-anyway when a program that serves it will come later".to_owned(),
    };
    Err(problem.fix(fix).into())
}

/// The input, wherever it comes from.
pub(crate) fn input(text: &str) -> Result<Payload, Failure> {
    let unreadable = |name: &str, error: &std::io::Error| {
        Problem::new(code::FILE, format!("{name} cannot be read: {}", error.kind()))
    };
    let limited = |from: &mut dyn Read, name: &str| -> Result<String, Problem> {
        let mut text = String::new();
        from.take(MAX_PAYLOAD as u64 + 1).read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
        Ok(text)
    };
    let (name, text) = match text.strip_prefix('@') {
        Some(path) => {
            let mut file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
            (path.to_owned(), limited(&mut file, path)?)
        }
        None if text == "-" => ("standard input".to_owned(), limited(&mut std::io::stdin().lock(), "standard input")?),
        None => ("--input".to_owned(), text.to_owned()),
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| no_json(&name, &text, &error))?;
    Ok(value.into())
}

/// Where a text stops being JSON.
pub(crate) fn no_json(name: &str, text: &str, error: &serde_json::Error) -> Problem {
    let before: usize = text.lines().take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum();
    let at = (before + error.column().saturating_sub(1)).min(text.len());
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or(&why).to_owned();
    let problem = Problem::new(code::BAD_JSON, format!("the text is not JSON: {why}"));
    problem.at(Place::of(name, text, at..at + 1)).fix(r#"--input '{"text": "x"}'"#)
}

/// A task that was stored.
#[derive(Serialize)]
struct Stored {
    id: String,
    run: String,
    capability: String,
    status: Status,
    /// It was there already, and is left as it is.
    known: bool,
    /// Whether a process is running that works on it.
    running: bool,
}

impl Show for Stored {
    fn text(&self, _: Page) -> String {
        let how = if self.known { "known" } else { "submitted" };
        format!("{how}  {}  {}  {}\n", self.id, self.capability, self.status)
    }
}
