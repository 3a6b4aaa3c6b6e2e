//! Handing tasks out, and what an attempt writes while it holds one.

use tokio::sync::watch;

use super::{Kept, Store};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::facts;
use crate::queue::{Batch, Due, Spent, Taken, Want};
use crate::task::{Entry, Record};
use crate::tasks::{Child, Fence, GiveBack, LEASE, Lease, Park, Revoked};

impl Store {
    /// Does what time brought by `now`, and returns the time that everything in this turn is stamped with.
    pub(in super::super) fn tick(&mut self, now: Millis) -> Millis {
        self.now = self.now.max(now);
        let now = self.now;
        for due in self.queue.due(now) {
            match due {
                Due::Expired(place) => self.spend(&place, Spent::Expired, now),
                Due::Unserved(place, version) => self.spend(&place, Spent::Unserved(version), now),
                Due::Lapsed { task, lease: _ } => {
                    if let Some(kept) = self.tasks.get_mut(&task) {
                        kept.tell(Some(Revoked::Replaced));
                    }
                }
                Due::Waited(ticket, batch) => {
                    let leases = self.hand_out(batch, now);
                    self.deliver(ticket, leases);
                }
            }
        }
        now
    }

    /// Serves parked claimers with what has become ready.
    pub(in super::super) fn feed(&mut self, now: Millis) {
        for (ticket, batch) in self.queue.feed(now) {
            let leases = self.hand_out(batch, now);
            if let Some(ticket) = ticket {
                self.deliver(ticket, leases);
            }
        }
    }

    fn deliver(&mut self, ticket: u64, leases: Vec<Lease>) {
        self.handed_out.extend(self.claimers.remove(&ticket).map(|claimer| (claimer, leases)));
    }

    /// What a claimer gets at once.
    pub(in super::super) fn claim(&mut self, want: &Want, now: Millis) -> Vec<Lease> {
        let batch = self.queue.claim(want, now);
        self.hand_out(batch, now)
    }

    fn hand_out(&mut self, batch: Batch, now: Millis) -> Vec<Lease> {
        for (place, why) in batch.spent {
            self.spend(&place, why, now);
        }
        batch.taken.into_iter().filter_map(|taken| self.lease(taken, now)).collect()
    }

    fn lease(&mut self, taken: Taken, now: Millis) -> Option<Lease> {
        let kept = self.tasks.get_mut(&taken.task)?;
        let (attempt, node) = (taken.held.attempt, taken.held.node);
        let version = taken.version;
        if taken.again || version.is_some() || !kept.log.is_empty() {
            kept.append([Entry::Claimed { attempt, node: node.clone(), version }], now);
        }
        self.events.add(facts::started(&kept.task, attempt, &node), now);
        let (revoke, revoked) = watch::channel(None);
        kept.revoke = Some(revoke);
        Some(Lease {
            task: kept.task.as_ref().clone(),
            attempt,
            log: kept.log.clone(),
            fence: Fence { task: taken.task, lease: taken.held.lease, last: kept.last() },
            revoked,
        })
    }

    /// The task of a fence, if nothing has happened that the fence has not seen.
    pub(super) fn holder(&mut self, fence: &Fence) -> Result<&mut Kept> {
        let held = self.queue.held(&fence.task, fence.lease).is_some();
        let kept = self.tasks.get_mut(&fence.task).ok_or_else(|| Error::not_found(format!("task {}", fence.task)))?;
        match &kept.outcome {
            Some(outcome) => Err(facts::after(outcome)),
            None if held && kept.last() == fence.last => Ok(kept),
            None => Err(Error::Replaced),
        }
    }

    pub(in super::super) fn extend(&mut self, fence: &Fence, now: Millis) -> Result<()> {
        let until = now + crate::clock::millis(LEASE);
        if self.queue.extend(&fence.task, fence.lease, until, now) { Ok(()) } else { Err(Error::Replaced) }
    }

    pub(in super::super) fn append(
        &mut self,
        mut fence: Fence,
        entries: Vec<Entry>,
        children: Vec<(Child, usize)>,
        now: Millis,
    ) -> Result<Fence> {
        self.holder(&fence)?;
        self.check_children(&fence.task, &children)?;
        let kept = self.holder(&fence)?;
        kept.append(entries, now);
        fence.last = kept.last();
        for (child, bytes) in children {
            self.add_child(child, bytes, now);
        }
        Ok(fence)
    }

    pub(in super::super) fn release(&mut self, back: GiveBack, now: Millis) -> Result<()> {
        let (fence, released) = back.record(now);
        let kept = self.holder(&fence)?;
        kept.append([released.clone()], now);
        kept.tell(None);
        self.queue.release(&fence.task, fence.lease, &released, now);
        Ok(())
    }
}

impl Store {
    pub(in super::super) fn park_task(&mut self, park: Park, now: Millis) -> Result<()> {
        facts::parkable(&park)?;
        let Park { fence, on } = park;
        let kept = self.holder(&fence)?;
        kept.append([Entry::Parked { on: on.clone() }], now);
        kept.tell(None);
        self.queue.lay_aside(&fence.task, fence.lease, &on, now);
        if !self.outcomes(&on).is_empty() {
            self.queue.take_up(&fence.task, now);
        }
        Ok(())
    }
}

impl Kept {
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>, at: Millis) {
        for entry in entries {
            self.log.push(Record { n: self.last() + 1, at, entry });
        }
    }

    /// Ends the claim that stands, and tells its holder why, unless it is the holder's own doing.
    pub(super) fn tell(&mut self, revoked: Option<Revoked>) {
        if let (Some(revoke), Some(_)) = (self.revoke.take(), revoked) {
            revoke.send_replace(revoked);
        }
    }
}
