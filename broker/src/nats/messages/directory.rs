//! Who is there and what they serve, as far as this node has heard.
//!
//! It only decides: time is an argument. A node is there while it gives signs of life; while our own connection is
//! broken, or this process was stopped, nobody is given up, because we could not have heard them. A connection that holds
//! everything back does not say so: it is known by our own signs of life, which no longer come back to us.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Millis;
use crate::id::NodeName;
use crate::messages::Address;
use crate::subject::CapabilityName;
use crate::task::Serving;

/// How often a node gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// How long it may be silent before it counts as gone.
const SILENT: Duration = Duration::from_secs(2);
/// How much longer, after our own connection was broken.
const GRACE: Duration = Duration::from_secs(5);
/// Two looks at the clock that are further apart than this mean that this process was stopped in between.
const STOPPED: Duration = Duration::from_secs(1);

/// How long after it was told what a node serves is kept, of one that gives no signs of life.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A sign of life: the entry of a node in the bucket of nodes, below 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The node.
    pub node: NodeName,
    /// Its incarnation.
    pub boot: u32,
    /// When it began.
    pub since: Millis,
    /// Whether it takes work.
    pub state: NodeState,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes work.
    Up,
    /// It finishes what it has.
    Draining,
    /// It has gone.
    Gone,
}

/// What a node serves: its entry in the bucket of what nodes share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Served {
    /// The incarnation that serves it.
    pub(super) boot: u32,
    /// Capabilities, each with how many requests it works on at a time.
    pub(super) capabilities: BTreeMap<CapabilityName, u32>,
    /// Agents by name.
    pub(super) agents: Vec<Arc<str>>,
    /// The versions of those that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) versions: BTreeMap<CapabilityName, Vec<Serving>>,
}

impl Served {
    fn addresses(&self) -> impl Iterator<Item = (Address, u32)> {
        let capabilities = self.capabilities.iter().map(|(name, slots)| (Address::Capability(name.clone()), *slots));
        capabilities.chain(self.agents.iter().map(|name| (Address::Agent(name.clone()), 1)))
    }
}

/// What a node serves, and when it was told.
#[derive(Debug)]
struct Offer {
    served: Served,
    told: Instant,
}

/// One node that serves an address, and how loaded it seems from here.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) node: Arc<str>,
    pub(super) boot: u32,
    slots: u32,
    /// Our own questions that it has not answered.
    outstanding: AtomicUsize,
    /// How full its queue was, by its last answer.
    depth: AtomicU16,
}

impl Seat {
    fn load(&self) -> u64 {
        let waiting = self.outstanding.load(Ordering::Relaxed) as u64 + u64::from(self.depth.load(Ordering::Relaxed));
        waiting * 1_000 / u64::from(self.slots.max(1))
    }

    /// A question goes there.
    pub(super) fn take(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// It came to an end, and said how deep its queue is if it was answered.
    pub(super) fn give_back(&self, depth: Option<u16>) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        if let Some(depth) = depth {
            self.depth.store(depth, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Node {
    presence: Presence,
    /// Until when its silence is no sign.
    until: Instant,
    /// Whether it has been heard since our connection was there.
    heard: bool,
}

/// What has been heard.
#[derive(Debug)]
pub(super) struct Directory {
    me: NodeName,
    nodes: HashMap<Arc<str>, Node>,
    served: HashMap<Arc<str>, Offer>,
    seats: HashMap<Address, Arc<[Arc<Seat>]>>,
    connected: bool,
    looked: Instant,
    /// When our own sign of life last came back; never for one that may not give any.
    echo: Option<Instant>,
    random: u32,
}

/// What a sign of life told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing new.
    Known,
    /// A node, or another incarnation of one.
    New,
    /// A later incarnation of this very node.
    Successor,
    /// It has gone.
    Gone,
}

impl Directory {
    pub(super) fn new(me: NodeName, now: Instant) -> Self {
        Self {
            me,
            nodes: HashMap::new(),
            served: HashMap::new(),
            seats: HashMap::new(),
            connected: true,
            looked: now,
            echo: None,
            random: 0x9E37_79B9,
        }
    }

    /// A sign of life. `own` is this node's.
    pub(super) fn beat(&mut self, presence: Presence, own: &Presence, now: Instant) -> Told {
        if presence.node == self.me {
            self.echo = self.echo.max((presence.boot == own.boot).then_some(now));
            let later = (presence.since, presence.boot) > (own.since, own.boot);
            return if presence.boot != own.boot && later { Told::Successor } else { Told::Known };
        }
        let name: Arc<str> = presence.node.as_str().into();
        if presence.state == NodeState::Gone {
            let known = self.nodes.get(&name).is_some_and(|node| node.presence.boot == presence.boot);
            if known {
                self.forget(&name);
            }
            return if known { Told::Gone } else { Told::Known };
        }
        let node = Node { until: now + SILENT, heard: true, presence };
        let before = self.nodes.get(&name).map(|node| (node.presence.boot, node.presence.since, node.presence.state));
        // What a predecessor left in the bucket is no news.
        if before.is_some_and(|(boot, since, _)| boot != node.presence.boot && since > node.presence.since) {
            return Told::Known;
        }
        let (boot, state) = (node.presence.boot, node.presence.state);
        self.nodes.insert(name, node);
        if before.is_none_or(|(old, _, before)| old != boot || before != state) {
            self.index();
        }
        if before.is_none_or(|(old, ..)| old != boot) { Told::New } else { Told::Known }
    }

    /// What a node serves, or nothing any more.
    pub(super) fn serves(&mut self, node: &str, served: Option<Served>, told: Instant) {
        if node == self.me.as_str() {
            return;
        }
        match (self.served.get_mut(node), served.filter(|served| served.addresses().next().is_some())) {
            (None, None) => return,
            (Some(offer), Some(served)) if offer.served == served => {
                offer.told = told;
                return;
            }
            (_, Some(served)) => drop(self.served.insert(node.into(), Offer { served, told })),
            (Some(_), None) => drop(self.served.remove(node)),
        }
        self.index();
    }

    /// Forgets what those served who have been away for long.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.served.retain(|node, offer| self.nodes.contains_key(node) || now.duration_since(offer.told) < KEPT);
    }

    /// A node takes nothing new.
    pub(super) fn drains(&mut self, node: &str) {
        let before =
            self.nodes.get_mut(node).map(|node| std::mem::replace(&mut node.presence.state, NodeState::Draining));
        if before == Some(NodeState::Up) {
            self.index();
        }
    }

    /// Takes a node away that is known to have gone.
    pub(super) fn forget(&mut self, node: &str) {
        if self.nodes.remove(node).is_some() {
            self.index();
        }
    }

    /// Those whose silence has lasted too long, from now on gone.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Arc<str>> {
        let stopped = now.duration_since(std::mem::replace(&mut self.looked, now)) > STOPPED;
        if stopped || self.echo.is_some_and(|echo| now.duration_since(echo) > STOPPED) {
            self.spare(now + SILENT);
        }
        if !self.connected {
            return Vec::new();
        }
        let silent = self.nodes.iter().filter(|(_, node)| node.until <= now);
        let silent: Vec<Arc<str>> = silent.map(|(name, _)| name.clone()).collect();
        silent.iter().for_each(|name| self.forget(name));
        silent
    }

    /// Whether our own sign of life was heard within so long.
    pub(super) fn hears_itself(&self, within: std::time::Duration) -> bool {
        self.connected && self.echo.is_some_and(|echo| echo.elapsed() <= within)
    }

    /// Our connection broke: silence says nothing.
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
    }

