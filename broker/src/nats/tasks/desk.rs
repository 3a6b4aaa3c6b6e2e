//! Who waits for the tasks of a capability in this process, and what is pulled for them.
//!
//! One desk for each capability serves its claimers in turn. It pulls what is there for as many slots as are wanted;
//! when nothing is, it leaves one waiting pull for each priority at the server. What arrives when nobody is left to take
//! it is kept for a moment, for the next claimer is usually near, and then given back untouched.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, oneshot};
use tokio::task::AbortHandle;

use super::handover::Handover;
use super::pull::{Arrived, Pull, Pulled};
use super::room::Room;
use crate::error::{Error, Result};
use crate::id::{NodeName, TaskId};
use crate::nats::link::Notice;
use crate::nats::{names, provision};
use crate::subject::CapabilityName;
use crate::tasks::{Claim, Lease, MAX_CLAIM};

/// How long a task stays at the desk when nobody waits.
const KEPT: Duration = Duration::from_millis(250);
/// How long a task that all here declined is left to other nodes before anybody here sees it again.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(500);
/// How long a claimer waits beyond its time for a desk that is cut off from the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure of the server.
const PAUSE: Duration = Duration::from_millis(500);

/// The desk of one capability.
pub(super) struct Desk {
    line: Arc<Line>,
    working: AbortHandle,
}

/// The claimers, in the order in which they came.
#[derive(Default)]
struct Line {
    waiters: Mutex<VecDeque<Waiter>>,
    tickets: AtomicU64,
    changed: Notify,
}

struct Waiter {
    ticket: u64,
    slots: usize,
    node: NodeName,
    declined: Vec<TaskId>,
    /// Its time is over: it takes what there is and goes.
    leaving: bool,
    /// It was looked for it at least once.
    looked: bool,
    answer: oneshot::Sender<Result<Handover>>,
}

/// Takes a claimer out of the line when its future is dropped.
struct Place<'a> {
    line: &'a Line,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.waiters().retain(|waiter| waiter.ticket != self.ticket);
        self.line.changed.notify_one();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.working.abort();
    }
}

impl Line {
    fn waiters(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a claimer; its number, and where its answer comes.
    fn join(&self, claim: Claim) -> (u64, oneshot::Receiver<Result<Handover>>) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let Claim { slots, node, declined, .. } = claim;
        let slots = slots.clamp(1, MAX_CLAIM);
        let waiter = Waiter { ticket, slots, node, declined, leaving: false, looked: false, answer };
        self.waiters().push_back(waiter);
        self.changed.notify_one();
        (ticket, answered)
    }

    fn leave(&self, ticket: u64) {
        if let Some(waiter) = self.waiters().iter_mut().find(|waiter| waiter.ticket == ticket) {
            waiter.leaving = true;
        }
        self.changed.notify_one();
    }

    /// Whether anybody here has not declined it.
    fn wants(&self, pulled: &Pulled) -> bool {
        let id = id_of(pulled);
        self.waiters().iter().any(|waiter| !id.as_ref().is_some_and(|id| waiter.declined.contains(id)))
    }

    fn take(&self, ticket: u64) -> Option<Waiter> {
        let mut waiters = self.waiters();
        let at = waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        waiters.remove(at)
    }
}

impl Room {
    pub(super) async fn claim(self: &Arc<Self>, claim: Claim) -> Result<Vec<Lease>> {
        let line = self.desk(&claim.capability);
        let wait = claim.wait;
        let (ticket, mut answered) = line.join(claim);
        let _place = Place { line: &line, ticket };
        let gone = |_| Error::unavailable("the desk of this capability has closed");
        let answer = match tokio::time::timeout(wait, &mut answered).await {
            Ok(answer) => answer.map_err(gone)?,
            Err(_) => {
                line.leave(ticket);
                let cut_off = |_| Error::unavailable(format!("{}: no answer to a pull", self.link.address));
                tokio::time::timeout(PATIENCE, answered).await.map_err(cut_off)?.map_err(gone)?
            }
        };
        answer.map(Handover::accept)
    }

    fn desk(self: &Arc<Self>, capability: &CapabilityName) -> Arc<Line> {
        let mut desks = self.desks();
        if let Some(desk) = desks.get(capability) {
            return desk.line.clone();
        }
        let line = Arc::new(Line::default());
        let work = Clerk {
            room: Arc::downgrade(self),
            line: line.clone(),
            capability: capability.clone(),
            pulls: Vec::new(),
            here: Vec::new(),
            notices: self.link.notices(),
        };
        let working = tokio::spawn(work.run()).abort_handle();
        desks.insert(capability.clone(), Arc::new(Desk { line: line.clone(), working }));
        line
    }
}

