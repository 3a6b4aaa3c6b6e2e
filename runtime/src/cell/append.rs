//! One append to a log, tried until it is known what became of it.
//!
//! A write whose answer was lost may have been applied, and then its fence is spent: the next try is refused as if
//! another attempt had written. So a refusal after such a loss is looked into: records that are ours, word for word and
//! in their place, are ours.
//!
//! A store that is busy is waited for. What was done is worth it: an effect whose result is not recorded is in doubt.

use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::task::Entry;
use callboard_broker::tasks::{Child, Fence, Tasks};
use tokio::time::Instant;

/// How often it is tried.
const TRIES: u32 = 6;
/// Wait before the second try; doubled for each further one.
const WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long it is waited for a store that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fence for the next write.
///
/// Children find a full queue full at once: those who wait for room would hold the slots in which it is made.
pub(super) async fn append(tasks: &dyn Tasks, fence: &Fence, entries: &[Entry], children: &[Child]) -> Result<Fence> {
    let (mut wait, mut unsure, mut tries, since) = (WAIT, false, 1, Instant::now());
    loop {
        let written = match tasks.append(fence.clone(), entries.to_vec(), children.to_vec()).await {
            Err(Error::Replaced) if unsure => find(tasks, fence, entries).await,
            written => written,
        };
        match written {
            Err(Error::Unknown { .. } | Error::Unavailable { .. }) if tries < TRIES => {
                (tries, unsure) = (tries + 1, true)
            }
            Err(Error::Busy { .. }) if children.is_empty() && since.elapsed() < PATIENCE => {}
            known => return known,
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
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
