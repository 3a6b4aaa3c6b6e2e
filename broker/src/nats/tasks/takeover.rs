//! Going on with what a node held that is gone.
//!
//! Its claims stand in the logs, each with where its queue message is given back. With each goes on record how many others
//! the node held, by which [suspects](suspect) are known. Ending a claim is an append like any
//! other: of several that take over one does it, and a node that only seemed to be gone finds that it was replaced.
//!
//! A message that the server hands out a second time says nothing about its claim: the server forgets what it handed out
//! when it is killed. So the holder is asked before anybody takes a task that is held. And a message that was on its way
//! to a node that is gone, or on a connection that broke, was never claimed, so no log tells of it: it is found among
//! those that the server says it has handed out, and given back in the place of whoever has it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::entry;
use super::held::lapse;
use super::look::Span;
use super::room::{Appended, Room, TaskRoom, boot_of, text};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::{NodeName, TaskId};
use crate::nats::peers::{BEGINS, GRACE, HELD};
use crate::nats::record::{Claimed, DeathNote, LAPSED, Lapsed, Story};
use crate::nats::{names, provision};
use crate::subject::CapabilityName;
use crate::suspect;
use crate::task::{Entry, Priority};
use crate::tasks::Revoked;

/// How long a holder may take to say whether it holds a task.
const ANSWER: Duration = Duration::from_millis(250);
/// How long a message is put aside whose holder did not answer.
pub(super) const UNCLEAR: Duration = Duration::from_millis(500);
/// How long a step may take on the way from seeing that somebody is gone to ending his claims. Where one took longer this
/// process was stopped or cut off meanwhile, and whoever was gone then may be back.
pub(in crate::nats) const FRESH: Duration = Duration::from_secs(1);

impl TaskRoom {
    /// Gives back what those incarnations of `node` held that `gone` says. Returns the tasks that this call gave back.
    ///
    /// # Errors
    /// `Unavailable`; what was given back until then is.
    pub(crate) async fn take_over(&self, node: &NodeName, gone: impl Fn(u32) -> bool) -> Result<Vec<TaskId>> {
        self.0.take_over(node, gone).await
    }

    /// What this process says of the task of that name: whether it holds it.
    pub(crate) fn says_of(&self, name: &[u8]) -> &'static str {
        let task = std::str::from_utf8(name).ok().and_then(|name| TaskId::parse(name).ok());
        match task.map(|task| self.0.stands(&task)) {
            Some(Standing::Held) => HELD,
            Some(Standing::Unclear) => BEGINS,
            Some(Standing::Free) | None => "",
        }
    }

    /// Gives back what was handed out of the capabilities that are served here and nobody has claimed. What somebody is
    /// about to claim may go to two; one of them will.
    ///
    /// # Errors
    /// `Unavailable`; what was given back until then is.
    pub(crate) async fn rescue(&self) -> Result<()> {
        let capabilities: Vec<CapabilityName> = self.0.desks().keys().cloned().collect();
        for capability in capabilities {
            for urgency in names::PRIORITIES {
                self.0.rescue(&capability, urgency).await?;
            }
        }
        Ok(())
    }

    /// The incarnations of nodes that hold anything, by what the logs say; workers of other kinds, which have no presence
    /// and lapse by the server's own timer, are not among them.
    pub(crate) async fn holders(&self) -> Result<BTreeSet<(NodeName, u32)>> {
        let (mut holders, mut spans) = (BTreeSet::new(), self.0.handed_out().await?);
        while !spans.is_empty() {
            let found = self.0.in_progress(&mut spans).await?;
            let held = found.into_iter().filter_map(|(_, story)| story.held);
            holders.extend(held.filter_map(|held| Some((held.node, boot_of(&held.writer)?))));
        }
        Ok(holders)
    }
}

/// What a look at all claims found of a node that is gone.
#[derive(Default)]
struct Left {
    tasks: Vec<TaskId>,
    /// How many tasks each incarnation of it held; those too that somebody else has given back.
    held: HashMap<u32, usize>,
}

impl Room {
    async fn take_over(&self, node: &NodeName, gone: impl Fn(u32) -> bool) -> Result<Vec<TaskId>> {
        let mut seen = Instant::now();
        let left = self.left_by(node, &gone, &mut seen).await?;
        let mut taken = Vec::new();
        for task in left.tasks {
            let mut story = self.story(&task).await?;
            still_fresh(&mut seen)?;
            let Some(held) = story.held.take().filter(|held| held.node == *node) else { continue };
            let Some(boot) = boot_of(&held.writer).filter(|boot| gone(*boot)) else { continue };
            let beside = left.held.get(&boot).map_or(0, |held| held - 1);
            let (mark, at, by) = (self.mark(), self.now(), self.link.node.clone());
            let (death, not_before) = note_of(&story, &held, beside, at).unzip();
            let document = Lapsed { writer: mark.clone(), at, node: Some(held.node), by, death };
            if let Appended::At(_) = self.append_record(&task, LAPSED, story.last, text(&document)?, &mark).await? {
                self.held.revoke(&task, Revoked::Replaced);
                let wait = not_before.map_or(0, |until: Millis| until.saturating_sub(at));
                self.nak(&held.ack, Duration::from_millis(wait)).await;
                taken.push(task);
            }
        }
        Ok(taken)
    }

