//! Who among the nodes is gone, and going on with what they held.
//!
//! A node that is killed is known at once, because the server finds nobody who listens to it: each node asks its two
//! neighbours in the ring of names four times a second. One that is frozen still listens; it is known by the silence of
//! its presence. Either way its claims are ended in their logs, so a node that only seemed to be gone can record nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};

use super::js::receive;
use super::link::{Link, Notice};
use super::messages::{NatsMessages, NodeState};
use super::names;
use super::suspects::{Incarnation, Suspects};
use super::tasks::{FRESH, TaskRoom};
use crate::error::{Error, Result};
use crate::id::NodeName;

/// How often neighbours are asked whether they are there.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often in a row nobody may listen before a node counts as gone: one that connects again is back by then.
const STRIKES: u32 = 2;
/// How many neighbours a node looks after.
const NEIGHBOURS: usize = 2;
/// After its own connection comes back a node gives those of whom it has not heard since this long to do the same.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// After its own connection comes back: when it is looked for tasks that were on their way to somebody.
const RESCUE_AFTER: Duration = Duration::from_millis(500);
/// The answers of a node that is asked about a task: it holds it, or is writing its claim. Otherwise it says nothing.
pub(super) const HELD: &str = "held";
pub(super) const BEGINS: &str = "begins";
/// How old the last sign of life of one's own may be that was heard.
const HEARS: Duration = Duration::from_secs(1);
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
    /// How often in a row nobody listened in the place of which incarnation.
    strikes: BTreeMap<NodeName, (u32, u32)>,
    /// When those may be given up who have not been heard since the connection was there.
    trusts: Instant,
    /// When tasks are looked for that were on their way when the connection broke.
    rescue: Option<Instant>,
    /// When all claims are looked through.
    sweep: Instant,
    /// When it was last looked who is there.
    looked: Instant,
    /// Holders that were not there when all claims were looked through.
    suspects: Suspects,
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
            let Some(tasks) = here.upgrade() else { return };
            if let Some(reply) = question.reply {
                // Whoever asked asks again.
                let _ = answering.publish(reply.to_string(), tasks.says_of(&question.payload).into()).await;
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
        rescue: None,
        sweep: now + FIRST_SWEEP,
        looked: now,
        suspects: Suspects::default(),
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
                        let now = Instant::now();
                        (self.trusts, self.sweep, self.rescue) = (now + GRACE, now + GRACE, Some(now + RESCUE_AFTER));
                        self.strikes.clear();
                        self.suspects.clear();
                        self.looked = now;
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    let (Some(tasks), Some(messages)) = (self.tasks.upgrade(), self.messages.upgrade()) else { return };
                    if connected {
                        self.look(&tasks, &messages).await;
                    }
                }
            }
        }
    }

    async fn look(&mut self, tasks: &TaskRoom, messages: &NatsMessages) {
        if std::mem::replace(&mut self.looked, Instant::now()).elapsed() > FRESH {
            // This process was stopped: what others have said meanwhile has yet to be heard.
            return;
        }
        let nodes = messages.nodes();
        let there: BTreeMap<NodeName, u32> =
            nodes.into_iter().filter(|one| one.state != NodeState::Gone).map(|one| (one.node, one.boot)).collect();
        let before = std::mem::replace(&mut self.there, there);
        for (node, boot) in before {
            if self.there.get(&node) != Some(&boot) {
                self.go_on(tasks, &node, Some(boot)).await;
            }
        }
        for node in self.unheard(messages).await {
            let boot = self.there.remove(&node);
            self.go_on(tasks, &node, boot).await;
        }
        self.judge(tasks, messages).await;
        if self.rescue.is_some_and(|at| Instant::now() >= at) {
            self.rescue = None;
            self.rescue(tasks).await;
        }
        if Instant::now() >= self.sweep {
            self.sweep = Instant::now() + SWEEP_EVERY;
            if let Err(error) = self.look_through(tasks).await {
                tracing::debug!(%error, "the claims could not be looked through");
            }
            self.rescue(tasks).await;
        }
    }

    /// The neighbours that nobody could be found for.
    async fn unheard(&mut self, messages: &NatsMessages) -> Vec<NodeName> {
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
            if Instant::now() < self.trusts && !messages.has_heard(&node) {
                continue;
            }
            let boot = self.there.get(&node).copied().unwrap_or_default();
            let before = self.strikes.get(&node).filter(|(of, _)| *of == boot).map_or(0, |(_, strikes)| *strikes);
            self.strikes.insert(node.clone(), (boot, before + 1));
            if before + 1 >= STRIKES {
                unheard.push(node);
            }
        }
        unheard
    }

    /// Goes on with what an incarnation of a node held; without one, with what any of them held.
    async fn go_on(&mut self, tasks: &TaskRoom, node: &NodeName, gone: Option<u32>) {
        match tasks.take_over(node, |boot| gone.is_none_or(|gone| boot == gone)).await {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => tracing::warn!(%node, tasks = taken.len(), "a node is gone, what it held goes on elsewhere"),
            Err(error) => {
                tracing::warn!(%node, %error, "what a node held could not be taken over");
                // The next look finds it gone again, or back.
                self.there.extend(gone.map(|boot| (node.clone(), boot)));
            }
        }
        self.rescue(tasks).await;
    }

    /// Tasks may have been handed to a node that never came to claim them.
    async fn rescue(&self, tasks: &TaskRoom) {
        if let Err(error) = tasks.rescue().await {
            tracing::debug!(%error, "tasks on their way to a node that is gone come again by the server's own timer");
        }
    }

    /// Suspects the holders that are not there, whoever they are.
    async fn look_through(&mut self, tasks: &TaskRoom) -> Result<()> {
        // An earlier incarnation of this very node is as absent as any other.
        let absent: Vec<_> = tasks.holders().await?.into_iter().filter(|one| !self.is_there(one)).collect();
        self.suspects.are(absent, self.looked);
        Ok(())
    }

    /// Goes on with what suspects held of whom nothing has been heard since.
    async fn judge(&mut self, tasks: &TaskRoom, messages: &NatsMessages) {
        let (mut suspects, hears) = (std::mem::take(&mut self.suspects), messages.hears_itself(HEARS));
        let gone = suspects.gone(|one| self.is_there(one), hears, Instant::now());
        self.suspects = suspects;
        for (node, boot) in gone {
            self.go_on(tasks, &node, Some(boot)).await;
        }
    }

    fn is_there(&self, (node, boot): &Incarnation) -> bool {
        *node == self.link.node && *boot == self.link.boot || self.there.get(node) == Some(boot)
    }
}
