//! One append to a log, tried until it is known what became of it.
//!
//! A write whose answer was lost may have been applied, and then its fence is spent: the next try is refused as if
//! another attempt had written. So a refusal after such a loss is looked into: records that are ours, word for word and
//! in their place, are ours.

use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::task::Entry;
use callboard_broker::tasks::{Child, Fence, Tasks};

/// How often it is tried.
const TRIES: u32 = 6;
/// Wait before the second try; doubled for each further one.
const WAIT: Duration = Duration::from_millis(50);

/// The fence for the next write.
pub(super) async fn append(tasks: &dyn Tasks, fence: &Fence, entries: &[Entry], children: &[Child]) -> Result<Fence> {
    let (mut wait, mut unsure) = (WAIT, false);
    for _ in 1..TRIES {
        let written = match tasks.append(fence.clone(), entries.to_vec(), children.to_vec()).await {
            Err(Error::Replaced) if unsure => find(tasks, fence, entries).await,
            written => written,
        };
        match written {
            Err(Error::Unknown { .. } | Error::Unavailable { .. }) => unsure = true,
            known => return known,
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    tasks.append(fence.clone(), entries.to_vec(), children.to_vec()).await
}

/// The fence after these entries, if they follow upon what was seen.
async fn find(tasks: &dyn Tasks, fence: &Fence, entries: &[Entry]) -> Result<Fence> {
    let log = tasks.log(fence.task.clone()).await?;
    let found = log.iter().filter(|record| record.n > fence.last).map(|record| &record.entry);
    if found.take(entries.len()).eq(entries) {
        return Ok(Fence { last: fence.last + entries.len() as u64, ..fence.clone() });
    }
    Err(Error::Replaced)
}
