//! Laying a task aside: its queue message goes, its log says what it waits for.
//!
//! No wake-up is lost: whoever parks looks at the ends after the record and before the message goes; whoever hands on an
//! end (`join`) looks at the record after the end, and while the message is still there it comes back until it is gone.
//! A crash in between leaves the message, and whoever gets it looks at both.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::room::Room;
use crate::error::Result;
use crate::facts;
use crate::id::TaskId;
use crate::nats::names;
use crate::nats::record::{Story, ending, parse_subject};
use crate::task::Entry;
use crate::tasks::Park;

/// Looks that are on their way at the same time.
const AT_ONCE: usize = 64;
/// A process that was stopped for longer than this between record and acknowledgement leaves the message to the server,
/// which hands it out again.
const FRESH: Duration = Duration::from_secs(2);

impl Room {
    pub(super) async fn park(&self, park: Park) -> Result<()> {
        facts::parkable(&park)?;
        let Park { fence, on } = park;
        let standing = self.claim_of(&fence).await?;
        self.write(&standing, vec![Entry::Parked { on: on.clone() }]).await?;
        let written = Instant::now();
        self.held.let_go(&fence.task, fence.lease);
        match self.any_ended(&on).await {
            // Somebody may have it by now, from under whom the message would go.
            Ok(false) if written.elapsed() > FRESH => {}
            Ok(false) => self.ack(&standing.ack).await,
            // It is laid aside; whoever gets the message looks again.
            Ok(true) | Err(_) => self.nak(&standing.ack, Duration::ZERO).await,
        }
        self.stirred.notify_one();
        Ok(())
    }

    /// Whether a task is laid aside and nothing that it waits for has ended.
    pub(super) async fn is_still_parked(&self, story: &Story) -> Result<bool> {
        match &story.parked {
            Some(on) => Ok(!self.any_ended(on).await?),
            None => Ok(false),
        }
    }

    /// Whether one of these tasks has its outcome, by what the leader knows: it is the last record of a task.
    async fn any_ended(&self, tasks: &[TaskId]) -> Result<bool> {
        for some in tasks.chunks(AT_ONCE) {
            let filters: Vec<String> = some.iter().map(names::records).collect();
            let newest = try_join_all(filters.iter().map(|filter| self.link.newest(names::RUNS, filter))).await?;
            let has_ended =
                |(_, subject): &(u64, String)| parse_subject(subject).is_some_and(|(_, kind)| ending(kind).is_some());
            if newest.iter().any(has_ended) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
