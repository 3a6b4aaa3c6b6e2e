//! Who waits for the tasks of a capability in this process, and what is pulled for them.
//!
//! One desk for each capability serves its claimers in turn. It pulls what is there for as many slots as are wanted;
//! when nothing is, it leaves one waiting pull for each priority at the server. What arrives when nobody is left to take
//! it is kept for a moment, for the next claimer is usually near, and then given back untouched.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use super::handover::Handover;
use super::line::{Line, Place, Waiter, id_of};
use super::prepare::{Claimer, Prepared};
use super::pull::{Arrived, Pull, Pulled};
use super::room::Room;
use crate::error::{Error, Result};
use crate::id::{NodeName, TaskId};
use crate::nats::link::Notice;
use crate::nats::{names, provision};
use crate::queue::share;
use crate::subject::CapabilityName;
use crate::task::{Priority, VERSION_WAIT};
use crate::tasks::{Claim, Lease};

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

impl Drop for Desk {
    fn drop(&mut self) {
        self.working.abort();
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
            turn: 0,
            owed: false,
            told: String::new(),
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
    /// How many tasks it has taken.
    turn: u64,
    /// Whether it was the turn of bulk while nobody had room for it.
    owed: bool,
    /// Why tasks could not be pulled, as it was told last. What goes on is told once.
    told: String,
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
            self.told.clear();
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
        // What is not wanted is left to other nodes.
        let wanted = if self.line.wanted().1 > 0 { names::PRIORITIES.len() } else { Priority::Bulk as usize };
        for pull in self.pulls.iter_mut().take(wanted) {
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
            for (ticket, by, share) in shares {
                self.hand_over(room, ticket, &by, share).await?;
            }
        }
        self.give_back_bulk(room).await;
        self.see_off(room).await
    }

