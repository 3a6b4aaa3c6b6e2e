//! What is left of a store whose process died, judged: as it lies there, and once work has gone on over it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::error::Result;
use callboard_broker::event::{self, Event, NewEvent};
use callboard_broker::id::{NodeName, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::state::{Change, Expect, Key, Moment, Put, Write};
use callboard_broker::task::{Outcome, Status};
use callboard_broker::tasks::{Claim, Finish, Recorded, TaskFilter, TaskView};
use serde_json::json;

use super::notes::{self, Note};
use crate::contract::invariants;

/// Everything that is wrong with the store, a sentence each.
pub async fn judge(store: &Path) -> Vec<String> {
    let mut wrong = match sqlite::verify(store).await {
        Ok(verified) => verified.findings,
        Err(error) => vec![error.to_string()],
    };
    match sqlite::open(store, Options::default()) {
        Ok(broker) => {
            let judged = both(&broker, &notes::of(store)).await;
            wrong.extend(judged.unwrap_or_else(|error| vec![format!("a question was refused: {error}")]));
        }
        Err(error) => wrong.push(format!("it does not open: {error}")),
    }
    wrong
}

async fn both(broker: &Broker, notes: &[Note]) -> Result<Vec<String>> {
    let before = Contents::of(broker).await?;
    let mut wrong = before.unsound();
    let claimed = before.tasks.iter().filter(|view| view.status == Status::InProgress);
    wrong.extend(claimed.map(|view| format!("the claim of {} has survived who held it", view.task.id)));
    wrong.extend(before.forgotten(notes).into_iter().map(|note| format!("acknowledged and not there: {note:?}")));

    wrong.extend(go_on(broker, &before).await?);
    let after = Contents::of(broker).await?;
    wrong.extend(after.unsound());
    let open = after.tasks.iter().filter(|view| !view.status.is_final());
    wrong.extend(open.map(|view| format!("{} never ends", view.task.id)));
    let ended = before.tasks.iter().zip(&after.tasks).filter(|(before, _)| before.status.is_final());
    wrong.extend(ended.filter(|(a, b)| a != b).map(|(a, b)| format!("an outcome was {a:?} and is {b:?}")));
    if after.events.get(..before.events.len()) != Some(&before.events) {
        wrong.push("events that were there have changed".into());
    }
    Ok(wrong)
}

type Entries = BTreeMap<Key, (Payload, u64)>;

/// Everything that can be asked of a store.
struct Contents {
    tasks: Vec<TaskView>,
    events: Vec<Event>,
    /// How many records each log has.
    logs: HashMap<TaskId, u64>,
    histories: BTreeMap<Key, Vec<Change>>,
    entries: Entries,
    /// The entries as the last snapshot and the changes since come to.
    rebuilt: Entries,
}

impl Contents {
    async fn of(broker: &Broker) -> Result<Self> {
        let (tasks, events) = (tasks(broker).await?, events(broker).await?);
        let mut logs = HashMap::new();
        for view in &tasks {
            let id = &view.task.id;
            logs.insert(id.clone(), broker.tasks.log(id.clone()).await?.len() as u64);
        }
        let mut histories = BTreeMap::new();
        for key in events.iter().filter_map(changed).collect::<BTreeSet<Key>>() {
            histories.insert(key.clone(), broker.states.history(key).await?);
        }
        let last = histories.values().map(|history| history.len() as u64).sum();
        let entries = invariants::entries(broker.states.list(String::new()).await?);
        let rebuilt = invariants::entries(broker.states.at(Moment::Sequence(last), String::new()).await?);
        Ok(Self { tasks, events, logs, histories, entries, rebuilt })
    }

    /// What does not hold, of what holds of every store at every moment.
    fn unsound(&self) -> Vec<String> {
        let mut wrong: Vec<String> = Vec::new();
        wrong.extend(invariants::gapless(&self.events).err());
        wrong.extend(invariants::accounted(&self.tasks).err());
        wrong.extend(invariants::told(&self.tasks, &self.events).err());
        wrong.extend(self.histories.values().filter_map(|history| invariants::chained(history).err()));
        let mut changes: Vec<Change> = self.histories.values().flatten().cloned().collect();
        changes.sort_by_key(|change| change.sequence);
        if changes.len() != self.events.iter().filter_map(changed).count() {
            wrong.push("not every change is told once".into());
        }
        if self.entries != invariants::replayed(&changes, u64::MAX) {
            wrong.push("the entries are not what all changes come to".into());
        }
        if self.entries != self.rebuilt {
            wrong.push("the entries are not what the last snapshot and its tail come to".into());
        }
        wrong
    }

    /// The notes that do not hold.
    fn forgotten<'n>(&self, notes: &'n [Note]) -> Vec<&'n Note> {
        let tasks: HashMap<&TaskId, &TaskView> = self.tasks.iter().map(|view| (&view.task.id, view)).collect();
        let versions: HashSet<(&Key, u64)> =
            self.histories.iter().flat_map(|(key, history)| history.iter().map(move |c| (key, c.version))).collect();
        let is_kept = |note: &Note| match note {
            Note::Stored(id) => tasks.contains_key(id),
            Note::Logged(id, last) => self.logs.get(id).is_some_and(|records| records >= last),
            Note::Ended(id, how) => tasks.get(id).is_some_and(|view| view.status.as_str() == how),
            Note::Written(key, version) => versions.contains(&(key, *version)),
            Note::Happened(seq, kind) => self.events.get(*seq as usize - 1).is_some_and(|event| event.kind == *kind),
        };
        notes.iter().filter(|note| !is_kept(note)).collect()
    }
}

