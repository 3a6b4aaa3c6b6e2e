//! The mirror of unfinished tasks: who may be handed what, and when.
//!
//! An embedded wing keeps one of these beside its records (under its lock, or in its writer thread), asks it, and stores
//! what it decides. It is pure: every decision takes the time as an argument, nothing here waits, and ids are all it
//! knows of a task. So both embedded wings decide alike, and every decision can be tested without a clock.
//!
//! A wing calls [`Queue::due`] with the present time before anything else, and [`Queue::feed`] after whatever may have
//! made a task ready; [`Queue::next_wakeup`] says when to come back though nobody calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock::Millis;
use crate::id::TaskId;
use crate::subject::CapabilityName;
use crate::task::{Entry, MAX_CLAIMS, MAX_HANDOUTS, Priority, Release};
use crate::tasks::Depth;

mod joins;
mod lane;
mod missed;
mod said;
pub mod share;
#[cfg(test)]
mod tests;

pub use said::{ASIDE, Batch, Due, Held, Item, Limits, MAX_BYTES, MAX_TASKS, Place, Spent, Taken, Want};

use joins::Joins;
use lane::Lane;
use said::Rank;

/// The mirror. See the module.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// Boxed, for a table has up to twice as much room as it needs, and what waits for long is to take little.
    places: HashMap<TaskId, Box<Place>>,
    lanes: HashMap<CapabilityName, Lane>,
    /// One alarm for each task: the earliest of what may happen to it.
    alarms: BTreeSet<(Millis, TaskId)>,
    /// When each parked claimer gives up, and where it is parked.
    waits: BTreeSet<(Millis, u64)>,
    parked: HashMap<u64, (Millis, CapabilityName)>,
    /// Lanes in which a parked claimer may find something that was not there before.
    stirred: BTreeSet<CapabilityName>,
    joins: Joins,
    /// When it is looked, in which lane, whether versions are missed.
    looks: BTreeSet<(Millis, CapabilityName)>,
    bytes: usize,
    next_lease: u64,
    /// The newest place in the order of submission, and how many went behind all so far.
    newest: u64,
    behind: u64,
}

impl Queue {
    /// An empty queue whose first claim gets the number `first_lease`.
    pub fn new(limits: Limits, first_lease: u64) -> Self {
        Self {
            limits,
            places: HashMap::new(),
            lanes: HashMap::new(),
            alarms: BTreeSet::new(),
            waits: BTreeSet::new(),
            parked: HashMap::new(),
            stirred: BTreeSet::new(),
            joins: Joins::default(),
            looks: BTreeSet::new(),
            bytes: 0,
            next_lease: first_lease,
            newest: 0,
            behind: 0,
        }
    }

    /// Whether so many more tasks with so many bytes of input fit.
    pub fn has_room(&self, tasks: usize, bytes: usize) -> bool {
        self.places.len().saturating_add(tasks) <= self.limits.tasks
            && self.bytes.saturating_add(bytes) <= self.limits.bytes
    }

    /// Adds a task, whether there is room or not (a store that is opened must take in what it has). One that is there
    /// already is left as it is.
    pub fn enqueue(&mut self, mut item: Item, now: Millis) {
        if self.places.contains_key(&item.task) {
            return;
        }
        self.bytes += item.bytes;
        let lane = self.lanes.entry(item.capability.clone());
        // All of a lane share its name.
        item.capability = lane.key().clone();
        // What waits for others waits in no queue, and is not counted there.
        lane.or_default().pending += u64::from(item.not_before != ASIDE);
        let task = item.task.clone();
        let gives_way = item.claims > 0 && !matches!(item.not_before, 0 | ASIDE);
        self.place(item, None, gives_way, now);
        self.settle(&task, now);
    }

    fn place(&mut self, item: Item, held: Option<Held>, gives_way: bool, now: Millis) {
        self.newest = self.newest.max(item.seq);
        let (task, rank) = (item.task.clone(), Rank { seq: item.seq, behind: 0 });
        let held = held.map(Box::new);
        self.places.insert(task, Box::new(Place { item, held, alarm: Millis::MAX, ready: now, rank, gives_way }));
    }

