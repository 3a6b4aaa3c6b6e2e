//! Going on with what a node held that is gone.
//!
//! Its claims stand in the logs, each with where its queue message is given back. Ending a claim is an append like any
//! other: of several that take over one does it, and a node that only seemed to be gone finds that it was replaced.
//!
//! A message that the server hands out a second time says nothing about its claim: the server forgets what it handed out
//! when it is killed. So the holder is asked before anybody takes a task that is held. And a message that was on its way
//! to a node that is gone, or on a connection that broke, was never claimed, so no log tells of it: it is found among
//! those that the server says it has handed out, and given back in the place of whoever has it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::entry;
use super::held::lapse;
use super::look::InProgress;
use super::room::{Appended, Room, TaskRoom, boot_of, text};
use crate::error::{Error, Result};
use crate::id::{NodeName, TaskId};
use crate::nats::peers::HELD;
use crate::nats::record::{Claimed, LAPSED, Lapsed};
use crate::nats::{names, provision};
use crate::subject::CapabilityName;
use crate::task::Priority;
use crate::tasks::Revoked;

/// How long a holder may take to say whether it holds a task.
const ANSWER: Duration = Duration::from_millis(250);
/// How long a message is put aside whose holder did not answer.
pub(super) const UNCLEAR: Duration = Duration::from_millis(500);
/// How long after a look claims are ended by what it saw. Longer ago, this process was stopped or cut off meanwhile, and
/// whoever was gone then may be back.
pub(in crate::nats) const FRESH: Duration = Duration::from_secs(1);
/// Queue messages that are read at a time.
const GATHER: usize = 512;

impl TaskRoom {
    /// Gives back what those incarnations of `node` held that `gone` says. Returns the tasks that this call gave back.
    ///
    /// # Errors
    /// `Unavailable`; what was given back until then is.
    pub(crate) async fn take_over(&self, node: &NodeName, gone: impl Fn(u32) -> bool) -> Result<Vec<TaskId>> {
        self.0.take_over(node, gone).await
    }

    /// Whether this process holds the task of that name.
    pub(crate) fn holds(&self, name: &[u8]) -> bool {
        let task = std::str::from_utf8(name).ok().and_then(|name| TaskId::parse(name).ok());
        task.is_some_and(|task| self.0.held.seen(&task).is_some())
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

    /// The nodes that hold anything, by what the logs say; workers of other kinds, which have no presence and lapse by
    /// the server's own timer, are not among them.
    pub(crate) async fn holders(&self) -> Result<BTreeSet<NodeName>> {
        let (mut holders, mut next) = (BTreeSet::new(), Some(1));
        while let Some(from) = next {
            let (held, more) = self.0.in_progress(from).await?;
            next = more;
            let ours = held.into_iter().filter(|one| boot_of(&one.held.writer).is_some());
            holders.extend(ours.map(|one| one.held.node));
        }
        Ok(holders)
    }
}

impl Room {
    async fn take_over(&self, node: &NodeName, gone: impl Fn(u32) -> bool) -> Result<Vec<TaskId>> {
        let (mut taken, mut next) = (Vec::new(), Some(1));
        while let Some(from) = next {
            let began = Instant::now();
            let (held, more) = self.in_progress(from).await?;
            next = more;
            for InProgress { task, last, held } in held {
                if held.node != *node || !boot_of(&held.writer).is_some_and(&gone) {
                    continue;
                }
                if began.elapsed() > FRESH {
                    return Err(Error::unavailable("it was looked for too long ago"));
                }
                let (mark, by) = (self.mark(), self.link.node.clone());
                let document = Lapsed { writer: mark.clone(), at: self.now(), node: Some(held.node), by };
                if let Appended::At(_) = self.append_record(&task, LAPSED, last, text(&document)?, &mark).await? {
                    self.held.revoke(&task, Revoked::Replaced);
                    self.nak(&held.ack, Duration::ZERO).await;
                    taken.push(task);
                }
            }
        }
        Ok(taken)
    }

    async fn rescue(&self, capability: &CapabilityName, urgency: Priority) -> Result<()> {
        let info = provision::consumer(&self.link, capability, urgency).await?;
        let number = |of: &str, what: &str| info[of][what].as_u64().unwrap_or_default();
        let (mut from, to) = (number("ack_floor", "stream_seq") + 1, number("delivered", "stream_seq"));
        let (consumer, filter) = (names::consumer(capability, urgency), names::consumer_filter(capability, urgency));
        let mut more = info["num_ack_pending"].as_u64().is_some_and(|many| many > 0);
        while more && from <= to {
            let page = self.link.page(names::TASKS, &filter, from, GATHER).await?;
            more = page.last().is_some_and(|raw| raw.pending > 0);
            from = page.last().map_or(u64::MAX, |raw| raw.seq + 1);
            let handed_out = page.iter().filter(|raw| raw.seq <= to);
            let named = handed_out.filter_map(|raw| Some((raw.seq, entry::address(&raw.subject).ok()?.task)));
            let (numbers, ids): (Vec<u64>, Vec<TaskId>) = named.unzip();
            for (seq, story) in numbers.into_iter().zip(self.glance(&ids).await?) {
                if story.held.is_none() && story.outcome.is_none() && story.not_before <= self.now() {
                    // The server knows a delivery by these numbers; any of this consumer's will do as the third.
                    let delivered = number("delivered", "consumer_seq");
                    let ack = format!("$JS.ACK.{}.{consumer}.1.{seq}.{delivered}.0.0", names::TASKS);
                    self.link.publish(ack, "-NAK".into()).await?;
                }
            }
        }
        Ok(())
    }

    /// What becomes of a message whose task is held by somebody.
    pub(super) async fn inquire(&self, task: &TaskId, held: &Claimed) -> Standing {
        let Some(boot) = boot_of(&held.writer) else { return Standing::Free };
        if boot == self.link.boot {
            return if self.held.seen(task).is_some() { Standing::Held } else { Standing::Free };
        }
        let (subject, question) = (names::control(&held.node, "alive"), task.to_string().into());
        match tokio::time::timeout(ANSWER, self.link.request(&subject, None, question)).await {
            Ok(Ok(answer)) if answer.payload == HELD => Standing::Held,
            Ok(Ok(_)) => Standing::Free,
            // Whoever looks after it will find it gone; nobody may be left to do so.
            _ if held.since + lapse() <= self.now() => Standing::Free,
            _ => Standing::Unclear,
        }
    }
}

/// Whether somebody works on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its holder does, and will acknowledge its message.
    Held,
    /// Nobody does.
    Free,
    /// Its holder does not answer.
    Unclear,
}