    async fn left_by(&self, node: &NodeName, gone: &impl Fn(u32) -> bool, seen: &mut Instant) -> Result<Left> {
        let (mut left, mut spans) = (Left::default(), self.handed_out().await?);
        while !spans.is_empty() {
            let found = self.in_progress(&mut spans).await?;
            still_fresh(seen)?;
            for (task, story) in found {
                let holds = story.held.as_ref().filter(|held| held.node == *node);
                let holds = holds.and_then(|held| boot_of(&held.writer)).filter(|boot| gone(*boot));
                let held = story.died.as_deref().and_then(boot_of).filter(|boot| gone(*boot));
                let Some(boot) = holds.or(held) else { continue };
                *left.held.entry(boot).or_default() += 1;
                left.tasks.extend(holds.map(|_| task));
            }
        }
        Ok(left)
    }

    async fn rescue(&self, capability: &CapabilityName, urgency: Priority) -> Result<()> {
        let info = provision::consumer(&self.link, capability, urgency).await?;
        let Some(Span { filter, mut from, to, batch }) = Span::of(&info) else { return Ok(()) };
        let consumer = names::consumer(capability, urgency);
        let mut more = true;
        while more && from <= to {
            let page = self.link.page(names::TASKS, &filter, from, batch).await?;
            more = page.last().is_some_and(|raw| raw.pending > 0);
            from = page.last().map_or(u64::MAX, |raw| raw.seq + 1);
            let handed_out = page.iter().filter(|raw| raw.seq <= to);
            let named = handed_out.filter_map(|raw| Some((raw.seq, entry::address(&raw.subject).ok()?.task)));
            let (numbers, ids): (Vec<u64>, Vec<TaskId>) = named.unzip();
            for (seq, story) in numbers.into_iter().zip(self.glance(&ids).await?) {
                let is_free = story.held.is_none() && story.outcome.is_none() && story.not_before <= self.now();
                // Who laid it aside may be frozen before its acknowledgement, which would take the message from under
                // whoever got it now. It comes back by itself.
                if is_free && story.parked.is_none() {
                    // The server knows a delivery by these numbers; any of this consumer's will do as the third.
                    let delivered = &info["delivered"]["consumer_seq"];
                    let ack = format!("$JS.ACK.{}.{consumer}.1.{seq}.{delivered}.0.0", names::TASKS);
                    self.link.publish(ack, "-NAK".into()).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether this process works on a task. A claim that is being written may be on record, and may come to nothing.
    fn stands(&self, task: &TaskId) -> Standing {
        // In this order: once it is written it is held.
        let begins = self.held.begins(task);
        if self.held.seen(task).is_some() {
            Standing::Held
        } else if begins {
            Standing::Unclear
        } else {
            Standing::Free
        }
    }

    /// What becomes of a message whose task is held by somebody.
    pub(super) async fn inquire(&self, task: &TaskId, held: &Claimed) -> Standing {
        let Some(boot) = boot_of(&held.writer) else { return Standing::Free };
        if boot == self.link.boot {
            return self.stands(task);
        }
        let (subject, question) = (names::control(&held.node, "alive"), task.to_string().into());
        match tokio::time::timeout(ANSWER, self.link.request(&subject, None, question)).await {
            Ok(Ok(answer)) if answer.payload == HELD => Standing::Held,
            Ok(Ok(answer)) if answer.payload == BEGINS => Standing::Unclear,
            Ok(Ok(_)) => Standing::Free,
            // After an outage of the broker it may only not be back yet.
            _ if self.link.is_just_back(GRACE) => Standing::Unclear,
            // Whoever looks after it will find it gone; nobody may be left to do so.
            _ if held.since + lapse() <= self.now() => Standing::Free,
            _ => Standing::Unclear,
        }
    }
}

/// Looks whether a step that has ended was quick enough, and begins the next.
fn still_fresh(seen: &mut Instant) -> Result<()> {
    match std::mem::replace(seen, Instant::now()).elapsed() {
        step if step > FRESH => Err(Error::unavailable("it was looked for too long ago")),
        _ => Ok(()),
    }
}

/// The record of a death for the log of a task that was held beside so many others, and when it may be handed out again.
fn note_of(story: &Story, held: &Claimed, beside: usize, now: Millis) -> Option<(DeathNote, Millis)> {
    let task = story.task.as_ref()?;
    let entry = suspect::died(&story.log, &task.retry, held.node.clone(), beside, false, now);
    let not_before = if let Entry::Died { not_before, .. } = entry { not_before } else { 0 };
    let (n, capability, of) = (story.n() + 1, task.capability.clone(), held.writer.clone());
    Some((DeathNote { n, capability, entry, of }, not_before))
}

/// Whether somebody works on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its holder does, and will acknowledge its message.
    Held,
    /// Nobody does.
    Free,
    /// Its holder does not answer, or is about to begin.
    Unclear,
}
