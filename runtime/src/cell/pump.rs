//! What feeds the slots of a cell: the tasks of its capabilities, and the messages in its queues.
//!
//! A pump takes what the free slots allow and runs it in a set of its own, which goes with it. It claims as many tasks as
//! there are free slots, and fewer when there are fewer: what is claimed and cannot begin keeps another node from it.
//!
//! Messages can be had at once and tasks only after a word with the store, so by speed alone either would starve the
//! other. Therefore slots are given in turn: a claim is made with a slot in hand, and whoever finds all slots taken though
//! something waits for it stands in line. An ask whose chain came through this agent does not stand there: who is before
//! it in its chain holds a slot and waits for it, so it is lent one.

use std::sync::Arc;

use callboard_agents::service::Handler;
use callboard_broker::dead_letter::Reason;
use callboard_broker::messages::{Inbox, Incoming};
use callboard_broker::subject::CapabilityName;
use callboard_broker::suspect;
use callboard_broker::task::Priority;
use callboard_broker::tasks::{Claim, Lease, MAX_CLAIM};
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Duration;

use super::actor::CellMsg;
use super::answer::Answering;
use super::attempt::Attempt;
use super::bulk::Share;
use super::heart::{Charges, Claimed, Work};
use super::journal::Journal;
use super::pool::Pool;
use super::quarantine::{self, Admission};
use super::quit::{Quit, Quits, Told};
use super::slot::{Permit, Slots};
use crate::tree::StartCtx;

/// Asks that run at a time in slots lent to them, for each queue: they came from somebody who holds one here, and waits.
const MAX_LENT: usize = 256;
/// How long a slot is kept for the answer to a claim, before the claim waits without one.
const HAND: Duration = Duration::from_millis(5);
/// How long a task that was claimed may wait for a slot before it is handed back.
const BEGIN: Duration = Duration::from_millis(100);
/// Wait after a claim that the store refused, and when tasks are declined faster than they are remembered.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);

/// Feeds the slots of one cell from one queue.
pub(super) struct Pump {
    pub(super) pool: Arc<Pool>,
    pub(super) handlers: Vec<Arc<dyn Handler>>,
    pub(super) slots: Arc<Slots>,
    /// Whether the cell is going.
    pub(super) quit: Told,
    pub(super) cell: ActorRef<CellMsg>,
    /// Where the cell sits in the tree: a request that cannot be ended is reported there.
    pub(super) seat: StartCtx,
    pub(super) charges: Charges,
    pub(super) work: JoinSet<Option<String>>,
}

/// A task that was claimed.
struct Offer {
    lease: Lease,
    /// Whether it is one that this pool had declined and nobody else is left to take.
    again: bool,
    slot: Option<Permit>,
    /// Of the slots for bulk, if it is that.
    share: Option<Share>,
    admission: Admission,
}

impl Pump {
    /// Feeds from the tasks of a door, until the cell or the whole node takes nothing new.
    pub(super) async fn tasks(mut self, door: usize) {
        let quits = self.quits();
        let capability = self.pool.doors[door].capability.clone();
        let mut next = Box::pin(offers(self.pool.clone(), self.slots.clone(), capability.clone()));
        loop {
            tokio::select! {
                biased;
                () = quits.until(Quit::Finish) => break,
                Some(done) = self.work.join_next_with_id() => self.ended(done),
                found = &mut next => {
                    found.into_iter().for_each(|offer| self.attempt(door, offer));
                    next.set(offers(self.pool.clone(), self.slots.clone(), capability.clone()));
                }
            }
        }
        drop(next);
        self.finish().await;
    }

