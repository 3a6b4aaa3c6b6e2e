//! The end of a simulation: what is there, and whether it is what was promised.

use std::collections::BTreeMap;

use callboard::State;
use callboard::state::Party;
use callboard_broker::Broker;
use callboard_broker::error::Error;
use callboard_broker::event::Event;
use callboard_broker::events::{EventFilter, MAX_EVENTS};
use callboard_broker::task::Record;
use callboard_broker::tasks::{TaskFilter, TaskView};

use super::agents::COUNTER;
use super::ledger::Ledger;
use crate::contract::invariants;

/// All tasks, in the order of submission.
pub async fn tasks(broker: &Broker) -> Result<Vec<TaskView>, Error> {
    broker.tasks.list(TaskFilter::default()).await
}

async fn events(broker: &Broker) -> Result<Vec<Event>, Error> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let from = all.last().map_or(1, |event| event.seq + 1);
        let page = broker.events.read(EventFilter::default(), from, MAX_EVENTS).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Asks every question of what is there, and puts all of it into the trace.
pub async fn judge(broker: &Broker, ledger: &Ledger) -> Result<(), String> {
    let text = |e: Error| format!("the wing does not answer: {e}");
    let (tasks, events) = (tasks(broker).await.map_err(text)?, events(broker).await.map_err(text)?);
    let letters = broker.dead.list(0, 1_000).await.map_err(text)?;
    let counter = State::over(broker.states.clone(), &COUNTER, Party::client("judge")).get().await.map_err(text)?;
    let mut logs: BTreeMap<_, Vec<Vec<Record>>> = BTreeMap::new();
    for view in &tasks {
        let log = broker.tasks.log(view.task.id.clone()).await.map_err(text)?;
        log.iter().for_each(|record| ledger.say(format!("{} {record:?}", view.task.id)));
        ledger.say(format!("{} {} {:?}", view.task.id, view.status, view.outcome));
        logs.entry(&view.task.base).or_default().push(log);
    }
    events.iter().for_each(|event| ledger.say(format!("{event:?}")));
    letters.iter().for_each(|letter| ledger.say(format!("{letter:?}")));
    let notes = ledger.notes();
    invariants::kept(&notes.seen, &tasks)?;
    invariants::fenced(&notes.seen)?;
    invariants::stays_cancelled(&notes.seen, &tasks)?;
    invariants::done_once(&notes.done)?;
    logs.values().try_for_each(|logs| invariants::intended(logs))?;
    invariants::quiet(&tasks)?;
    invariants::accounted(&tasks)?;
    invariants::told(&tasks, &events)?;
    invariants::gapless(&events)?;
    invariants::buried(&notes.seen, &tasks, &letters)?;
    invariants::counted(counter.map_or(0, |entry| entry.value), notes.counts)
}
