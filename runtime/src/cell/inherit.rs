//! What the task of a fork has from the log that it was forked from.
//!
//! Before its handler begins, the records up to the fork are copied into its own log, and the children that they name are
//! stored with the outcomes that they had. From then on it is a task like any other, for its later attempts too. A copy
//! that was cut off is gone on with: what is there already is not copied again.

use std::collections::HashMap;

use callboard_broker::Broker;
use callboard_broker::error::Result;
use callboard_broker::id::TaskId;
use callboard_broker::task::{Entry, Forked, Outcome, Status, Task};
use callboard_broker::tasks::Child;

use super::journal::Journal;

/// Records that are copied in one write, and how many bytes of them about.
const RECORDS: usize = 128;
const BYTES: usize = 4 << 20;

/// How often the own log of a fork has each record already, by kind and key.
pub(super) type Present = HashMap<(&'static str, String), usize>;

/// The records of a log that are the work of its handler.
pub(super) fn present<'a>(log: impl Iterator<Item = &'a Entry>) -> Present {
    let mut present = Present::new();
    for entry in log {
        if let Some(key) = entry.key() {
            *present.entry((entry.kind(), key.to_owned())).or_default() += 1;
        }
    }
    present
}

/// Copies what is not there yet.
///
/// # Errors
/// `NotFound` when what it was forked from is gone; what the store answers.
pub(super) async fn inherit(journal: &Journal, broker: &Broker, task: &Task, forked: &Forked) -> Result<()> {
    let log = broker.tasks.log(forked.task.clone()).await?;
    let mut present = journal.present();
    let mut missing = Vec::new();
    for entry in log.into_iter().filter(|record| record.n <= forked.upto).map(|record| record.entry) {
        let Some(key) = entry.key() else { continue };
        match present.get_mut(&(entry.kind(), key.to_owned())) {
            Some(left) if *left > 0 => *left -= 1,
            _ => missing.push(entry),
        }
    }
    let (mut entries, mut children, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in missing {
        let entry = match entry {
            Entry::Delegated { key, child, capability, input_hash } => {
                // What had not ended is delegated anew, when the handler asks for it.
                let Some((kid, outcome)) = ended(broker, task, &key, child).await? else { continue };
                let entry = Entry::Delegated { key, child: kid.id.clone(), capability, input_hash };
                bytes += kid.input.json()?.len() + outcome.output.json()?.len();
                children.push(Child::Ended(Box::new(kid), Box::new(outcome)));
                entry
            }
            entry => entry,
        };
        bytes += entry.value().map_or(Ok(0), |value| value.json().map(str::len))?;
        entries.push(entry);
        if entries.len() >= RECORDS || bytes >= BYTES {
            journal.take_over(broker, std::mem::take(&mut entries), std::mem::take(&mut children)).await?;
            bytes = 0;
        }
    }
    if !entries.is_empty() {
        journal.take_over(broker, entries, children).await?;
    }
    Ok(())
}

/// A child of the original as a child of the fork, if it has ended otherwise than by a cancel.
async fn ended(broker: &Broker, parent: &Task, key: &str, original: TaskId) -> Result<Option<(Task, Outcome)>> {
    let view = broker.tasks.get(vec![original]).await?.pop().flatten();
    let Some((task, outcome)) = view.and_then(|view| Some((view.task, view.outcome?))) else { return Ok(None) };
    if outcome.status == Status::Cancelled {
        return Ok(None);
    }
    let kid = parent.child(key, task.capability.clone(), task.input.clone(), task.created_at);
    let Task { description, priority, deadline, origins, .. } = task;
    let kid = Task { description, priority, deadline, origins, ..kid };
    let outcome = Outcome { task: kid.id.clone(), run: kid.run.clone(), parent: kid.parent.clone(), ..outcome };
    Ok(Some((kid, Outcome { generation: 1, ..outcome })))
}
