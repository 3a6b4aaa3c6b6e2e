//! `callboard workflow purge`: removing what is left of runs that ended long ago.

use callboard::broker::clock::millis;
use callboard::broker::code;
use callboard::broker::nats::purge::{Purged, purge, purge_older};
use callboard::broker::problem::Problem;
use callboard::period::Period;
use clap::Args;
use serde::Serialize;

use crate::console::{Console, Place};
use crate::ids;
use crate::output::{Done, Page, Show, answer, then};

#[derive(Args, Debug)]
pub(crate) struct Purge {
    /// A run's id, or a unique ending of one
    #[arg(value_name = "RUN", required_unless_present = "older_than", conflicts_with = "older_than")]
    run: Option<String>,
    /// Every run that has ended and in which nothing has happened for so long: 30d
    #[arg(long, value_name = "PERIOD")]
    older_than: Option<Period>,
    /// At most so many runs, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Yes, delete
    #[arg(long)]
    yes: bool,
}

/// Removes them.
pub(super) async fn run(of: &Purge, console: &Console) -> Done {
    let Place::Broker(_) = &console.place else {
        let what = format!("{} keeps its runs: only those on a broker can be removed", console.place);
        return Err(Problem::new(code::MISSING_ARGUMENT, what).fix("--broker nats://HOST:4222").into());
    };
    if !of.yes {
        let (which, again) = match (&of.run, of.older_than) {
            (Some(run), _) => (format!("all that is kept of run {run}"), run.clone()),
            (None, Some(age)) => (format!("all runs that ended over {age} ago"), format!("--older-than {age}")),
            (None, None) => ("nothing".to_owned(), String::new()),
        };
        let problem = Problem::new(code::CONFIRM, format!("this deletes {which} for good; nothing was done"));
        return Err(problem.fix(console.command(&format!("workflow purge {again} --yes"))).into());
    }
    let store = console.look().await?;
    let Some(nodes) = store.nodes() else { return Ok(None) };
    let link = &nodes.wing.link;
    let purged = match (&of.run, of.older_than) {
        (Some(run), _) => vec![purge(link, &ids::run(&store.broker, run).await?.task.run).await?],
        (None, age) => {
            let age = age.map(|age| millis(age.length())).unwrap_or_default();
            purge_older(link, link.clock.now().saturating_sub(age), of.limit.into()).await?
        }
    };
    let more = if purged.len() == usize::from(of.limit) { "there may be more: the same again" } else { "" };
    then(answer(Removed(purged)), more)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Removed(Vec<Purged>);

impl Show for Removed {
    fn text(&self, _: Page) -> String {
        let line = |one: &Purged| {
            let Purged { run, records, changes, documents } = one;
            format!("deleted {run}: {records} records, {changes} changes of state, {documents} large documents\n")
        };
        if self.0.is_empty() { "deleted nothing\n".into() } else { self.0.iter().map(line).collect() }
    }
}