/// Whoever works at a desk.
struct Clerk {
    room: Weak<Room>,
    line: Arc<Line>,
    capability: CapabilityName,
    /// One for each priority, the most urgent first.
    pulls: Vec<Pull>,
    /// Tasks that are at the desk and nobody's yet.
    here: Vec<Pulled>,
    notices: broadcast::Receiver<Notice>,
}

impl Clerk {
    async fn run(mut self) {
        loop {
            let Some(room) = self.room.upgrade() else { return };
            if self.line.waiters().is_empty() {
                drop(room);
                self.idle().await;
                continue;
            }
            if let Err(error) = self.serve(&room).await {
                self.fail(&error);
                drop(room);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            drop(room);
            self.stand_by().await;
        }
    }

    /// Nobody waits: keeps what is here for a moment, then gives it back.
    async fn idle(&mut self) {
        let keep = !self.here.is_empty();
        tokio::select! {
            () = self.line.changed.notified() => {}
            () = tokio::time::sleep(KEPT), if keep => {
                let Some(room) = self.room.upgrade() else { return };
                for pulled in self.here.drain(..) {
                    room.nak(&pulled.ack, Duration::ZERO).await;
                }
            }
            arrived = arrive(&mut self.pulls) => self.arrived(arrived),
            notice = self.notices.recv() => self.noticed(&notice),
        }
    }

    /// Somebody waits and there is nothing: leaves pulls at the server until something changes.
    async fn stand_by(&mut self) {
        if self.line.waiters().is_empty() {
            return;
        }
        for pull in &mut self.pulls {
            if !pull.stands() && pull.stand().await.is_err() {
                return;
            }
        }
        // One that left between serving and this is seen at once.
        if self.line.waiters().iter().any(|waiter| waiter.leaving || !waiter.looked) {
            return;
        }
        tokio::select! {
            () = self.line.changed.notified() => {}
            arrived = arrive(&mut self.pulls) => self.arrived(arrived),
            notice = self.notices.recv() => self.noticed(&notice),
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Task(pulled) => self.here.push(pulled),
            Arrived::Over => {}
            Arrived::NoConsumer => self.pulls.clear(),
        }
    }

    fn noticed(&mut self, notice: &Result<Notice, broadcast::error::RecvError>) {
        if matches!(notice, Ok(Notice::Connected) | Err(_)) {
            self.pulls.iter_mut().for_each(Pull::forget);
        }
    }

    /// Pulls what is there and hands it out; then sees to those who leave.
    async fn serve(&mut self, room: &Arc<Room>) -> Result<()> {
        self.open(room).await?;
        loop {
            self.line.waiters().retain(|waiter| !waiter.answer.is_closed());
            self.fetch().await?;
            for waiter in self.line.waiters().iter_mut() {
                waiter.looked = true;
            }
            let shares = self.share_out();
            if shares.is_empty() {
                break;
            }
            for (ticket, node, share) in shares {
                self.hand_over(room, ticket, &node, share).await?;
            }
        }
        self.see_off(room).await
    }

    async fn open(&mut self, room: &Arc<Room>) -> Result<()> {
        if !self.pulls.is_empty() {
            return Ok(());
        }
        provision::consumers(&room.link, &self.capability).await?;
        for urgency in names::PRIORITIES {
            self.pulls.push(Pull::open(room.link.clone(), &self.capability, urgency).await?);
        }
        Ok(())
    }

    /// Takes what is there for as many slots as are wanted, the most urgent first.
    async fn fetch(&mut self) -> Result<()> {
        let wanted: usize = self.line.waiters().iter().map(|waiter| waiter.slots).sum();
        let mut missing = false;
        for pull in &mut self.pulls {
            while !pull.stands() {
                let useful = self.here.iter().filter(|pulled| self.line.wants(pulled)).count();
                let room_for = wanted.min(MAX_CLAIM).saturating_sub(useful);
                if room_for == 0 {
                    break;
                }
                let (taken, none) = pull.take(room_for).await?;
                missing |= none;
                let all = taken.len() < room_for;
                self.here.extend(taken);
                if all {
                    break;
                }
            }
        }
        if missing {
            self.pulls.clear();
            return Err(Error::unavailable(format!("the consumers of {} are gone", self.capability)));
        }
        Ok(())
    }

    /// Who gets what of that which is here. What everybody has declined stays.
    fn share_out(&mut self) -> Vec<(u64, NodeName, Vec<Pulled>)> {
        let mut shares: Vec<(u64, NodeName, Vec<Pulled>)> = Vec::new();
        let waiters = self.line.waiters();
        let mut left = Vec::new();
        for pulled in self.here.drain(..) {
            let id = id_of(&pulled);
            let given = |ticket: u64| shares.iter().find(|(t, ..)| *t == ticket).map_or(0, |(.., share)| share.len());
            let taker = waiters.iter().find(|waiter| {
                given(waiter.ticket) < waiter.slots && !id.as_ref().is_some_and(|id| waiter.declined.contains(id))
            });
            let Some(taker) = taker else {
                left.push(pulled);
                continue;
            };
            match shares.iter_mut().find(|(ticket, ..)| *ticket == taker.ticket) {
                Some((.., share)) => share.push(pulled),
                None => shares.push((taker.ticket, taker.node.clone(), vec![pulled])),
            }
        }
        self.here = left;
        shares
    }

    /// Prepares a share and gives it to its claimer. One of which nothing is left, because all of it was spent, stays in
    /// the line.
    async fn hand_over(&mut self, room: &Arc<Room>, ticket: u64, node: &NodeName, share: Vec<Pulled>) -> Result<()> {
        let leases = room.prepare(node, share).await?;
        if leases.is_empty() {
            return Ok(());
        }
        let handover = Handover::new(room, leases);
        if let Some(waiter) = self.line.take(ticket) {
            // A claimer that has gone drops it, and it goes back.
            let _ = waiter.answer.send(Ok(handover));
        }
        Ok(())
    }

    /// Answers those whose time is over: with what only they are left to take, mostly nothing.
    async fn see_off(&mut self, room: &Arc<Room>) -> Result<()> {
        let leaving: Vec<(u64, NodeName, Vec<TaskId>)> = {
            let waiters = self.line.waiters();
            let leaving = waiters.iter().filter(|waiter| waiter.leaving && waiter.looked);
            leaving.map(|waiter| (waiter.ticket, waiter.node.clone(), waiter.declined.clone())).collect()
        };
        for (ticket, node, declined) in leaving {
            let (mine, others) =
                self.here.drain(..).partition(|pulled| id_of(pulled).is_some_and(|id| declined.contains(&id)));
            self.here = others;
            if !Vec::is_empty(&mine) {
                if self.is_for_others(room, &node, mine.len()).await? {
                    self.put_aside(room, mine).await;
                } else {
                    self.hand_over(room, ticket, &node, mine).await?;
                }
            }
            if let Some(waiter) = self.line.take(ticket) {
                let _ = waiter.answer.send(Ok(Handover::new(room, Vec::new())));
            }
        }
        Ok(())
    }

    /// Whether another node waits for this capability or works on it.
    async fn is_for_others(&self, room: &Arc<Room>, node: &NodeName, beside: usize) -> Result<bool> {
        let here = self.line.waiters().iter().any(|waiter| waiter.node != *node);
        if here || room.held.is_held_by_others(&self.capability, node) {
            return Ok(true);
        }
        self.is_served_elsewhere(room, beside).await
    }

    /// Whether another process waits for this capability or works on it; `beside` tasks are ours though not here.
    async fn is_served_elsewhere(&self, room: &Arc<Room>, beside: usize) -> Result<bool> {
        let ours = room.held.of(&self.capability) + self.here.len() + beside;
        let standing = self.pulls.iter().filter(|pull| pull.stands()).count();
        let (pending, waiting) = room.busy(&self.capability).await?;
        Ok(pending > ours || waiting > standing)
    }

    async fn put_aside(&mut self, room: &Arc<Room>, tasks: Vec<Pulled>) {
        let alone = !self.is_served_elsewhere(room, tasks.len()).await.unwrap_or(false);
        if alone {
            // Only other nodes of this process could take them: they stay at the desk.
            self.here.extend(tasks);
            return;
        }
        for pulled in tasks {
            room.nak(&pulled.ack, LEFT_TO_OTHERS).await;
        }
    }

    fn fail(&mut self, error: &Error) {
        tracing::warn!(capability = %self.capability, %error, "tasks cannot be pulled");
        self.pulls.iter_mut().for_each(Pull::forget);
        // What is forbidden stays so; anything else may be over before their time is.
        let at_once = matches!(error, Error::Denied { .. });
        let told = |waiter: &&Waiter| waiter.leaving || at_once;
        let leaving: Vec<u64> = self.line.waiters().iter().filter(told).map(|waiter| waiter.ticket).collect();
        for waiter in leaving.into_iter().filter_map(|ticket| self.line.take(ticket)) {
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }
}

/// The next thing that any of the waiting pulls brings.
async fn arrive(pulls: &mut [Pull]) -> Arrived {
    if pulls.is_empty() {
        return std::future::pending().await;
    }
    let any = pulls.iter_mut().map(|pull| Box::pin(pull.arrive()));
    futures_util::future::select_all(any).await.0
}

fn id_of(pulled: &Pulled) -> Option<TaskId> {
    super::entry::address(&pulled.subject).ok().map(|address| address.task)
}
