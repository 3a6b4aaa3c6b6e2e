//! Signs of life, and who serves what.
//!
//! Each node writes its presence into the bucket of nodes twice a second and what it serves into the shared bucket when
//! that changes, under `served.<node>`; every node hears both as they pass, and reads what is there once at its start.
//! What it serves it says anew every hour, because the server removes what is a day old: nodes may come and go under ever
//! new names, and nobody else could tell one that is gone for good from one that comes back in this moment.
//! So nobody needs a consumer for it, a broker that has lost its memory is no reason to give anybody up, and the buckets
//! are what `nats kv ls` shows. Only the node itself may publish under its name.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};

use super::Exchange;
use super::directory::{BEAT, KEPT, NodeState, Presence, Served, Told};
use super::doors::Doors;
use super::peer::lock;
use crate::error::{Error, Result};
use crate::messages::Address;
use crate::nats::js::receive;
use crate::nats::{Notice, names};

/// How often lanes look at the clock.
const TICK: Duration = Duration::from_millis(20);
/// How often a node says anew what it serves: often enough within [`KEPT`].
const RENEW: Duration = Duration::from_secs(3_600);
/// How many ticks pass between two looks at who is silent.
const LOOK: u64 = 5;
/// How long the entries that are there already may take to be read.
const SNAPSHOT: Duration = Duration::from_secs(1);

impl Exchange {
    /// This node's sign of life.
    pub(super) fn own(&self) -> Presence {
        let state = if self.is_draining() { NodeState::Draining } else { NodeState::Up };
        Presence { node: self.link.node.clone(), boot: self.link.boot, since: self.since, state }
    }

    /// Reads what nodes have written before this one was there.
    pub(super) async fn look_around(&self) {
        let reading = async {
            for (stream, entries) in [(names::NODES, names::presence("*")), (names::SHARED, names::served("*"))] {
                for raw in self.link.entries(stream, &entries).await.unwrap_or_default() {
                    self.on_entry(&raw.subject, &raw.body);
                }
            }
        };
        // Without buckets, or the right to read them, others are known by their next sign of life.
        let _ = tokio::time::timeout(SNAPSHOT, reading).await;
    }

    /// Hears what nodes write.
    pub(super) async fn read_entries(self: Arc<Self>, mut entries: Subscriber) {
        while let Some(message) = receive(&mut entries).await {
            self.on_entry(&message.subject, &message.payload);
        }
    }

    fn on_entry(&self, subject: &str, body: &[u8]) {
        let Some(name) = subject.rsplit('.').next() else { return };
        if subject.starts_with(&names::served("")) {
            let served: Option<Served> = serde_json::from_slice(body).ok();
            if name == self.link.node.as_str() && served.as_ref().is_none_or(|served| served.boot != self.link.boot) {
                // Another of this name has spoken; if it is the later one, its sign of life tells.
                self.changed.notify_one();
            }
            lock(&self.directory).serves(name, served, Instant::now());
            return;
        }
        let Ok(presence) = serde_json::from_slice::<Presence>(body) else { return };
        if presence.node.as_str() != name {
            return;
        }
        let (boot, now) = (presence.boot, Instant::now());
        let told = lock(&self.directory).beat(presence, &self.own(), now);
        match told {
            Told::Known => {
                if let Some(peer) = self.known_peer(name) {
                    peer.with(|lane| (lane.knock(now), Vec::new()));
                }
            }
            Told::New => {
                if let Some(peer) = self.met_peer(name, boot) {
                    let anew = peer.with(|lane| {
                        let before = lane.peer();
                        let ended = lane.meet(boot);
                        lane.knock(now);
                        (before.is_some_and(|before| before != boot), ended)
                    });
                    if anew {
                        peer.lost();
                    }
                }
                // It may have come too late to hear of us.
                self.changed.notify_one();
            }
            Told::Gone => self.gone(name, now),
            Told::Successor if !self.shows => {}
            Told::Successor => {
                self.replaced.send_replace(true);
            }
        }
    }

    /// What is served here, in terms of others.
    fn serving(&self) -> Served {
        let mut served = Served { boot: self.link.boot, ..Served::default() };
        if self.is_draining() {
            return served;
        }
        for (address, slots) in lock(&self.serves).iter() {
            match address {
                Address::Capability(name) => drop(served.capabilities.insert(name.clone(), *slots)),
                Address::Agent(name) => served.agents.push(name.clone()),
            }
        }
        served.agents.sort();
        served.versions = lock(&self.versions).clone();
        served.versions.retain(|name, _| served.capabilities.contains_key(name));
        served
    }

    /// Whether this process speaks for its name. One that was replaced would take the place of its successor's words.
    pub(super) fn speaks(&self) -> bool {
        self.shows && !*self.replaced.borrow()
    }