    /// It is there again; others may take a little longer.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected = true;
        self.echo = None;
        self.nodes.values_mut().for_each(|node| node.heard = false);
        self.spare(now + GRACE);
    }

    fn spare(&mut self, until: Instant) {
        self.nodes.values_mut().for_each(|node| node.until = node.until.max(until));
    }

    /// Who serves an address, of those who take work.
    pub(super) fn seats(&self, address: &Address) -> Option<Arc<[Arc<Seat>]>> {
        self.seats.get(address).cloned()
    }

    /// All nodes, by name.
    pub(super) fn nodes(&self) -> Vec<Presence> {
        let mut nodes: Vec<Presence> = self.nodes.values().map(|node| node.presence.clone()).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    /// Whether a node has given a sign of life since our connection was there.
    pub(super) fn has_heard(&self, node: &NodeName) -> bool {
        self.nodes.get(node.as_str()).is_some_and(|node| node.heard)
    }

    /// The less loaded of two that are drawn by their slots, leaving `tried` out.
    pub(super) fn choose(&mut self, seats: &[Arc<Seat>], tried: &[Arc<Seat>]) -> Option<Arc<Seat>> {
        let left: Vec<&Arc<Seat>> =
            seats.iter().filter(|seat| !tried.iter().any(|tried| tried.node == seat.node)).collect();
        let first = self.draw(&left)?;
        let others: Vec<&Arc<Seat>> = left.into_iter().filter(|seat| !Arc::ptr_eq(seat, &first)).collect();
        match self.draw(&others) {
            Some(second) if second.load() < first.load() => Some(second),
            _ => Some(first),
        }
    }

    fn draw(&mut self, seats: &[&Arc<Seat>]) -> Option<Arc<Seat>> {
        let all: u64 = seats.iter().map(|seat| u64::from(seat.slots.max(1))).sum();
        let mut drawn = (u64::from(self.toss()) * all) >> 32;
        for seat in seats {
            match drawn.checked_sub(u64::from(seat.slots.max(1))) {
                Some(rest) => drawn = rest,
                None => return Some((*seat).clone()),
            }
        }
        None
    }

    /// Xorshift: to spread load, not to keep secrets.
    fn toss(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    fn index(&mut self) {
        let before = std::mem::take(&mut self.seats);
        let mut seats: HashMap<Address, Vec<Arc<Seat>>> = HashMap::new();
        for (name, Offer { served, .. }) in &self.served {
            let node = self.nodes.get(name).map(|node| &node.presence);
            if !node.is_some_and(|node| node.boot == served.boot && node.state == NodeState::Up) {
                continue;
            }
            for (address, slots) in served.addresses() {
                let known = before.get(&address).into_iter().flat_map(|seats| seats.iter());
                let same = |seat: &&Arc<Seat>| (&seat.node, seat.boot, seat.slots) == (name, served.boot, slots);
                let seat = known.clone().find(same).cloned().unwrap_or_else(|| {
                    let (outstanding, depth) = (AtomicUsize::new(0), AtomicU16::new(0));
                    Arc::new(Seat { node: name.clone(), boot: served.boot, slots, outstanding, depth })
                });
                seats.entry(address).or_default().push(seat);
            }
        }
        self.seats = seats.into_iter().map(|(address, seats)| (address, seats.into())).collect();
    }
}

#[cfg(test)]
mod tests;