    /// Bulk that came with a pull from before, when nobody here has room for it any more.
    async fn give_back_bulk(&mut self, room: &Arc<Room>) {
        if self.line.waiters().is_empty() || self.line.wanted().1 > 0 {
            return;
        }
        let (bulk, others) = self.here.drain(..).partition(|pulled: &Pulled| pulled.is_bulk);
        self.here = others;
        for pulled in Vec::into_iter(bulk) {
            room.nak(&pulled.ack, Duration::ZERO).await;
        }
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

    /// Takes what is there for as many slots as are wanted: what is less urgent when it is its turn, then the most urgent
    /// first.
    async fn fetch(&mut self) -> Result<()> {
        let (free, for_bulk) = self.free();
        let mut turns = share::less_urgent(self.turn, free);
        let of_bulk = &mut turns[0].1;
        self.owed |= *of_bulk > 0;
        if for_bulk > 0 && std::mem::take(&mut self.owed) {
            *of_bulk = (*of_bulk).max(1);
        }
        let rest = names::PRIORITIES.map(|urgency| (urgency, usize::MAX));
        let mut missing = false;
        for (urgency, most) in turns.into_iter().chain(rest) {
            missing |= self.take(urgency, most).await?;
        }
        if missing {
            self.pulls.clear();
            return Err(Error::unavailable(format!("the consumers of {} are gone", self.capability)));
        }
        Ok(())
    }

    /// How many slots are wanted for which there is nothing here, for anything and for bulk.
    fn free(&self) -> (usize, usize) {
        let (slots, for_bulk) = self.line.wanted();
        let useful = self.here.iter().filter(|pulled| self.line.wants(pulled));
        let (bulk, others): (Vec<_>, Vec<_>) = useful.partition(|pulled| pulled.is_bulk);
        let free = slots.saturating_sub(others.len() + bulk.len().min(for_bulk));
        (free, for_bulk.saturating_sub(bulk.len()).min(free))
    }

    /// Takes up to `most` tasks of one priority; whether its consumer is gone.
    async fn take(&mut self, urgency: Priority, most: usize) -> Result<bool> {
        let (mut left, mut missing) = (most, false);
        loop {
            let (free, for_bulk) = self.free();
            let room_for = left.min(if urgency == Priority::Bulk { for_bulk } else { free });
            let pull = self.pulls.get_mut(urgency as usize).filter(|pull| !pull.stands());
            let Some(pull) = pull.filter(|_| room_for > 0) else { break };
            let (taken, none) = pull.take(room_for).await?;
            missing |= none;
            let all = taken.len() < room_for;
            left = left.saturating_sub(taken.len());
            self.turn += taken.len() as u64;
            self.here.extend(taken);
            if all {
                break;
            }
        }
        Ok(missing)
    }

    /// Who gets what of that which is here. What everybody has declined stays.
    fn share_out(&mut self) -> Vec<(u64, Claimer, Vec<Pulled>)> {
        let mut shares: Vec<(u64, Claimer, Vec<Pulled>)> = Vec::new();
        let waiters = self.line.waiters();
        let mut left = Vec::new();
        for pulled in self.here.drain(..) {
            let id = id_of(&pulled);
            let wants = |waiter: &&Waiter| {
                let share = shares.iter().find(|(ticket, ..)| *ticket == waiter.ticket).map(|(.., share)| &share[..]);
                waiter.has_room(share.unwrap_or_default(), &pulled) && waiter.wants(id.as_ref(), &pulled)
            };
            // Who takes no bulk is first: the others can do that meanwhile.
            let taker =
                waiters.iter().filter(|waiter| waiter.bulk == 0).find(wants).or_else(|| waiters.iter().find(wants));
            let Some(taker) = taker else {
                left.push(pulled);
                continue;
            };
            match shares.iter_mut().find(|(ticket, ..)| *ticket == taker.ticket) {
                Some((.., share)) => share.push(pulled),
                None => shares.push((taker.ticket, taker.by.clone(), vec![pulled])),
            }
        }
        self.here = left;
        shares
    }

    /// Prepares a share and gives it to its claimer. One of which nothing is left, because all of it was spent, stays in
    /// the line.
    async fn hand_over(&mut self, room: &Arc<Room>, ticket: u64, by: &Claimer, share: Vec<Pulled>) -> Result<()> {
        let Prepared { leases, unfit, put_off, put_off_bulk } = room.prepare(by, share).await?;
        // The turn of what lets others go first is theirs.
        self.turn = self.turn.saturating_sub(put_off);
        self.owed |= put_off_bulk > 0;
        for one in unfit {
            let known = Pulled { begun_by: Some(one.version.clone()), ..one.pulled.clone() };
            if self.line.wants(&known) {
                self.here.push(known);
            } else {
                let wait = by.serving.as_ref().map_or(VERSION_WAIT, |serving| serving.wait);
                room.leave_to_its_version(one, wait).await?;
            }
        }
        if leases.is_empty() {
            return Ok(());
        }
        let taker = self.line.taker(ticket, by, &leases);
        let handover = Handover::new(room, leases);
        if let Some(waiter) = taker {
            // A claimer that has gone drops it, and it goes back.
            let _ = waiter.answer.send(Ok(handover));
        }
        Ok(())
    }

    /// Answers those whose time is over: with what only they are left to take, mostly nothing.
    async fn see_off(&mut self, room: &Arc<Room>) -> Result<()> {
        let leaving: Vec<(u64, Claimer, Vec<TaskId>)> = {
            let waiters = self.line.waiters();
            let leaving = waiters.iter().filter(|waiter| waiter.leaving && waiter.looked);
            leaving.map(|waiter| (waiter.ticket, waiter.by.clone(), waiter.declined.clone())).collect()
        };
        for (ticket, by, declined) in leaving {
            let (mine, others) =
                self.here.drain(..).partition(|pulled| id_of(pulled).is_some_and(|id| declined.contains(&id)));
            self.here = others;
            if !Vec::is_empty(&mine) {
                if self.is_for_others(room, &by.node, mine.len()).await? {
                    self.put_aside(room, mine).await;
                } else {
                    self.hand_over(room, ticket, &by, mine).await?;
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
        let here = self.line.waiters().iter().any(|waiter| waiter.by.node != *node);
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
        let why = error.to_string();
        if self.told != why {
            tracing::warn!(capability = %self.capability, %error, "tasks cannot be pulled");
            self.told = why;
        }
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
