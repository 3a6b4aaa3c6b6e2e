//! What this process has stored and the log of facts may not show yet.
//!
//! The server derives facts a moment after the records that they follow from: about half a millisecond later, and up to
//! 0.2 s in a new stream. A process reads what it has written itself, so its rooms note here what they have stored, and
//! a reader of facts waits until the log has come as far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::link::Link;
use super::names;
use super::record;
use super::tail::Tail;
use crate::error::Result;

/// How long a reader of facts waits for those that follow from what this process stored: 2 s. After that it reads what
/// is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that are asked one after the other before the log itself is listened to.
const QUESTIONS: usize = 8;

/// The newest sequences from which a fact follows, of each source of the log.
#[derive(Debug, Default)]
pub struct Seen {
    stored: Marks,
    derived: Marks,
}

/// The server copies the log of runs twice: all facts of it, and the results alone.
#[derive(Debug, Default)]
struct Marks {
    run: AtomicU64,
    result: AtomicU64,
    state: AtomicU64,
}

/// What the log of facts says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// The oldest number that is kept.
    pub(crate) first: u64,
    /// The newest number; 0: none.
    pub(crate) last: u64,
}

impl Seen {
    /// Notes a record of the log of runs that this process has stored: its sequence and its kind.
    pub fn note_run(&self, seq: u64, kind: &str) {
        let ending = record::ending(kind);
        if ending.is_none() && !matches!(kind, record::SUBMITTED | record::STARTED | "claimed") {
            return;
        }
        self.stored.run.fetch_max(seq, Ordering::AcqRel);
        if ending == Some(crate::task::Status::Completed) {
            self.stored.result.fetch_max(seq, Ordering::AcqRel);
        }
    }

    /// Notes a change of state that this process has stored.
    pub fn note_state(&self, seq: u64) {
        self.stored.state.fetch_max(seq, Ordering::AcqRel);
    }

    fn all_derived(&self) -> bool {
        self.stored.pairs(&self.derived).all(|(stored, derived)| stored <= derived)
    }

    /// How far the log of facts reaches, once it has what this process had stored before the call.
    pub(crate) async fn extent(&self, link: &Arc<Link>) -> Result<Extent> {
        let mut extent = Extent::default();
        for _ in 0..QUESTIONS {
            extent = self.ask(link).await?;
            if self.all_derived() {
                return Ok(extent);
            }
        }
        let listening = async {
            let mut tail = Tail::new(link.clone(), names::EVENTS, vec!["cb.v1.event.>".into()], extent.last + 1);
            while !self.all_derived() {
                tail.next().await?;
                extent = self.ask(link).await?;
            }
            Ok(extent)
        };
        match tokio::time::timeout(PATIENCE, listening).await {
            Ok(listened) => listened,
            Err(_) => {
                tracing::warn!(seconds = PATIENCE.as_secs(), "the log of facts is behind the records");
                self.ask(link).await
            }
        }
    }

    /// As [`Seen::extent`] when something is outstanding; costs nothing otherwise.
    pub(crate) async fn wait(&self, link: &Arc<Link>) -> Result<()> {
        if self.all_derived() { Ok(()) } else { self.extent(link).await.map(drop) }
    }

    async fn ask(&self, link: &Link) -> Result<Extent> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Info {
            state: State,
            sources: Vec<Source>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct State {
            first_seq: u64,
            last_seq: u64,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Source {
            name: String,
            seq: u64,
            subject_transforms: Vec<Value>,
        }
        let said = link.info(names::EVENTS).await?;
        let info: Info = serde_json::from_value(said.map_err(|e| e.into_error(names::EVENTS))?).unwrap_or_default();
        for source in &info.sources {
            let mark = match (source.name.as_str(), source.subject_transforms.len()) {
                (names::STATE, _) => &self.derived.state,
                (_, 1) => &self.derived.result,
                _ => &self.derived.run,
            };
            mark.fetch_max(source.seq, Ordering::AcqRel);
        }
        Ok(Extent { first: info.state.first_seq.max(1), last: info.state.last_seq })
    }
}

impl Marks {
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let each = [(&self.run, &other.run), (&self.result, &other.result), (&self.state, &other.state)];
        each.into_iter().map(|(a, b)| (a.load(Ordering::Acquire), b.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_from_which_a_fact_follows_are_waited_for() {
        let seen = Seen::default();
        seen.note_run(7, "step");
        seen.note_run(8, record::LAPSED);
        assert!(seen.all_derived());
        seen.note_run(9, record::SUBMITTED);
        assert!(!seen.all_derived());
        seen.derived.run.store(9, Ordering::Release);
        assert!(seen.all_derived());
        seen.note_run(10, "completed");
        seen.derived.run.store(10, Ordering::Release);
        assert!(!seen.all_derived(), "the result is a fact of its own");
    }
}
