//! What feeds the slots of a cell: the tasks of its capabilities, and the messages in its queues.
//!
//! A pump takes what the free slots allow and runs it in a set of its own, which goes with it. It claims exactly as many
//! tasks as there are free slots, and fewer as soon as there are fewer: what is claimed and cannot begin would keep
//! another node from it.

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
use super::slot::Slots;
use super::work::Quit;
use crate::tree::StartCtx;

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

/// A task that was claimed, and whether it is one that this pool had declined and nobody else is left to take.
struct Offer {
    lease: Lease,
    again: bool,
}

impl Pump {
    /// Feeds from the tasks of a door, until the cell or the whole node takes nothing new.
    pub(super) async fn tasks(mut self, door: usize) {
        let (mut quit, mut node_quits) = (self.quit.clone(), self.node_quits());
        let capability = self.pool.doors[door].capability.clone();
        let mut next = Box::pin(offers(self.pool.clone(), self.slots.clone(), capability.clone()));
        loop {
            tokio::select! {
                biased;
                _ = quit.wait_for(|quit| *quit != Quit::No) => break,
                _ = node_quits.wait_for(|quit| *quit != Quit::No) => break,
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
        let (mut quit, mut node_quits) = (self.quit.clone(), self.node_quits());
        let slots = self.slots.clone();
        loop {
            let room = slots.free() > 0;
            tokio::select! {
                biased;
                _ = quit.wait_for(|quit| *quit != Quit::No) => break,
                _ = node_quits.wait_for(|quit| *quit == Quit::HandBack) => break,
                Some(done) = self.work.join_next_with_id() => self.ended(done),
                () = slots.until_full(), if room => {}
                () = slots.until_free(), if !room => {}
                incoming = inbox.next(), if room => self.answer(incoming),
            }
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        while let Some(done) = self.work.join_next_with_id().await {
            self.ended(done);
        }
    }

    fn attempt(&mut self, door: usize, Offer { lease, again }: Offer) {
        let journal = Arc::new(Journal::new(lease.task.clone(), &lease.log, lease.fence.clone()));
        // From here on the task is written back whatever happens.
        let claim = Claimed::new(&self.pool.hub, journal);
        let Some(slot) = self.slots.try_take() else {
            // Another door's task or message was quicker, so this one is handed back.
            return;
        };
        let number = claim.lease();
        let attempt = Attempt {
            pool: self.pool.clone(),
            handler: self.handlers[door].clone(),
            slots: self.slots.clone(),
            quit: self.node_quits(),
            claim,
            slot,
            last_resort: again,
        };
        let hold = self.seat.hold();
        let work = self.work.spawn(async move {
            let _hold = hold;
            attempt.run(lease).await
        });
        self.charges.add(work.id(), number);
    }

    fn answer(&mut self, incoming: Incoming) {
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
            held: self.slots.try_take(),
            quit: self.node_quits(),
        };
        let hold = self.seat.hold();
        self.work.spawn(async move {
            let _hold = hold;
            answering.run(incoming).await
        });
    }

    fn node_quits(&self) -> watch::Receiver<Quit> {
        self.pool.hub.quit.subscribe()
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

/// Claims for the free slots, once there are some. Empty when there was nothing for a while, or when slots were taken
/// meanwhile.
async fn offers(pool: Arc<Pool>, slots: Arc<Slots>, capability: CapabilityName) -> Vec<Offer> {
    if pool.declined.was_crowded() {
        tokio::time::sleep(CLAIM_PAUSE).await;
    }
    slots.until_free().await;
    let free = slots.free().clamp(1, MAX_CLAIM);
    let (declined, wait) = pool.declined.terms();
    let claim = Claim { capability, slots: free, node: pool.hub.name.clone(), wait, declined: declined.clone() };
    let claimed = tokio::select! {
        biased;
        claimed = pool.hub.broker.tasks.claim(claim) => claimed,
        () = slots.until_fewer_than(free) => return Vec::new(),
    };
    match claimed {
        Ok(leases) => {
            if leases.is_empty() {
                pool.declined.settle(&declined);
            }
            let offer = |lease: Lease| Offer { again: declined.contains(&lease.task.id), lease };
            leases.into_iter().map(offer).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "a claim was refused");
            tokio::time::sleep(CLAIM_PAUSE).await;
            Vec::new()
        }
    }
}
