//! The questions that more than one check asks. Each takes what was read from a store, and says what is wrong with it.

use std::collections::{BTreeMap, HashMap};

use callboard_broker::event::{self, Event};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Change, Key, StateEntry};
use callboard_broker::task::Status;
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