    /// Feeds from a queue of messages, until the cell goes. A node that drains answers until then, because what it is
    /// finishing may ask.
    pub(super) async fn messages(mut self, inbox: Arc<dyn Inbox>) {
        let Quits { node, cell } = self.quits();
        let (slots, name) = (self.slots.clone(), self.pool.name.clone());
        let lent = Arc::new(Semaphore::new(MAX_LENT));
        loop {
            // Whoever on its chain holds a slot here waits for it.
            let through = async {
                let Ok(place) = lent.clone().acquire_owned().await else { return std::future::pending().await };
                slots.until_full().await;
                (inbox.next_through(&name).await, place)
            };
            let next = async {
                let slot = slots.turn(|| inbox.fill().waiting > 0).await;
                tokio::select! {
                    biased;
                    incoming = inbox.next() => Some((incoming, slot)),
                    // Another cell was quicker, or another pump of this one.
                    () = std::future::ready(()), if slot.is_some() => None,
                    () = slots.until_full() => None,
                }
            };
            tokio::select! {
                biased;
                () = cell.until(Quit::Finish) => break,
                () = node.until(Quit::HandBack) => break,
                Some(done) = self.work.join_next_with_id() => self.ended(done),
                next = next => {
                    if let Some((incoming, slot)) = next {
                        match slot.or_else(|| slots.try_take()) {
                            // It was quicker than the news that the last slot was taken, by one who waits for it.
                            None if incoming.came_through(&name) => self.lend(incoming, lent.clone().try_acquire_owned()),
                            held => self.answer(incoming, slots.clone(), held, None),
                        }
                    }
                }
                (incoming, place) = through => self.lend(incoming, Ok(place)),
            }
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        while let Some(done) = self.work.join_next_with_id().await {
            self.ended(done);
        }
    }

    fn attempt(&mut self, door: usize, Offer { lease, again, slot, share, admission }: Offer) {
        let stats = self.pool.hub.stats.clone();
        let journal = Arc::new(Journal::new(lease.task.clone(), &lease.log, lease.fence.clone(), stats));
        // From here on the task is written back whatever happens.
        let work = Work { agent: self.pool.name.clone(), revoked: lease.revoked.clone() };
        let claim = Claimed::new(&self.pool.hub, journal, work);
        let member = match admission {
            Admission::Free => None,
            Admission::Suspect(member) => Some(member),
            Admission::Back => return drop(claim),
        };
        // A suspect needs none while it waits for others to go, who may need one for that.
        let is_bulk = is_bulk(&lease);
        let share = share.or_else(|| self.slots.bulk.take(usize::from(is_bulk)).pop());
        let may_begin = member.is_none() && share.is_some() == is_bulk;
        let slot = if may_begin { slot.or_else(|| self.slots.try_take()) } else { None };
        self.slots.note_begun();
        let (number, slots) = (claim.lease(), self.slots.clone());
        let attempt = Attempt {
            pool: self.pool.clone(),
            handler: self.handlers[door].clone(),
            slots: self.slots.clone(),
            quits: self.quits(),
            claim,
            last_resort: again,
        };
        let hold = self.seat.hold();
        let quits = self.quits();
        // What frees a slot for a suspect is the end of asks, for which nobody puts it off.
        let wait = if member.is_some() { quarantine::PATIENCE } else { BEGIN };
        let work = self.work.spawn(async move {
            let _hold = hold;
            if let Some(member) = &member
                && let Err(later) = member.until_alone(&attempt.pool.hub.heart, &quits).await
            {
                attempt.claim.put_off(later);
                return None;
            }
            let slot = match slot {
                Some(slot) => Some(slot.with(share)),
                None => tokio::select! {
                    biased;
                    slot = tokio::time::timeout(wait, slots.take_for(is_bulk, share)) => slot.ok().flatten(),
                    () = quits.until(Quit::Finish) => None,
                },
            };
            // Without a slot it is dropped, and so handed back.
            attempt.run(lease, slot?).await
        });
        self.charges.add(work.id(), number);
    }

    /// Answers in a slot beside those of the cell; without a place for that it stands in line as any other.
    fn lend(&mut self, incoming: Incoming, place: Result<OwnedSemaphorePermit, TryAcquireError>) {
        let (slots, held) = match &place {
            Err(_) => (self.slots.clone(), None),
            Ok(_) => {
                let lone = self.slots.beside();
                let held = lone.try_take();
                (lone, held)
            }
        };
        self.answer(incoming, slots, held, place.ok());
    }

    fn answer(
        &mut self,
        incoming: Incoming,
        slots: Arc<Slots>,
        held: Option<Permit>,
        lent: Option<OwnedSemaphorePermit>,
    ) {
        let wanted = &incoming.message.capability;
        let Some(door) = self.pool.doors.iter().position(|door| door.capability == *wanted) else {
            let why = format!("agent {} does not serve {wanted}", self.pool.name);
            incoming.refuse(Reason::NoRecipient, &why);
            return;
        };
        let answering = Answering {
            pool: self.pool.clone(),
            handler: self.handlers[door].clone(),
            slots,
            held,
            quits: self.quits(),
        };
        let hold = self.seat.hold();
        self.work.spawn(async move {
            let _kept = (hold, lent);
            answering.run(incoming).await
        });
    }

    fn quits(&self) -> Quits {
        Quits { node: self.pool.hub.quit.told(), cell: self.quit.clone() }
    }

    fn ended(&mut self, done: Result<(Id, Option<String>), JoinError>) {
        let (work, fatal) = match done {
            Ok(ended) => ended,
            // It panicked outside of the agent's code, or in what that code left to be dropped.
            Err(panic) => (panic.id(), None),
        };
        self.charges.remove(work);
        if let Some(reason) = fatal {
            // Refused only when the cell has ended already.
            let _ = self.cell.cast(CellMsg::Rebuild(reason));
        }
    }
}

fn is_bulk(lease: &Lease) -> bool {
    lease.task.priority == Priority::Bulk
}

/// Claims for the free slots, once there are some. Empty when there was nothing for a while, or when slots are needed for
/// something else meanwhile.
async fn offers(pool: Arc<Pool>, slots: Arc<Slots>, capability: CapabilityName) -> Vec<Offer> {
    if pool.declined.was_crowded() {
        tokio::time::sleep(CLAIM_PAUSE).await;
    }
    let quarantine = &pool.hub.quarantine;
    quarantine.until_open().await;
    let mut slot = slots.take().await;
    let free = quarantine.worth((slots.free() + 1).min(MAX_CLAIM));
    let mut shares = slots.bulk.take(free);
    let bulk = shares.len();
    let (declined, wait) = pool.declined.terms();
    let (node, serving) = (pool.hub.name.clone(), pool.options.serving());
    let claim = Claim { capability, slots: free, bulk, node, wait, declined: declined.clone(), serving };
    let mut claimed = pool.hub.broker.tasks.claim(claim);
    let claimed = tokio::select! {
        biased;
        claimed = &mut claimed => claimed,
        () = quarantine.until_closed() => return Vec::new(),
        () = slots.bulk.until_room(), if bulk == 0 => return Vec::new(),
        () = tokio::time::sleep(HAND) => {
            slot = None;
            shares.clear();
            tokio::select! {
                biased;
                claimed = &mut claimed => claimed,
                () = quarantine.until_closed() => return Vec::new(),
                () = slots.until_short_of(free) => return Vec::new(),
                () = slots.bulk.until_room(), if bulk == 0 => return Vec::new(),
            }
        }
    };
    match claimed {
        Ok(leases) => {
            // Of bulk it was told nothing while it had no room for it.
            if leases.is_empty() && bulk > 0 {
                pool.declined.settle(&declined);
            }
            let suspicions: Vec<_> = leases.iter().map(|lease| suspect::suspicion(&lease.log)).collect();
            let mut offer = |(lease, admission): (Lease, Admission)| {
                let again = declined.contains(&lease.task.id);
                let share = if is_bulk(&lease) { shares.pop() } else { None };
                Offer { again, lease, slot: slot.take(), share, admission }
            };
            leases.into_iter().zip(quarantine.admit(&suspicions)).map(&mut offer).collect()
        }
        Err(error) => {
            drop((slot, shares));
            tracing::debug!(%error, "a claim was refused");
            tokio::time::sleep(CLAIM_PAUSE).await;
            Vec::new()
        }
    }
}
