//! Waking parked tasks: each outcome goes to one of the nodes, which looks whether somebody was laid aside for it.
//!
//! The outcome is acknowledged only when nobody waits for it any more, or who does stands in the queue again; a node that
//! dies on the way leaves it to the next.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::pull::{Arrived, Pull, Pulled};
use super::room::Room;
use super::submit::Queued;
use crate::error::Result;
use crate::id::TaskId;
use crate::nats::link::Link;
use crate::nats::record::{Story, ending, parse_subject, read_end};
use crate::nats::{js::Raw, names, provision};

/// Outcomes that a node looks at together.
const BATCH: usize = 64;
/// How long an outcome is put aside, for the first time, whose waiter has a queue message: the one that is about to go
/// because it was parked, or the one that wakes it and nobody has taken yet. Doubled each time.
const AGAIN: Duration = Duration::from_millis(250);
/// The longest that an outcome is put aside.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How often it is said that nobody can wake parked tasks.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// The wait before another try, when the server or the consumer is away.
const RETRY: Duration = Duration::from_secs(1);
/// How long a look at what arrives lasts before the room is let go of, so that it can end.
const LOOK: Duration = Duration::from_secs(1);

/// Wakes until the room is gone.
pub(super) async fn wake(room: Weak<Room>) {
    let mut complained: Option<Instant> = None;
    while let Some(at) = room.upgrade() {
        let link = at.link.clone();
        drop(at);
        if let Err(error) = look(&room, link).await
            && complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY)
        {
            complained = Some(Instant::now());
            tracing::warn!(%error, "this node wakes no parked tasks; callboard provision makes what may be missing");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Hands outcomes on until the room is gone.
///
/// # Errors
/// `Denied` when this node may not have them; `Unavailable` for a server or a consumer that is away.
async fn look(room: &Weak<Room>, link: Arc<Link>) -> Result<()> {
    let mut pull = Pull::from(link.clone(), names::RUNS, names::JOIN).await?;
    loop {
        // What is there is taken first: a pull that only stands is not told that it may not.
        let (there, missing) = pull.take(BATCH).await?;
        if missing {
            provision::join(&link).await?;
        }
        let Some(at) = room.upgrade() else { return Ok(()) };
        if !there.is_empty() {
            at.hand_on(there).await;
            continue;
        }
        drop(at);
        pull.stand().await?;
        while pull.stands() {
            let arrived = tokio::time::timeout(LOOK, pull.arrive()).await;
            let Some(at) = room.upgrade() else { return Ok(()) };
            if let Ok(Arrived::Task(first)) = arrived {
                at.hand_on(vec![first]).await;
            }
        }
    }
}

impl Room {
    async fn hand_on(&self, ended: Vec<Pulled>) {
        join_all(ended.into_iter().map(|pulled| async move {
            match self.wake_for(&pulled).await {
                Ok(true) => self.ack(&pulled.ack).await,
                Ok(false) => self.nak(&pulled.ack, again(&pulled.ack)).await,
                Err(error) => {
                    tracing::debug!(subject = pulled.subject, %error, "an outcome waits for another look");
                    self.nak(&pulled.ack, RETRY).await;
                }
            }
        }))
        .await;
    }

    /// Whether nobody is left who has to be woken for this outcome.
    async fn wake_for(&self, pulled: &Pulled) -> Result<bool> {
        let Some((task, kind)) = parse_subject(&pulled.subject) else { return Ok(true) };
        let (Some(status), false) = (ending(kind), task.is_first_root()) else { return Ok(true) };
        // In most runs nobody ever was: that is one look.
        let (parked, _) = self.link.newest(names::RUNS, &names::parked_of(&task.run())).await?;
        if parked == 0 {
            return Ok(true);
        }
        let body = self.link.unpack(pulled.body.clone()).await?;
        let (subject, headers) = (pulled.subject.clone(), async_nats::HeaderMap::new());
        let raw = Raw { subject, seq: pulled.seq, at: pulled.at, headers, body, pending: 0 };
        let (outcome, _) = read_end(&raw, &task, status, None);
        let parent = match outcome.parent {
            Some(parent) => parent,
            // A worker of another kind may have left it out.
            None => match self.glance(std::slice::from_ref(&task)).await?.pop().and_then(|story| story.task) {
                Some(recorded) => match recorded.parent {
                    Some(parent) => parent,
                    None => return Ok(true),
                },
                None => return Ok(true),
            },
        };
        let (newest, subject) = self.link.newest(names::RUNS, &names::records(&parent)).await?;
        if newest == 0 {
            return Ok(true);
        }
        if parse_subject(&subject).is_some_and(|(_, kind)| ending(kind).is_some()) {
            return self.wake_heirs(&task, &parent, parked).await;
        }
        self.wake(&self.newest_glance(&parent).await?, &task).await
    }

    /// Its parent has ended: if it was retried, a later generation of it may wait for the same child. A run that is
    /// cancelled brings as many ends as it has tasks, so nothing is read here but what is `parked`, up to that record.
    async fn wake_heirs(&self, task: &TaskId, parent: &TaskId, parked: u64) -> Result<bool> {
        let records = self.link.all(names::RUNS, &names::parked_of(&task.run()), 1).await?;
        // A copy that is behind does not know yet who waits.
        if records.last().is_none_or(|newest| newest.seq < parked) {
            return Ok(false);
        }
        let mut waits: HashMap<TaskId, bool> = HashMap::new();
        for raw in &records {
            if let Some((id, _)) = parse_subject(&raw.subject) {
                waits.insert(id, Story::read([raw]).parked.is_some_and(|on| on.contains(task)));
            }
        }
        let mut all = true;
        for (heir, _) in waits.iter().filter(|(id, waits)| **waits && *id != parent) {
            if !self.has_ended(heir).await? {
                all &= self.wake(&self.newest_glance(heir).await?, task).await?;
            }
        }
        Ok(all)
    }

    /// Puts a task back into the queue that was laid aside for `ended`. Whether it need not be looked at again.
    async fn wake(&self, story: &Story, ended: &TaskId) -> Result<bool> {
        let waits = story.parked.as_ref().is_some_and(|on| on.contains(ended)) && story.outcome.is_none();
        let (true, Some(task)) = (waits, &story.task) else { return Ok(true) };
        match self.enqueue(task).await? {
            Queued::At(..) => Ok(true),
            // That may be the message that is about to go because it was parked.
            Queued::There => Ok(false),
        }
    }
}

/// How long an outcome is put aside that was delivered as often as the place of its acknowledgement says:
/// `$JS.ACK.<stream>.<consumer>.<deliveries>. ...`
fn again(ack: &str) -> Duration {
    let deliveries: u32 = ack.split('.').nth(4).and_then(|n| n.parse().ok()).unwrap_or(1);
    AGAIN.saturating_mul(1 << deliveries.saturating_sub(1).min(16)).min(AGAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_long_in_coming_is_looked_for_less_and_less_often() {
        let after = |deliveries: u32| again(&format!("$JS.ACK.CB_RUNS.join.{deliveries}.7.9.1790000000000000000.0"));
        assert_eq!([after(1), after(2), after(4)].map(|wait| wait.as_millis()), [250, 500, 2_000]);
        assert_eq!((after(50), again("")), (AGAIN_MAX, AGAIN));
    }
}
