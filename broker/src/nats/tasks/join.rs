//! Waking parked tasks: each outcome goes to one of the nodes, which looks whether somebody was laid aside for it.
//!
//! The outcome is acknowledged only when nobody waits for it any more, or who does stands in the queue again; a node that
//! dies on the way leaves it to the next.

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::join_all;

use super::pull::{Arrived, Pull, Pulled};
use super::room::Room;
use super::submit::Queued;
use crate::error::Result;
use crate::id::TaskId;
use crate::nats::record::{Story, ending, parse_subject, read_end};
use crate::nats::{js::Raw, names, provision};

/// Outcomes that a node looks at together.
const BATCH: usize = 64;
/// How long an outcome is put aside whose waiter still has its old queue message.
const AGAIN: Duration = Duration::from_millis(250);
/// The wait before another try, when the server or the consumer is away.
const RETRY: Duration = Duration::from_secs(1);
/// How long a look at what arrives lasts before the room is let go of, so that it can end.
const LOOK: Duration = Duration::from_secs(1);

/// Wakes until the room is gone.
pub(super) async fn wake(room: Weak<Room>) {
    while let Some(at) = room.upgrade() {
        let link = at.link.clone();
        drop(at);
        match Pull::from(link, names::RUNS, names::JOIN).await {
            Ok(pull) => look(&room, pull).await,
            Err(error) => tracing::debug!(%error, "outcomes cannot be followed"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn look(room: &Weak<Room>, mut pull: Pull) {
    loop {
        if !pull.stands() && pull.stand().await.is_err() {
            return;
        }
        let arrived = tokio::time::timeout(LOOK, pull.arrive()).await;
        let Some(at) = room.upgrade() else { return };
        match arrived {
            Ok(Arrived::Task(first)) => {
                at.hand_on(vec![first]).await;
                // Where one came there may be more.
                while let Ok((more, false)) = pull.take(BATCH).await {
                    let is_last = more.len() < BATCH;
                    at.hand_on(more).await;
                    if is_last {
                        break;
                    }
                }
            }
            Ok(Arrived::NoConsumer) => {
                if let Err(error) = provision::join(&at.link).await {
                    tracing::warn!(%error, "nobody wakes parked tasks: callboard provision makes what is missing");
                }
                return;
            }
            Ok(Arrived::Over) | Err(_) => {}
        }
    }
}

impl Room {
    async fn hand_on(&self, ended: Vec<Pulled>) {
        join_all(ended.into_iter().map(|pulled| async move {
            match self.wake_for(&pulled).await {
                Ok(true) => self.ack(&pulled.ack).await,
                Ok(false) => self.nak(&pulled.ack, AGAIN).await,
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
            return self.wake_heirs(&task).await;
        }
        // Most parents never were: that is one look.
        let (parked, _) = self.link.newest(names::RUNS, &names::record(&parent, "parked")).await?;
        if parked == 0 { Ok(true) } else { self.wake(&self.newest_glance(&parent).await?, &task).await }
    }

    /// Its parent was retried, and a later generation of it may wait for the same child.
    async fn wake_heirs(&self, task: &TaskId) -> Result<bool> {
        let mut all = true;
        for story in self.run_stories(&task.run()).await?.into_values() {
            all &= self.wake(&story, task).await?;
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
