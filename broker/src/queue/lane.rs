//! One capability's part of the queue: what is ready, who waits for it, who works on it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::missed::Missed;
use super::said::Rank;
use super::{Place, Want, share};
use crate::id::{NodeName, TaskId};
use crate::task::{Priority, Version};

/// The tasks and claimers of one capability.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What can be handed out now, by the version that it stays with: most urgent first, then by rank.
    ready: BTreeMap<Option<Version>, BTreeMap<(Priority, Rank), TaskId>>,
    /// Unclaimed tasks, ready or not yet.
    pub(super) pending: u64,
    /// How many tasks each node holds.
    holders: HashMap<NodeName, u64>,
    /// Claimers that found nothing, the longest waiting first.
    pub(super) parked: VecDeque<(u64, Want)>,
    /// How often something was handed out while tasks of another priority were ready.
    turn: u64,
    /// Whether it was the turn of bulk when somebody came who takes none.
    owed: bool,
    pub(super) missed: Missed,
}

impl Lane {
    pub(super) fn ready(&mut self, Place { item, rank, .. }: &Place) {
        let version = item.begun_by.version().cloned();
        self.ready.entry(version).or_default().insert((item.priority, *rank), item.task.clone());
    }

    pub(super) fn unready(&mut self, Place { item, rank, .. }: &Place) {
        let version = item.begun_by.version().cloned();
        if let Some(ready) = self.ready.get_mut(&version) {
            ready.remove(&(item.priority, *rank));
            if ready.is_empty() {
                self.ready.remove(&version);
            }
        }
    }

    /// What this claimer gets next of what it `may` have, no less urgent than `least`.
    pub(super) fn first_ready(&self, want: &Want, least: Priority, may: impl Fn(&TaskId) -> bool) -> Option<&TaskId> {
        let first = self.first(least);
        let turns = [(first, Rank::MIN)..=(first, Rank::MAX), (Priority::High, Rank::MIN)..=(least, Rank::MAX)];
        turns.into_iter().find_map(|turn| {
            let versions = self.ready.iter().filter(|(version, _)| want.may_take(version.as_ref()));
            let next = versions.filter_map(|(_, ready)| ready.range(turn.clone()).find(|(_, task)| may(task)));
            next.min_by_key(|(place, _)| *place).map(|(_, task)| task)
        })
    }

    /// The versions with which something stays that can be handed out, with that.
    pub(super) fn by_version(&self) -> impl Iterator<Item = (&Version, &BTreeMap<(Priority, Rank), TaskId>)> {
        self.ready.iter().filter_map(|(version, ready)| Some((version.as_ref()?, ready)))
    }

    /// Whose turn it is, for a claimer that takes nothing less urgent than `least`.
    fn first(&self, least: Priority) -> Priority {
        match share::first(self.turn) {
            _ if self.owed && least == Priority::Bulk => Priority::Bulk,
            first if first > least => Priority::High,
            first => first,
        }
    }

    /// Something is handed out to a claimer that takes nothing less urgent than `least`: the next turn begins, if there
    /// was a choice.
    pub(super) fn pass_turn(&mut self, least: Priority) {
        let lowest = self.ready.values().filter_map(BTreeMap::last_key_value).map(|(place, _)| place.0).max();
        if self.owed && least == Priority::Bulk {
            self.owed = false;
            return;
        }
        let most = self.ready.values().filter_map(BTreeMap::first_key_value).map(|(place, _)| place.0).min();
        let is_bulks = share::first(self.turn) == Priority::Bulk && lowest == Some(Priority::Bulk);
        self.owed |= is_bulks && least < Priority::Bulk;
        self.turn += u64::from(most != lowest);
    }

    /// The claimer to try next after `passed` that what is ready does not suit; none when nothing is ready. Those who take
    /// no bulk are first: the others can do that meanwhile.
    pub(super) fn next_fed(&self, passed: usize) -> Option<(u64, Want)> {
        if self.ready.is_empty() {
            return None;
        }
        let (choosy, others): (Vec<_>, Vec<_>) = self.parked.iter().partition(|(_, want)| want.bulk == 0);
        choosy.into_iter().chain(others).nth(passed).cloned()
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
