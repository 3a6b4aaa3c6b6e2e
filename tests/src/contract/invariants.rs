//! The questions that more than one check asks. Each takes what was read from a store, and says what is wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use callboard_broker::dead_letter::DeadLetter;
use callboard_broker::event::{self, Event};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Change, Key, StateEntry};
use callboard_broker::task::{Entry, Outcome, Record, Status};
use callboard_broker::tasks::TaskView;

/// How far the time of an event may lie before that of the one before it: writers on a server each have their clock, and
/// what they write at once is put in order there.
const CLOCKS_APART: u64 = 1_000;

/// Events are numbered from 1 without gaps, and their times go back no further than clocks may lie apart.
pub fn gapless(events: &[Event]) -> Result<(), String> {
    for (event, n) in events.iter().zip(1..) {
        if event.seq != n {
            return Err(format!("event {n} is numbered {}", event.seq));
        }
    }
    let mut latest = 0;
    for event in events {
        if event.time + CLOCKS_APART < latest {
            return Err(format!("event {} is {} ms older than one before", event.seq, latest - event.time));
        }
        latest = latest.max(event.time);
    }
    Ok(())
}

/// The events of tasks say exactly what the tasks say: created once, ended once and only if ended, never started after
/// that, a result only where there is one.
pub fn told(tasks: &[TaskView], events: &[Event]) -> Result<(), String> {
    let mut stories: HashMap<&TaskId, Vec<&str>> = HashMap::new();
    for event in events {
        if let Some(task) = event.task.as_ref().filter(|_| event.kind.starts_with("task.")) {
            stories.entry(task).or_default().push(&event.kind);
        }
    }
    for view in tasks {
        let story = stories.remove(&view.task.id).unwrap_or_default();
        let end = match view.status {
            Status::Pending | Status::InProgress => None,
            Status::Completed => Some(event::TASK_COMPLETED),
            Status::Failed => Some(event::TASK_FAILED),
            Status::Cancelled => Some(event::TASK_CANCELLED),
            Status::Expired => Some(event::TASK_EXPIRED),
            Status::Skipped => Some(event::TASK_SKIPPED),
        };
        let middle = story.strip_prefix(&[event::TASK_CREATED]);
        let middle = middle.and_then(|rest| match end {
            Some(end) => rest.strip_suffix(&[end]),
            None => Some(rest),
        });
        if middle.is_none_or(|middle| middle.iter().any(|kind| *kind != event::TASK_STARTED)) {
            return Err(format!("{} is {} and its events are {story:?}", view.task.id, view.status));
        }
    }
    match stories.into_iter().next() {
        None => Ok(()),
        Some((task, story)) => Err(format!("there is no task {task}, but there are events {story:?}")),
    }
}

/// Every task is in exactly one state: it waits, somebody holds it, or it has one outcome, which is its own.
pub fn accounted(tasks: &[TaskView]) -> Result<(), String> {
    for view in tasks {
        let outcome = view.outcome.as_ref();
        let sound = match view.status {
            Status::Pending => outcome.is_none() && view.node.is_none(),
            Status::InProgress => outcome.is_none() && view.node.is_some() && view.attempt > 0,
            status => outcome.is_some_and(|o| o.status == status && o.task == view.task.id) && view.node.is_none(),
        };
        if !sound {
            return Err(format!("{view:?}"));
        }
    }
    Ok(())
}

/// The changes of one key follow from each other: each names the value before it, and versions only increase.
pub fn chained(changes: &[Change]) -> Result<(), String> {
    for pair in changes.windows(2) {
        if pair[1].previous != pair[0].value {
            return Err(format!("change {} does not follow from change {}", pair[1].sequence, pair[0].sequence));
        }
        if pair[1].version <= pair[0].version || pair[1].sequence <= pair[0].sequence {
            return Err(format!("version {} follows version {}", pair[1].version, pair[0].version));
        }
    }
    match changes.first() {
        Some(first) if first.previous.is_some() => Err("the first change names a value before it".into()),
        _ => Ok(()),
    }
}

