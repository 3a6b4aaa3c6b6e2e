//! What happens to tasks though nobody calls: lapses, ends of delays, deadlines, and what other processes write.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::deadlines::{Aside, Deadlines};
use super::held::Held;
use super::hub::Hint;
use super::room::{Appended, Room, mark_of, text};
use crate::error::Result;
use crate::id::TaskId;
use crate::nats::names;
use crate::nats::record::{LAPSED, Lapsed, Noted, STARTED, ending, parse_subject};
use crate::queue::Spent;
use crate::task::Status;
use crate::tasks::Revoked;

/// How often the queue is looked at for tasks that other processes have put there.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// To find what is parked the server goes through the subjects of all that ever happened: so long as that takes, times
/// this, it is left alone afterwards, so that no history costs it more than this part of its time.
const REST: u32 = 50;
/// The longest that it is left alone, which is how late the end of a parked task may be seen.
const REST_MAX: Duration = Duration::from_secs(60);
/// Messages read in one look.
const PAGE: usize = 256;
/// Looks for what was ever parked until the queue is looked at again: a process that begins has all of it before it.
const PAGES: usize = 4;
/// Parked tasks past their deadline that are looked at until the queue is looked at again: most have ended long ago.
const ASIDES: usize = 64;
/// How often an expiry may find that somebody has just written.
const TRIES: usize = 8;

/// Starts the helpers of a room; they end with it. Deadlines of the whole queue are kept by processes that work.
pub(super) fn start(room: &Arc<Room>, works: bool) {
    tokio::spawn(keep_time(Arc::downgrade(room)));
    tokio::spawn(hear(Arc::downgrade(room), room.hub.all()));
    if works {
        tokio::spawn(sweep(Arc::downgrade(room)));
        tokio::spawn(super::join::wake(Arc::downgrade(room)));
    }
}

/// Lapses claims without a sign of life, and ends delays to the millisecond; the server's own timers are the net for a
/// process that dies.
async fn keep_time(room: Weak<Room>) {
    loop {
        let Some(at) = room.upgrade() else { return };
        for held in at.held.lapsed(Instant::now()) {
            at.lapse(held).await;
        }
        for ack in at.held.due(at.now()) {
            at.nak(&ack, Duration::ZERO).await;
        }
        let next = at.held.next(&at.link.clock);
        let stirred = at.clone();
        drop(at);
        until(&stirred, next).await;
    }
}

/// Until something changed, or `next`. The room is let go of now and then, so that it can end.
async fn until(room: &Arc<Room>, next: Option<Instant>) {
    let far = Instant::now() + Duration::from_secs(1);
    let next = next.map_or(far, |next| next.min(far));
    tokio::select! {
        () = room.stirred.notified() => {}
        () = tokio::time::sleep_until(next) => {}
    }
}

impl Room {
    async fn lapse(&self, held: Held) {
        let (id, mark) = (&held.task.id, self.mark());
        let by = self.link.node.clone();
        let document = Lapsed { writer: mark.clone(), at: self.now(), node: Some(held.node.clone()), by, death: None };
        let appended = match text(&document) {
            Ok(document) => self.append_record(id, LAPSED, held.last, document, &mark).await,
            Err(error) => Err(error),
        };
        held.revoke.send_replace(Some(Revoked::Replaced));
        match appended {
            Ok(Appended::At(_)) => self.nak(&held.ack, Duration::ZERO).await,
            Ok(Appended::Conflict) => {}
            Err(error) => tracing::warn!(task = %id, %error, "a claim lapsed and could not be given back"),
        }
    }
}

