//! One transaction: what commands see of the store while it is open, and the news that it brings once it is committed.

use super::core::Core;
use super::db::Db;
use super::events;
use super::fault::Done;
use super::tasks::Handed;
use crate::clock::Millis;
use crate::event::{Event, NewEvent};
use crate::task::Outcome;
use crate::tasks::Revoked;

/// The open transaction.
pub(super) struct Turn<'a> {
    pub(super) db: &'a Db,
    /// What the writer keeps in memory. It is ahead of the file until the commit, and read back from it after a rollback.
    pub(super) core: &'a mut Core,
    /// The time of everything in this transaction.
    pub(super) now: Millis,
    pub(super) news: News,
}

/// What others are told after the commit, and only then.
#[derive(Default)]
pub(super) struct News {
    /// Events that have their number and are not in the file yet.
    pub(super) events: Vec<Event>,
    /// Tasks that have ended.
    pub(super) ended: Vec<Outcome>,
    /// Claims that hold no longer, and why, unless their holder ended them.
    pub(super) let_go: Vec<(u64, Option<Revoked>)>,
    /// Claimers that were waiting and are served, or have waited long enough.
    pub(super) handed: Vec<Handed>,
}

impl Turn<'_> {
    /// Records a fact; its number.
    pub(super) fn happened(&mut self, fact: NewEvent) -> u64 {
        self.core.marks.event += 1;
        let seq = self.core.marks.event;
        self.news.events.push(Event::new(seq, self.now, fact));
        seq
    }

    /// Records several facts.
    pub(super) fn all_happened(&mut self, facts: impl IntoIterator<Item = NewEvent>) {
        for fact in facts {
            self.happened(fact);
        }
    }

    /// Puts what was gathered into the file, as the last thing before a commit.
    pub(super) fn settle(&mut self) -> Done<()> {
        events::store(self.db, &self.news.events)
    }
}