/// All entries after the first `sequence` of `changes`, replayed from nothing.
pub fn replayed(changes: &[Change], sequence: u64) -> BTreeMap<Key, (Payload, u64)> {
    let mut entries = BTreeMap::new();
    for change in changes.iter().filter(|change| change.sequence <= sequence) {
        match &change.value {
            Some(value) => entries.insert(change.key.clone(), (value.clone(), change.version)),
            None => entries.remove(&change.key),
        };
    }
    entries
}

/// Entries in the form of [`replayed`].
pub fn entries(entries: Vec<StateEntry>) -> BTreeMap<Key, (Payload, u64)> {
    entries.into_iter().map(|entry| (entry.key, (entry.value, entry.version))).collect()
}

/// What a wing was seen to do and to acknowledge, in order.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A task is stored.
    Accepted {
        /// Which.
        task: TaskId,
    },
    /// Somebody has a claim.
    Claimed {
        /// On which task.
        task: TaskId,
        /// The claim.
        lease: u64,
    },
    /// Somebody showed a claim and wrote.
    Wrote {
        /// To the log of which task.
        task: TaskId,
        /// The claim.
        lease: u64,
        /// What.
        kinds: Vec<&'static str>,
    },
    /// An outcome is recorded.
    Ended {
        /// The outcome.
        outcome: Box<Outcome>,
        /// The claim that was shown, if any.
        lease: Option<u64>,
        /// Whether the task is a dead letter as well.
        is_dead: bool,
    },
    /// These are cancelled.
    Cancelled {
        /// Parents first.
        tasks: Vec<TaskId>,
    },
}

/// Every write of an attempt is of the newest claim, and none comes after the outcome.
pub fn fenced(seen: &[Seen]) -> Result<(), String> {
    let (mut newest, mut over) = (HashMap::new(), BTreeSet::new());
    let check = |newest: &HashMap<TaskId, u64>, task: &TaskId, lease: u64| match newest.get(task) {
        Some(held) if *held != lease => Err(format!("claim {lease} of {task} wrote after claim {held} began")),
        _ => Ok(()),
    };
    for one in seen {
        match one {
            Seen::Claimed { task, lease } => drop(newest.insert(task.clone(), *lease)),
            Seen::Wrote { task, lease, kinds } => {
                check(&newest, task, *lease)?;
                if over.contains(task) {
                    return Err(format!("{kinds:?} after the outcome of {task}"));
                }
            }
            Seen::Ended { outcome, lease, .. } => {
                lease.map_or(Ok(()), |lease| check(&newest, &outcome.task, lease))?;
                over.insert(outcome.task.clone());
            }
            Seen::Cancelled { tasks } => over.extend(tasks.iter().cloned()),
            Seen::Accepted { .. } => {}
        }
    }
    Ok(())
}

/// What was acknowledged is there: each accepted task, and each outcome as it was acknowledged, one for each task.
pub fn kept(seen: &[Seen], tasks: &[TaskView]) -> Result<(), String> {
    let views: HashMap<_, _> = tasks.iter().map(|view| (&view.task.id, view)).collect();
    let find = |task: &TaskId| views.get(task).ok_or_else(|| format!("{task} was accepted and is not there"));
    for one in seen {
        match one {
            Seen::Accepted { task } => drop(find(task)?),
            Seen::Ended { outcome: told, lease, .. } => {
                let there = find(&told.task)?.outcome.as_ref();
                let same = |o: &Outcome| (o.status, &o.output, &o.error) == (told.status, &told.output, &told.error);
                // A person's answer is completed by the wing.
                let by = |o: &Outcome| lease.is_none() || (o.attempt, &o.node) == (told.attempt, &told.node);
                if !there.is_some_and(|o| same(o) && by(o)) {
                    return Err(format!("acknowledged was {told:?}, recorded is {there:?}"));
                }
            }
            Seen::Cancelled { tasks } => {
                for task in tasks {
                    let status = find(task)?.status;
                    if status != Status::Cancelled {
                        return Err(format!("{task} was cancelled and is {status}"));
                    }
                }
            }
            Seen::Claimed { .. } | Seen::Wrote { .. } => {}
        }
    }
    Ok(())
}