    pub(super) async fn beat(&self) -> Result<()> {
        if !self.speaks() {
            return Ok(());
        }
        self.link.publish(names::presence(self.link.node.as_str()), entry(&self.own())?).await
    }

    /// Says what is served here. The server removes it after `life`, unless it is said again.
    pub(super) async fn tell_served(&self, life: Duration) -> Result<()> {
        if !self.speaks() {
            return Ok(());
        }
        self.link.publish_for(names::served(self.link.node.as_str()), life, entry(&self.serving())?).await
    }

    /// A node has gone, by its silence or its own word.
    fn gone(&self, name: &str, now: Instant) {
        if let Some(peer) = self.known_peer(name) {
            peer.with(|lane| ((), lane.gone(now)));
            peer.lost();
        }
    }

    /// Keeps time and keeps house, for as long as the node lives.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut notices = self.link.notices();
        let mut doors = Doors::new(self.clone());
        let (mut beats, mut ticks) = (tokio::time::interval(BEAT), tokio::time::interval(TICK));
        let mut renewals = tokio::time::interval_at(Instant::now() + RENEW, RENEW);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connected, mut count) = (true, 0);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Connected) => {
                        connected = true;
                        self.reconnected();
                    }
                    Ok(Notice::Disconnected) => {
                        connected = false;
                        self.disconnected();
                    }
                    Ok(Notice::PublishDenied(subject)) => self.denied(&subject),
                    Ok(Notice::Closed(_)) => {
                        connected = false;
                        self.refused();
                    }
                    Ok(_) => {}
                    // What was missed may have been a broken connection.
                    Err(RecvError::Lagged(_)) if connected => {
                        self.disconnected();
                        self.reconnected();
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = self.changed.notified() => {
                    doors.open(&self.serves()).await;
                    if connected {
                        // Refused or lost, it is told again with the next change, or heard of by a later reader.
                        let _ = (self.beat().await, self.tell_served(KEPT).await);
                    }
                }
                _ = renewals.tick(), if connected => self.renew().await,
                _ = beats.tick(), if connected => { let _ = self.beat().await; }
                _ = ticks.tick() => {
                    self.tick(count);
                    count += 1;
                }
            }
        }
    }

    /// Says again what is served here, before it is too old, and forgets what those served who are long away.
    async fn renew(&self) {
        lock(&self.directory).tidy(Instant::now());
        // Refused or lost, it is told again the next time, long before it is too old.
        let _ = self.tell_served(KEPT).await;
    }

    fn serves(&self) -> HashSet<Address> {
        lock(&self.serves).keys().cloned().collect()
    }

    fn tick(&self, count: u64) {
        let now = Instant::now();
        for peer in self.peers() {
            let gone = peer.with(|lane| {
                let (ended, gone) = lane.tick(now);
                (gone, ended)
            });
            if gone {
                lock(&self.directory).forget(&peer.name);
                peer.lost();
            }
            if count.is_multiple_of(LOOK) {
                lock(&peer.desk).partials.sweep(now);
            }
        }
        if count.is_multiple_of(LOOK) {
            let silent = lock(&self.directory).look(now);
            silent.iter().for_each(|name| self.gone(name, now));
            self.make_room();
        }
    }

    fn make_room(&self) {
        if !self.table().is_crowded() {
            return;
        }
        let there: HashSet<String> =
            lock(&self.directory).nodes().into_iter().map(|one| one.node.to_string()).collect();
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.rest(|name| there.contains(name));
    }

    fn disconnected(&self) {
        lock(&self.directory).disconnected();
        for peer in self.peers() {
            peer.with(|lane| (lane.hold(), Vec::new()));
        }
    }

    fn reconnected(&self) {
        let now = Instant::now();
        lock(&self.directory).connected(now);
        for peer in self.peers() {
            peer.with(|lane| (lane.resume(now), Vec::new()));
        }
        self.changed.notify_one();
    }

    /// The server takes nothing from this node any more, so nothing that waits can come to anything.
    fn refused(&self) {
        for peer in self.peers() {
            peer.with(|lane| ((), lane.denied()));
            peer.lost();
        }
    }

    /// The server has refused a publish; if it was on a lane, all that waits there is refused.
    fn denied(&self, subject: &str) {
        let mut tokens = subject.strip_prefix("cb.v1.lane.").unwrap_or_default().split('.');
        if let (Some(to), Some(me), None) = (tokens.next(), tokens.next(), tokens.next())
            && me == self.link.node.as_str()
            && let Some(peer) = self.known_peer(to)
        {
            self.denials.fetch_add(1, Ordering::Relaxed);
            peer.with(|lane| ((), lane.denied()));
        }
    }
}

fn entry(entry: &impl serde::Serialize) -> Result<Bytes> {
    let text = serde_json::to_string(entry).map_err(|e| Error::decode(e.to_string()))?;
    Ok(text.into())
}