    /// Adds a task that somebody holds, as it stands in a store that is read back. Its claim counts in
    /// [`Item::claims`] already.
    pub fn restore(&mut self, item: Item, held: Held, now: Millis) {
        let (task, capability) = (item.task.clone(), item.capability.clone());
        if self.places.contains_key(&task) {
            return;
        }
        self.next_lease = self.next_lease.max(held.lease + 1);
        self.bytes += item.bytes;
        self.lanes.entry(capability).or_default().hold(&held.node);
        self.place(item, Some(held), false, now);
        self.settle(&task, now);
    }

    /// The number that the next claim gets.
    pub fn next_lease(&self) -> u64 {
        self.next_lease
    }

    /// Hands out up to `want.slots` tasks: of the priority whose [turn](share::first) it is, mostly the most urgent, and
    /// of those the one that was submitted first. What the claimer has declined is passed over, and what it may not take
    /// because another version began it.
    pub fn claim(&mut self, want: &Want, now: Millis) -> Batch {
        let batch = self.hand_out(want, now, |task| !want.declined.contains(task));
        self.note_versions(want, now);
        batch
    }

    /// Remembers a claimer that found nothing, under a number of the wing's choice, until a given time.
    pub fn park(&mut self, ticket: u64, want: Want, until: Millis) {
        self.waits.insert((until, ticket));
        self.parked.insert(ticket, (until, want.capability.clone()));
        self.stirred.insert(want.capability.clone());
        self.lanes.entry(want.capability.clone()).or_default().parked.push_back((ticket, want));
    }

    /// Forgets a parked claimer, who no longer waits. Whether it was parked.
    pub fn unpark(&mut self, ticket: u64) -> bool {
        self.take_parked(ticket).is_some()
    }

    /// Serves parked claimers, the longest waiting first, with what has become ready. Whoever gets something is no
    /// longer parked; a batch without a taken task (only spent ones) leaves its claimer parked and has no ticket.
    pub fn feed(&mut self, now: Millis) -> Vec<(Option<u64>, Batch)> {
        let mut fed = Vec::new();
        for capability in std::mem::take(&mut self.stirred) {
            let mut passed = 0;
            while let Some((ticket, want)) = self.lanes.get(&capability).and_then(|lane| lane.next_fed(passed)) {
                let batch = self.claim(&want, now);
                if batch.taken.is_empty() {
                    passed += 1;
                    fed.extend((!batch.is_empty()).then_some((None, batch)));
                } else {
                    self.take_parked(ticket);
                    fed.push((Some(ticket), batch));
                }
            }
            self.sweep(&capability);
        }
        fed
    }