/// Nothing of a cancelled tree records a success afterwards.
pub fn stays_cancelled(seen: &[Seen], tasks: &[TaskView]) -> Result<(), String> {
    let above: HashMap<_, _> = tasks.iter().map(|view| (&view.task.id, &view.task.ancestors)).collect();
    let mut cancelled = BTreeSet::new();
    for one in seen {
        match one {
            Seen::Cancelled { tasks } => cancelled.extend(tasks),
            Seen::Ended { outcome, .. } if outcome.status == Status::Completed => {
                let mut line = above.get(&outcome.task).into_iter().copied().flatten().chain([&outcome.task]);
                if let Some(top) = line.find(|task| cancelled.contains(task)) {
                    return Err(format!("{} succeeded after {top} was cancelled", outcome.task));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Nothing is left to do: every task has ended.
pub fn quiet(tasks: &[TaskView]) -> Result<(), String> {
    match tasks.iter().find(|view| !view.status.is_final()) {
        Some(view) if view.parked => Err(format!("{} is parked for ever", view.task.id)),
        Some(view) => Err(format!("{} is {} for ever", view.task.id, view.status)),
        None => Ok(()),
    }
}

/// The dead letters of tasks are those that expired or failed too often, each once.
pub fn buried(seen: &[Seen], tasks: &[TaskView], letters: &[DeadLetter]) -> Result<(), String> {
    let mut dead = BTreeSet::new();
    for task in letters.iter().filter_map(|letter| letter.task.as_ref()) {
        if !dead.insert(task) {
            return Err(format!("{task} is a dead letter twice"));
        }
    }
    let too_often = seen.iter().filter_map(|one| match one {
        Seen::Ended { outcome, is_dead: true, .. } => Some(&outcome.task),
        _ => None,
    });
    let expired = tasks.iter().filter(|view| view.status == Status::Expired).map(|view| &view.task.id);
    if let Some(missing) = too_often.chain(expired).find(|task| !dead.contains(task)) {
        return Err(format!("{missing} came to nothing and is no dead letter"));
    }
    let ended = |view: &&TaskView| !matches!(view.status, Status::Failed | Status::Expired);
    match tasks.iter().filter(ended).find(|view| dead.contains(&view.task.id)) {
        Some(view) => Err(format!("{} is {} and a dead letter", view.task.id, view.status)),
        None => Ok(()),
    }
}

/// An effect that was done to the world.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its name, which no other effect has.
    pub name: String,
    /// The key that the other side knows repeats by; none: it must not be repeated.
    pub key: Option<String>,
}

/// An effect without a key was done at most once, and repeats of one with a key carry the first.
pub fn done_once(done: &[Done]) -> Result<(), String> {
    let mut first: HashMap<&str, &Option<String>> = HashMap::new();
    for Done { name, key } in done {
        match (first.insert(name, key), key) {
            (None, _) => {}
            (Some(_), None) => return Err(format!("effect {name} was repeated")),
            (Some(before), key) if before == key => {}
            (Some(before), key) => return Err(format!("effect {name} was repeated with {key:?} after {before:?}")),
        }
    }
    Ok(())
}

/// In the logs of all generations of one task, no effect has a result without an intent before it.
pub fn intended(logs: &[Vec<Record>]) -> Result<(), String> {
    let mut intents = BTreeSet::new();
    for record in logs.iter().flatten() {
        match &record.entry {
            Entry::Intent { name, .. } => drop(intents.insert(name)),
            Entry::Effect { name, .. } if !intents.contains(name) => {
                return Err(format!("effect {name} has a result and no intent"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A counter has every addition that was acknowledged, and none that was not begun.
pub fn counted(value: u64, (begun, acknowledged): (u64, u64)) -> Result<(), String> {
    if (acknowledged..=begun).contains(&value) {
        return Ok(());
    }
    Err(format!("the counter is {value}, {acknowledged} additions were acknowledged and {begun} begun"))
}
