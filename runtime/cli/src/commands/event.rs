//! `callboard event`: what happened, in its order.

use callboard::broker::event::Event as Fact;
use callboard::broker::events::{EventFilter, MAX_EVENTS};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Done, Page, Show, time};
use crate::store::Store;

/// Follow what happens, or read what has happened.
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Print events as they are recorded, from now on
    Tail(Tail),
    /// Print the events that are recorded, from a place on
    Replay(Replay),
}

#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Of this run: its id, a unique ending of it, or `last`
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Of this type, or of a group of types: `task` is all of `task.*`
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// End after so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct Tail {
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub(crate) struct Replay {
    #[command(flatten)]
    which: Which,
    /// From this number on
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
}

/// Runs a verb.
pub(crate) async fn event(of: Event, console: &Console) -> Done {
    match of {
        Event::Tail(of) => tail(of, console).await,
        Event::Replay(of) => replay(of, console).await,
    }
}

async fn tail(of: Tail, console: &Console) -> Done {
    let store = console.touch().await?;
    let filter = filter(&of.which, &store).await?;
    follow(filter, None, of.which.limit, store, console).await
}

/// Prints what one agent has said and done, or all agents, from now on.
pub(super) async fn tail_of(agent: Option<String>, limit: Option<usize>, console: &Console) -> Done {
    let store = console.touch().await?;
    follow(EventFilter::default(), agent, limit, store, console).await
}

async fn follow(
    filter: EventFilter,
    agent: Option<String>,
    limit: Option<usize>,
    store: Store,
    console: &Console,
) -> Done {
    let mut left = limit.unwrap_or(usize::MAX);
    let from = store.broker.events.last().await? + 1;
    let mut events = store.broker.events.follow(filter, from).await?;
    let idle = if store.is_worked_on() { "" } else { ", where nothing is running" };
    console.out.note(&console.out.page.wrap(&format!("following {} from event {from}{idle}", console.place), 2));
    while left > 0 {
        match events.next().await {
            Ok(fact) if agent.as_ref().is_some_and(|agent| fact.agent != *agent) => continue,
            Ok(fact) => console.out.item(&Row::of(&fact)?)?,
            // It goes on with the oldest that is there.
            Err(callboard::Error::Lagged { missed }) => {
                console.out.note(&format!("{missed} events were forgotten before they could be read"));
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        left -= 1;
    }
    Ok(None)
}

async fn replay(of: Replay, console: &Console) -> Done {
    let store = console.look().await?;
    let filter = filter(&of.which, &store).await?;
    let (mut from, mut left) = (of.from, of.which.limit.unwrap_or(usize::MAX));
    loop {
        let wanted = left.min(MAX_EVENTS);
        let page = store.broker.events.read(filter.clone(), from, wanted).await?;
        let Some(last) = page.last() else { return Ok(None) };
        from = last.seq + 1;
        left -= page.len().min(left);
        for fact in &page {
            console.out.item(&Row::of(fact)?)?;
        }
        if left == 0 || page.len() < wanted {
            return Ok(None);
        }
    }
}

async fn filter(which: &Which, store: &Store) -> Result<EventFilter, Failure> {
    let run = match &which.run {
        Some(run) => Some(ids::run(&store.broker, run).await?.task.run),
        None => None,
    };
    Ok(EventFilter { types: which.types.clone(), run })
}

/// One event.
#[derive(Serialize)]
struct Row {
    seq: u64,
    time: String,
    #[serde(rename = "type")]
    kind: String,
    agent: String,
    run: Option<String>,
    task: Option<String>,
    payload: Value,
}

impl Row {
    fn of(fact: &Fact) -> Result<Row, Failure> {
        Ok(Row {
            seq: fact.seq,
            time: time::date(fact.time),
            kind: fact.kind.clone(),
            agent: fact.agent.clone(),
            run: fact.run.as_ref().map(ToString::to_string),
            task: fact.task.as_ref().map(ToString::to_string),
            payload: fact.payload.value()?,
        })
    }
}

impl Show for Row {
    fn text(&self, page: Page) -> String {
        let clock = time::clock(&self.time);
        let task = self.task.as_deref().map(short).unwrap_or("-");
        let (agent, kind) = (page.fit(&self.agent, 18), &self.kind);
        let line = format!("{:>6}  {clock}  {kind:15}  {task:8}  {agent:18}  {}", self.seq, self.payload);
        page.fit(&line, page.columns) + "\n"
    }
}
