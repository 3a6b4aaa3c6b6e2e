//! Going on with what a node held that is gone.
//!
//! Its claims stand in the logs, each with where its queue message is given back. Ending a claim is an append like any
//! other: of several that take over one does it, and a node that only seemed to be gone finds that it was replaced.

use std::collections::BTreeSet;

use super::look::InProgress;
use super::room::{Appended, Room, TaskRoom, boot_of, text};
use crate::error::Result;
use crate::id::{NodeName, TaskId};
use crate::nats::record::{LAPSED, Lapsed};
use crate::tasks::Revoked;

impl TaskRoom {
    /// Gives back what `node` held, except by its incarnation `alive`. Returns the tasks that this call gave back.
    ///
    /// # Errors
    /// `Unavailable`; what was given back until then is.
    pub(crate) async fn take_over(&self, node: &NodeName, alive: Option<u32>) -> Result<Vec<TaskId>> {
        self.0.take_over(node, alive).await
    }

    /// The nodes that hold anything, by what the logs say; workers of other kinds, which have no presence and lapse by
    /// the server's own timer, are not among them.
    pub(crate) async fn holders(&self) -> Result<BTreeSet<NodeName>> {
        let held = self.0.in_progress().await?;
        Ok(held.into_iter().filter(|one| boot_of(&one.held.writer).is_some()).map(|one| one.held.node).collect())
    }
}

impl Room {
    async fn take_over(&self, node: &NodeName, alive: Option<u32>) -> Result<Vec<TaskId>> {
        let mut taken = Vec::new();
        for InProgress { task, last, held } in self.in_progress().await? {
            let boot = boot_of(&held.writer);
            if held.node != *node || boot.is_none() || boot == alive {
                continue;
            }
            let (mark, by) = (self.mark(), self.link.node.clone());
            let document = Lapsed { writer: mark.clone(), at: self.now(), node: Some(held.node), by };
            if let Appended::At(_) = self.append_record(&task, LAPSED, last, text(&document)?, &mark).await? {
                self.held.revoke(&task, Revoked::Replaced);
                self.nak(&held.ack, std::time::Duration::ZERO).await;
                taken.push(task);
            }
        }
        Ok(taken)
    }
}