    /// What happened by `now`: deadlines, lapsed claims, waits that are over. What has become ready is found by the
    /// next [`feed`](Self::feed).
    pub fn due(&mut self, now: Millis) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((_, task)) = self.alarms.first().filter(|(at, _)| *at <= now).cloned() {
            let Some(place) = self.places.get(&task) else {
                self.alarms.pop_first();
                continue;
            };
            if place.item.deadline <= now {
                due.extend(self.remove(&task).map(Due::Expired));
            } else if let Some(lease) = place.held.as_ref().filter(|h| h.until <= now).map(|h| h.lease) {
                self.hand_back(&task, now, |item| item.begun_by.settle());
                due.push(Due::Lapsed { task, lease });
            } else {
                self.settle(&task, now);
            }
        }
        self.give_up_missed(now, &mut due);
        while let Some((_, ticket)) = self.waits.first().filter(|(at, _)| *at <= now).copied() {
            let Some(want) = self.take_parked(ticket) else {
                self.waits.pop_first();
                continue;
            };
            let mut batch = self.claim(&want, now);
            let last = if batch.taken.is_empty() { self.left_to(&want) } else { Vec::new() };
            if !last.is_empty() {
                let rest = self.hand_out(&want, now, |task| last.contains(task));
                batch.taken.extend(rest.taken);
                batch.spent.extend(rest.spent);
            }
            self.sweep(&want.capability);
            due.push(Due::Waited(ticket, batch));
        }
        due
    }

    /// When [`due`](Self::due) has to be called next, if nothing happens before.
    pub fn next_wakeup(&self) -> Option<Millis> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let wait = self.waits.first().map(|(at, _)| *at);
        let look = self.looks.first().map(|(at, _)| *at);
        alarm.into_iter().chain(wait).chain(look).min()
    }

    /// The claim `lease` of a task, if it holds.
    pub fn held(&self, task: &TaskId, lease: u64) -> Option<&Held> {
        self.places.get(task)?.held.as_deref().filter(|h| h.lease == lease)
    }

    /// Lets a claim hold until `until`; whether it held.
    pub fn extend(&mut self, task: &TaskId, lease: u64, until: Millis, now: Millis) -> bool {
        let Some(held) = self.places.get_mut(task).and_then(|p| p.held.as_mut()).filter(|h| h.lease == lease) else {
            return false;
        };
        held.until = until.max(held.until);
        self.settle(task, now);
        true
    }

    /// Takes a claimed task back as this record of its log says; whether the claim held.
    pub fn release(&mut self, task: &TaskId, lease: u64, released: &Entry, now: Millis) -> bool {
        if self.held(task, lease).is_none() {
            return false;
        }
        if let (Entry::Released { reason: Release::Retry, not_before: 1.., .. }, Some(place)) =
            (released, self.places.get_mut(task))
        {
            place.gives_way = true;
        }
        self.hand_back(task, now, |item| {
            item.begun_by.add(released);
            if let Entry::Released { reason, not_before, .. } = released {
                item.free += u32::from(*reason != Release::Retry);
                item.not_before = *not_before;
            }
        });
        true
    }

    /// Lays a claimed task aside until one of `on` has ended; whether the claim held. The claim counts for nothing: the
    /// next one goes on with the same attempt.
    pub fn lay_aside(&mut self, task: &TaskId, lease: u64, on: &[TaskId], now: Millis) -> bool {
        if self.held(task, lease).is_none() {
            return false;
        }
        self.joins.add(task, on);
        self.hand_back(task, now, |item| {
            item.claims -= 1;
            item.begun_by.settle();
            item.not_before = ASIDE;
        });
        self.count_aside(task, |pending| *pending -= 1);
        true
    }

    /// Says again, for a store that is read back, what a task that was laid aside waits for.
    pub fn waits_for(&mut self, task: &TaskId, on: &[TaskId]) {
        self.joins.add(task, on);
    }

    /// A task has ended: those that were laid aside for it may be handed out.
    pub fn ended(&mut self, task: &TaskId, now: Millis) {
        for woken in self.joins.ended(task) {
            self.take_up(&woken, now);
        }
    }

    /// Nothing is left to wait for.
    pub fn take_up(&mut self, task: &TaskId, now: Millis) {
        self.joins.remove(task);
        if let Some(place) = self.places.get_mut(task).filter(|place| place.is_aside()) {
            place.item.not_before = 0;
            self.settle(task, now);
            self.count_aside(task, |pending| *pending += 1);
        }
    }

    fn count_aside(&mut self, task: &TaskId, count: impl FnOnce(&mut u64)) {
        let Some(place) = self.places.get(task) else { return };
        count(&mut self.lanes.entry(place.item.capability.clone()).or_default().pending);
    }

    /// Removes a task that has its outcome; what it was and who held it.
    pub fn remove(&mut self, task: &TaskId) -> Option<Place> {
        self.joins.remove(task);
        let place = *self.places.remove(task)?;
        self.alarms.remove(&(place.alarm, task.clone()));
        self.bytes -= place.item.bytes;
        if let Some(lane) = self.lanes.get_mut(&place.item.capability) {
            lane.unready(&place);
            match &place.held {
                Some(held) => lane.let_go(&held.node),
                None if place.is_aside() => {}
                None => lane.pending -= 1,
            }
        }
        self.sweep(&place.item.capability);
        Some(place)
    }

    /// Where a task stands.
    pub fn get(&self, task: &TaskId) -> Option<&Place> {
        self.places.get(task).map(Box::as_ref)
    }

    /// How many tasks are unfinished.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How much waits for each capability that has anything, by name.
    pub fn depth(&self) -> Vec<(CapabilityName, Depth)> {
        let depths: BTreeMap<_, _> = self
            .lanes
            .iter()
            .map(|(name, lane)| (name, Depth { pending: lane.pending, in_progress: lane.in_progress() }))
            .filter(|(_, depth)| *depth != Depth::default())
            .collect();
        depths.into_iter().map(|(name, depth)| (name.clone(), depth)).collect()
    }

    fn hand_out(&mut self, want: &Want, now: Millis, may: impl Fn(&TaskId) -> bool) -> Batch {
        let mut batch = Batch::default();
        let mut bulk = want.bulk;
        while batch.taken.len() < want.slots {
            let Some(lane) = self.lanes.get(&want.capability) else { break };
            let least = if bulk == 0 { Priority::Normal } else { Priority::Bulk };
            let Some(task) = lane.first_ready(want, least, &may).cloned() else { break };
            let Some(place) = self.places.get_mut(&task) else { break };
            let spent = match () {
                () if place.item.deadline <= now => Some(Spent::Expired),
                () if place.item.attempts() >= MAX_CLAIMS => Some(Spent::TooManyClaims),
                () if place.item.claims >= MAX_HANDOUTS => Some(Spent::TooManyClaims),
                () => None,
            };
            if let Some(spent) = spent {
                batch.spent.extend(self.remove(&task).map(|place| (place, spent)));
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&want.capability) {
                lane.pass_turn(least);
                lane.unready(place);
                lane.pending -= 1;
                lane.hold(&want.node);
            }
            let version = want.serving.as_ref().map(|serving| serving.version.clone());
            let again = place.item.claims > 0;
            place.item.claims += 1;
            place.item.begun_by.claimed(version.as_ref());
            let held = Held {
                lease: self.next_lease,
                attempt: place.item.attempts(),
                node: want.node.clone(),
                since: now,
                until: now.saturating_add(want.lease),
            };
            self.next_lease += 1;
            bulk -= usize::from(place.item.priority == Priority::Bulk);
            place.held = Some(Box::new(held.clone()));
            (place.gives_way, place.rank) = (false, Rank { seq: place.item.seq, behind: 0 });
            // That wait is over.
            place.item.not_before = 0;
            self.settle(&task, now);
            batch.taken.push(Taken { task, held, again, version });
        }
        batch
    }

    fn hand_back(&mut self, task: &TaskId, now: Millis, change: impl FnOnce(&mut Item)) {
        let Some(place) = self.places.get_mut(task) else { return };
        change(&mut place.item);
        if let Some(held) = place.held.take()
            && let Some(lane) = self.lanes.get_mut(&place.item.capability)
        {
            lane.let_go(&held.node);
            lane.pending += 1;
        }
        self.settle(task, now);
    }

    /// Sets the alarm of a task to what happens to it next, and makes it ready when nothing stands before that.
    fn settle(&mut self, task: &TaskId, now: Millis) {
        let Some(place) = self.places.get_mut(task) else { return };
        let item = &place.item;
        let next = match &place.held {
            Some(held) => held.until.min(item.deadline),
            None if item.not_before > now => item.not_before.min(item.deadline),
            None => item.deadline,
        };
        if place.held.is_none() && item.not_before <= now {
            place.ready = now;
            if std::mem::take(&mut place.gives_way) {
                self.behind += 1;
                place.rank = Rank { seq: self.newest, behind: self.behind };
            }
            self.lanes.entry(place.item.capability.clone()).or_default().ready(place);
            self.stirred.insert(place.item.capability.clone());
        }
        if next != place.alarm {
            self.alarms.remove(&(place.alarm, task.clone()));
            place.alarm = next;
            self.alarms.insert((next, task.clone()));
        }
    }

    fn take_parked(&mut self, ticket: u64) -> Option<Want> {
        let (until, capability) = self.parked.remove(&ticket)?;
        self.waits.remove(&(until, ticket));
        let lane = self.lanes.get_mut(&capability)?;
        let at = lane.parked.iter().position(|(t, _)| *t == ticket)?;
        let (_, want) = lane.parked.remove(at)?;
        self.sweep(&capability);
        Some(want)
    }

    /// What this claimer has declined and no other node is known that could take it.
    fn left_to(&self, want: &Want) -> Vec<TaskId> {
        let Some(lane) = self.lanes.get(&want.capability) else { return Vec::new() };
        want.declined.iter().filter(|task| !lane.is_for_others(&want.node, task)).cloned().collect()
    }

    /// A lane that holds nothing and nobody is forgotten, so that names that came once leave nothing behind.
    fn sweep(&mut self, capability: &CapabilityName) {
        if self.lanes.get(capability).is_some_and(Lane::is_idle) {
            self.lanes.remove(capability);
        }
    }
}
