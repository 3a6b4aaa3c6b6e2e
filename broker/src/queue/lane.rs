//! One capability's part of the queue: what is ready, who waits for it, who works on it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Item, Want};
use crate::id::{NodeName, TaskId};
use crate::task::Priority;

/// The tasks and claimers of one capability.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What can be handed out now: most urgent first, then in the order of submission.
    ready: BTreeMap<(Priority, u64), TaskId>,
    /// Unclaimed tasks, ready or not yet.
    pub(super) pending: u64,
    /// How many tasks each node holds.
    holders: HashMap<NodeName, u64>,
    /// Claimers that found nothing, the longest waiting first.
    pub(super) parked: VecDeque<(u64, Want)>,
}

impl Lane {
    pub(super) fn ready(&mut self, item: &Item) {
        self.ready.insert((item.priority, item.seq), item.task.clone());
    }

    pub(super) fn unready(&mut self, priority: Priority, seq: u64) {
        self.ready.remove(&(priority, seq));
    }

    pub(super) fn first_ready(&self, may: impl Fn(&TaskId) -> bool) -> Option<&TaskId> {
        self.ready.values().find(|task| may(task))
    }

    /// The claimer to try next after `passed` that what is ready does not suit; none when nothing is ready.
    pub(super) fn next_fed(&self, passed: usize) -> Option<(u64, Want)> {
        if self.ready.is_empty() { None } else { self.parked.get(passed).cloned() }
    }

    pub(super) fn hold(&mut self, node: &NodeName) {
        *self.holders.entry(node.clone()).or_default() += 1;
    }

    pub(super) fn let_go(&mut self, node: &NodeName) {
        if let Some(held) = self.holders.get_mut(node) {
            *held -= 1;
            if *held == 0 {
                self.holders.remove(node);
            }
        }
    }

    pub(super) fn in_progress(&self) -> u64 {
        self.holders.values().sum()
    }

    /// Whether another node is known that may yet take a task which this one has declined: it works on something of this
    /// capability, or waits for it and has not declined the task as well.
    pub(super) fn is_for_others(&self, node: &NodeName, task: &TaskId) -> bool {
        let waits = |want: &Want| want.node != *node && !want.declined.contains(task);
        self.holders.keys().any(|n| n != node) || self.parked.iter().any(|(_, want)| waits(want))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending == 0 && self.holders.is_empty() && self.parked.is_empty()
    }
}
