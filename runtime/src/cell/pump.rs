//! What feeds the slots of a cell: the tasks of its capabilities, and the messages in its queues.
//!
//! A pump takes what the free slots allow and runs it in a set of its own, which goes with it. It claims as many tasks as
//! there are free slots, and fewer when there are fewer: what is claimed and cannot begin keeps another node from it.
//!
//! Messages can be had at once and tasks only after a word with the store, so by speed alone either would starve the
//! other. Therefore slots are given in turn: a claim is made with a slot in hand, and whoever finds all slots taken though
//! something waits for it stands in line.

use std::sync::Arc;

use callboard_agents::service::Handler;
use callboard_broker::dead_letter::Reason;
use callboard_broker::messages::{Inbox, Incoming};
use callboard_broker::subject::CapabilityName;
use callboard_broker::tasks::{Claim, Lease, MAX_CLAIM};
use ractor::ActorRef;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Duration;

use super::actor::CellMsg;
use super::answer::Answering;
use super::attempt::Attempt;
use super::heart::{Charges, Claimed};
use super::journal::Journal;
use super::pool::Pool;
use super::slot::{Permit, Slots};
use super::work::{Quit, Quits};
use crate::tree::StartCtx;

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
    pub(super) quit: watch::Receiver<Quit>,
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
}

impl Pump {
    /// Feeds from the tasks of a door, until the cell or the whole node takes nothing new.
    pub(super) async fn tasks(mut self, door: usize) {
        let mut quits = self.quits();
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
        let Quits { mut node, mut cell } = self.quits();
        let slots = self.slots.clone();
        loop {
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
                _ = cell.wait_for(|quit| *quit != Quit::No) => break,
                _ = node.wait_for(|quit| *quit == Quit::HandBack) => break,
                Some(done) = self.work.join_next_with_id() => self.ended(done),
                next = next => {
                    if let Some((incoming, slot)) = next {
                        self.answer(incoming, slot);
                    }
                }
            }
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        while let Some(done) = self.work.join_next_with_id().await {
            self.ended(done);
        }
    }

    fn attempt(&mut self, door: usize, Offer { lease, again, slot }: Offer) {
        let journal = Arc::new(Journal::new(lease.task.clone(), &lease.log, lease.fence.clone()));
        // From here on the task is written back whatever happens.
        let claim = Claimed::new(&self.pool.hub, journal);
        let slot = slot.or_else(|| self.slots.try_take());
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
        let mut quits = self.quits();
        let work = self.work.spawn(async move {
            let _hold = hold;
            let in_turn = async {
                tokio::select! {
                    slot = tokio::time::timeout(BEGIN, slots.take()) => slot.ok().flatten(),
                    () = quits.until(Quit::Finish) => None,
                }
            };
            match slot {
                Some(slot) => attempt.run(lease, slot).await,
                // Without a slot it is dropped, and so handed back.
                None => attempt.run(lease, in_turn.await?).await,
            }
        });
        self.charges.add(work.id(), number);
    }

    fn answer(&mut self, incoming: Incoming, slot: Option<Permit>) {
        let wanted = &incoming.message.capability;
        let Some(door) = self.pool.doors.iter().position(|door| door.capability == *wanted) else {
            let why = format!("agent {} does not serve {wanted}", self.pool.name);
            incoming.refuse(Reason::NoRecipient, &why);
            return;
        };
        let answering = Answering {
            pool: self.pool.clone(),
            handler: self.handlers[door].clone(),
            slots: self.slots.clone(),
            held: slot.or_else(|| self.slots.try_take()),
            quits: self.quits(),
        };
        let hold = self.seat.hold();
        self.work.spawn(async move {
            let _hold = hold;
            answering.run(incoming).await
        });
    }

    fn quits(&self) -> Quits {
        Quits { node: self.pool.hub.quit.subscribe(), cell: self.quit.clone() }
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

/// Claims for the free slots, once there are some. Empty when there was nothing for a while, or when slots are needed for
/// something else meanwhile.
async fn offers(pool: Arc<Pool>, slots: Arc<Slots>, capability: CapabilityName) -> Vec<Offer> {
    if pool.declined.was_crowded() {
        tokio::time::sleep(CLAIM_PAUSE).await;
    }
    let mut slot = slots.take().await;
    let free = (slots.free() + 1).min(MAX_CLAIM);
    let (declined, wait) = pool.declined.terms();
    let claim = Claim { capability, slots: free, node: pool.hub.name.clone(), wait, declined: declined.clone() };
    let mut claimed = pool.hub.broker.tasks.claim(claim);
    let claimed = tokio::select! {
        biased;
        claimed = &mut claimed => claimed,
        () = tokio::time::sleep(HAND) => {
            slot = None;
            tokio::select! {
                biased;
                claimed = &mut claimed => claimed,
                () = slots.until_short_of(free) => return Vec::new(),
            }
        }
    };
    match claimed {
        Ok(leases) => {
            if leases.is_empty() {
                pool.declined.settle(&declined);
            }
            let mut offer = |lease: Lease| Offer { again: declined.contains(&lease.task.id), lease, slot: slot.take() };
            leases.into_iter().map(&mut offer).collect()
        }
        Err(error) => {
            drop(slot);
            tracing::debug!(%error, "a claim was refused");
            tokio::time::sleep(CLAIM_PAUSE).await;
            Vec::new()
        }
    }
}
