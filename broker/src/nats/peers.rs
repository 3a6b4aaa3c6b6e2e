//! Who among the nodes is gone, and going on with what they held.
//!
//! A node that is killed is known at once, because the server finds nobody who listens to it: each node asks its two
//! neighbours in the ring of names four times a second. One that is frozen still listens; it is known by the silence of
//! its presence. Either way its claims are ended in their logs, so a node that only seemed to be gone can record nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};

use super::js::receive;
use super::link::{Link, Notice};
use super::messages::{NatsMessages, NodeState};
use super::names;
use super::tasks::TaskRoom;
use crate::error::{Error, Result};
use crate::id::NodeName;

/// How often neighbours are asked whether they are there.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often in a row nobody may listen before a node counts as gone: one that connects again is back by then.
const STRIKES: u32 = 2;
/// How many neighbours a node looks after.
const NEIGHBOURS: usize = 2;
/// After its own connection comes back a node gives the others this long to do the same.
const GRACE: Duration = Duration::from_secs(5);
/// How often all claims are looked through for holders that nobody has seen: those that were gone before this node came.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// When that is done for the first time: signs of life of all who are there have been heard by then.
const FIRST_SWEEP: Duration = Duration::from_secs(3);

/// Looks after the other nodes for as long as the room of tasks lives.
pub(super) struct Watch {
    link: Arc<Link>,
    tasks: Weak<TaskRoom>,
    messages: Weak<NatsMessages>,
    /// The nodes that were there at the last look, with their incarnations.
    there: BTreeMap<NodeName, u32>,
    strikes: BTreeMap<NodeName, u32>,
    /// When others may be given up, and when all claims are looked through.
    trusts: Instant,
    sweep: Instant,
}

/// Answers whoever asks whether this node is there, and watches the others.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub(super) async fn start(link: Arc<Link>, tasks: &Arc<TaskRoom>, messages: &Arc<NatsMessages>) -> Result<()> {
    let lost = |e: async_nats::SubscribeError| Error::unavailable(format!("{}: {e}", link.address));
    let mut asked = link.client.subscribe(names::control(&link.node, "alive")).await.map_err(lost)?;
    let (answering, here) = (link.clone(), Arc::downgrade(tasks));
    tokio::spawn(async move {
        while let Some(question) = receive(&mut asked).await {
            if here.strong_count() == 0 {
                return;
            }
            if let Some(reply) = question.reply {
                // Whoever asked asks again.
                let _ = answering.publish(reply.to_string(), Bytes::new()).await;
            }
        }
    });
    let now = Instant::now();
    let watch = Watch {
        link,
        tasks: Arc::downgrade(tasks),
        messages: Arc::downgrade(messages),
        there: BTreeMap::new(),
        strikes: BTreeMap::new(),
        trusts: now,
        sweep: now + FIRST_SWEEP,
    };
    tokio::spawn(watch.run());
    Ok(())
}

impl Watch {
    async fn run(mut self) {
        let mut notices = self.link.notices();
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected = true;
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Ok(Notice::Disconnected) => connected = false,
                    Ok(Notice::Connected) | Err(RecvError::Lagged(_)) => {
                        connected = true;
                        (self.trusts, self.sweep) = (Instant::now() + GRACE, Instant::now() + GRACE);
                        self.strikes.clear();
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    let (Some(tasks), Some(messages)) = (self.tasks.upgrade(), self.messages.upgrade()) else { return };
                    if connected && Instant::now() >= self.trusts {
                        self.look(&tasks, &messages).await;
                    }
                }
            }
        }
    }

    async fn look(&mut self, tasks: &TaskRoom, messages: &NatsMessages) {
        let nodes = messages.nodes();
        let there: BTreeMap<NodeName, u32> =
            nodes.into_iter().filter(|one| one.state != NodeState::Gone).map(|one| (one.node, one.boot)).collect();
        let before = std::mem::replace(&mut self.there, there);
        for (node, boot) in before {
            if self.there.get(&node) != Some(&boot) {
                self.go_on(tasks, &node).await;
            }
        }
        for node in self.unheard().await {
            self.there.remove(&node);
            self.go_on(tasks, &node).await;
        }
        if Instant::now() >= self.sweep {
            self.sweep = Instant::now() + SWEEP_EVERY;
            if let Err(error) = self.look_through(tasks).await {
                tracing::debug!(%error, "the claims could not be looked through");
            }
        }
    }

    /// The neighbours that nobody could be found for.
    async fn unheard(&mut self) -> Vec<NodeName> {
        let after = self.there.keys().filter(|node| **node > self.link.node);
        let around = self.there.keys().filter(|node| **node < self.link.node);
        let neighbours: Vec<NodeName> = after.chain(around).take(NEIGHBOURS).cloned().collect();
        self.strikes.retain(|node, _| neighbours.contains(node));
        let link = &self.link;
        let asked = futures_util::future::join_all(neighbours.iter().map(|node| async move {
            let subject = names::control(node, "alive");
            tokio::time::timeout(ASK_EVERY, link.request(&subject, None, Bytes::new())).await
        }))
        .await;
        let mut unheard = Vec::new();
        for (node, answer) in neighbours.into_iter().zip(asked) {
            if !matches!(answer, Ok(Err(Error::NoRecipient { .. }))) {
                // A silent one may be frozen; its presence will tell.
                self.strikes.remove(&node);
                continue;
            }
            let strikes = self.strikes.entry(node.clone()).or_default();
            *strikes += 1;
            if *strikes >= STRIKES {
                unheard.push(node);
            }
        }
        unheard
    }

    async fn go_on(&self, tasks: &TaskRoom, node: &NodeName) {
        match tasks.take_over(node, self.there.get(node).copied()).await {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => tracing::warn!(%node, tasks = taken.len(), "a node is gone, what it held goes on elsewhere"),
            // The next look through all claims finds them again.
            Err(error) => tracing::warn!(%node, %error, "what a node held could not be taken over"),
        }
    }

    /// Takes over from holders that are not there, whoever they were.
    async fn look_through(&self, tasks: &TaskRoom) -> Result<()> {
        let holders: BTreeSet<NodeName> = tasks.holders().await?;
        for node in holders {
            if node != self.link.node && !self.there.contains_key(&node) {
                self.go_on(tasks, &node).await;
            }
        }
        Ok(())
    }
}