/// What other processes write about tasks that this one holds.
async fn hear(room: Weak<Room>, mut hints: broadcast::Receiver<Hint>) {
    loop {
        let hint = match hints.recv().await {
            Ok(hint) => hint,
            // The next sign of life looks at every claim.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(room) = room.upgrade() else { return };
        let matters = ending(&hint.kind).is_some() || matches!(hint.kind.as_str(), STARTED | LAPSED | "claimed");
        let is_news = matters && room.held.seen(&hint.task).is_some_and(|seen| hint.seq > seen);
        let ends_ours = || is_cancel(&hint) && room.held.is_above(&hint.task);
        if !is_news && !ends_ours() {
            continue;
        }
        if let Err(error) = room.heard(&hint).await {
            tracing::debug!(task = %hint.task, %error, "a hint could not be followed");
        }
    }
}

impl Room {
    async fn heard(&self, hint: &Hint) -> Result<()> {
        let Some(raw) = self.link.at(names::RUNS, hint.seq).await? else { return Ok(()) };
        if is_cancel(hint) {
            self.held.revoke_below(&hint.task);
        }
        if !self.is_ours(&mark_of(&raw)) {
            self.held.revoke(&hint.task, ending(&hint.kind).map_or(Revoked::Replaced, Revoked::Ended));
        }
        Ok(())
    }
}

fn is_cancel(hint: &Hint) -> bool {
    ending(&hint.kind) == Some(Status::Cancelled)
}

/// Keeps the deadlines of all queued tasks. Several processes may do it at once: an outcome is recorded once.
async fn sweep(room: Weak<Room>) {
    let (mut deadlines, mut aside, mut look_aside) = (Deadlines::new(), Aside::default(), Instant::now());
    loop {
        let Some(at) = room.upgrade() else { return };
        if let Err(error) = at.note_deadlines(&mut deadlines).await {
            tracing::debug!(%error, "the queue could not be looked at");
        }
        at.expire_queued(&mut deadlines).await;
        let began = Instant::now();
        let mut more = false;
        if began >= look_aside {
            match at.note_aside(&mut aside).await {
                Ok(true) => more = true,
                Ok(false) => look_aside = Instant::now() + rest(Some(began.elapsed())),
                Err(error) => {
                    look_aside = Instant::now() + rest(None);
                    tracing::debug!(%error, "parked tasks could not be looked at");
                }
            }
        }
        at.expire_aside(&mut aside).await;
        let next =
            deadlines.next().into_iter().chain(aside.next()).min().map(|deadline| at.link.clock.instant(deadline));
        let far = Instant::now() + if more { Duration::ZERO } else { SWEEP_EVERY };
        let next = next.map_or(far, |next| next.min(far));
        tokio::select! {
            () = at.queued_here.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// How long after a look the next one is due; none: it came to nothing, and says nothing of what one takes.
fn rest(took: Option<Duration>) -> Duration {
    took.unwrap_or_default().saturating_mul(REST).clamp(SWEEP_EVERY, REST_MAX)
}

impl Room {
    async fn note_deadlines(&self, deadlines: &mut Deadlines) -> Result<()> {
        loop {
            let page = self.link.page(names::TASKS, names::ALL, deadlines.read_from(), PAGE).await?;
            let more = page.last().is_some_and(|raw| raw.pending > 0);
            for raw in page {
                // What cannot be read is for whoever pulls it.
                let entry = super::entry::read(&raw.subject, &raw.body, raw.at).ok();
                deadlines.read(raw.seq, entry.map(|entry| (entry.task.deadline, entry.task.id)));
            }
            if !more {
                deadlines.all_read();
                return Ok(());
            }
        }
    }

    /// Whether there is more to note.
    async fn note_aside(&self, aside: &mut Aside) -> Result<bool> {
        for _ in 0..PAGES {
            let page = self.link.page(names::RUNS, names::PARKED, aside.read_from(), PAGE).await?;
            let more = page.last().is_some_and(|raw| raw.pending > 0);
            for raw in page {
                aside.read(raw.seq, serde_json::from_slice::<Noted>(&raw.body).ok().and_then(|noted| noted.deadline));
            }
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn expire_queued(&self, deadlines: &mut Deadlines) {
        let now = self.now();
        while let Some((task, seq)) = deadlines.due(now) {
            if let Err(error) = self.expire(&task, seq).await {
                tracing::warn!(%task, %error, "a task past its deadline could not be ended");
                deadlines.later(now + crate::clock::millis(SWEEP_EVERY), task, seq);
                return;
            }
        }
    }

    async fn expire_aside(&self, aside: &mut Aside) {
        let now = self.now();
        for _ in 0..ASIDES {
            let Some(seq) = aside.due(now) else { return };
            if let Err(error) = self.expire_parked(seq).await {
                tracing::warn!(seq, %error, "a parked task past its deadline could not be ended");
                aside.later(now + crate::clock::millis(SWEEP_EVERY), seq);
                return;
            }
        }
    }

    /// Ends the task that was parked with this record. Of a run that was removed there is none.
    async fn expire_parked(&self, record: u64) -> Result<()> {
        let raw = self.link.at(names::RUNS, record).await?;
        let Some((task, _)) = raw.as_ref().and_then(|raw| parse_subject(&raw.subject)) else { return Ok(()) };
        if self.has_ended(&task).await? {
            return Ok(());
        }
        self.expire(&task, 0).await
    }

    async fn expire(&self, id: &TaskId, seq: u64) -> Result<()> {
        for _ in 0..TRIES {
            let story = self.story(id).await?;
            if story.outcome.is_some() {
                return Ok(());
            }
            let queued = self.queued(id).await?;
            let task = story.task.clone().or_else(|| queued.map(|(task, ..)| task));
            let Some(task) = task.filter(|task| task.deadline <= self.now()) else { return Ok(()) };
            if self.end_unclaimed(&task, &story, Some(Spent::Expired), seq).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_rests_as_a_look_takes_and_neither_for_nothing_nor_for_ever() {
        let after = |ms: u64| rest(Some(Duration::from_millis(ms))).as_millis();
        assert_eq!([0, 20, 21, 400, 1_200, 30_000].map(after), [1_000, 1_000, 1_050, 20_000, 60_000, 60_000]);
        assert_eq!(rest(None), SWEEP_EVERY, "one that failed after a long wait");
    }
}