/// The key that an event tells the change of.
fn changed(event: &Event) -> Option<Key> {
    let told = (event.kind == event::CONTEXT_UPDATED).then(|| event.payload.value().ok())??;
    Key::parse(told["key"].as_str()?).ok()
}

/// Does what waits, takes back what may not be begun yet, and writes where nothing was.
async fn go_on(broker: &Broker, left: &Contents) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let open: Vec<&TaskView> = left.tasks.iter().filter(|view| !view.status.is_final()).collect();
    for capability in open.iter().map(|view| view.task.capability.clone()).collect::<BTreeSet<_>>() {
        let node = NodeName::parse("afterwards").unwrap();
        let claim = Claim {
            capability,
            slots: 100,
            bulk: 100,
            node,
            wait: Duration::ZERO,
            declined: Vec::new(),
            serving: None,
        };
        loop {
            let leases = broker.tasks.claim(claim.clone()).await?;
            if leases.is_empty() {
                break;
            }
            let turns = leases.into_iter().map(|lease| {
                let outcome = Outcome::of(&lease.task, Status::Completed, None, broker.clock.now());
                let outcome = Outcome { output: json!("afterwards").into(), attempt: lease.attempt, ..outcome };
                Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None }
            });
            let ends = broker.tasks.finish(turns.collect()).await;
            wrong.extend(ends.iter().filter(|end| !matches!(end, Ok(Recorded::New))).map(|end| format!("{end:?}")));
        }
    }
    for view in open {
        broker.tasks.cancel(view.task.id.clone(), "afterwards".into()).await?;
    }
    let key = Key::parse("global.afterwards").unwrap();
    let value = Some(json!(1).into());
    let write = Write { key, expect: Expect::Version(0), value, by: "afterwards".into(), task: None };
    if !matches!(broker.states.put(vec![write]).await.remove(0)?, Put::Applied(_)) {
        wrong.push("a new key cannot be written".into());
    }
    let (kind, agent, payload) = ("test.said".into(), "afterwards".into(), json!(null).into());
    broker.events.publish(vec![NewEvent { kind, agent, run: None, task: None, payload }]).await.remove(0)?;
    Ok(wrong)
}

async fn tasks(broker: &Broker) -> Result<Vec<TaskView>> {
    let mut all: Vec<TaskView> = Vec::new();
    loop {
        let after = all.last().map(|view| view.seq);
        let page = broker.tasks.list(TaskFilter { after, ..TaskFilter::default() }).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn events(broker: &Broker) -> Result<Vec<Event>> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let from = all.last().map_or(1, |event| event.seq + 1);
        let page = broker.events.read(Default::default(), from, 1_000).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
