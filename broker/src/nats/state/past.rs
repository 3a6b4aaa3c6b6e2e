//! Reading state: now, at a moment, and all changes of a key.
//!
//! The server finds the newest message of each key as it was at any sequence, so the past needs no snapshots. A reader
//! asks the leader where the stream ends and reads up to there, and it asks for that last message too: a replica that
//! does not have it is behind, and is asked again.

use std::collections::HashMap;

use serde_json::json;

use super::{StateRoom, document};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::nats::js::{MULTI, Raw};
use crate::nats::names;
use crate::state::{Change, Key, Moment, StateEntry};

/// All keys.
pub(super) const ALL: &str = "$KV.cb_state.>";
/// How often a replica that is behind is asked again.
const TRIES: usize = 50;

/// Where the stream ended when the leader was asked.
pub(super) struct Cut {
    pub(super) seq: u64,
    subject: String,
}

impl StateRoom {
    pub(super) async fn cut(&self) -> Result<Cut> {
        let (seq, subject) = self.link.newest(names::STATE, ALL).await?;
        Ok(Cut { seq, subject })
    }

    pub(super) async fn entries_of(&self, keys: &[Key]) -> Result<Vec<Option<StateEntry>>> {
        let cut = self.cut().await?;
        let subjects: Vec<String> = keys.iter().map(|key| names::state(key.as_str())).collect();
        let found = self.newest_of(&subjects, &cut, cut.seq).await?;
        let found: HashMap<&str, &Raw> = found.iter().map(|raw| (raw.subject.as_str(), raw)).collect();
        Ok(subjects.iter().map(|subject| found.get(subject.as_str()).and_then(|raw| document::entry(raw))).collect())
    }

    /// All entries below a prefix as they were after change number `seq`, by key.
    pub(super) async fn below(&self, prefix: &str, cut: &Cut, seq: u64) -> Result<Vec<StateEntry>> {
        let Some(filters) = filters(prefix) else { return Ok(Vec::new()) };
        let found = match self.last(&filters, cut, seq).await {
            Err(Error::TooLarge { .. }) => {
                let mut subjects = Vec::new();
                for filter in &filters {
                    subjects.extend(self.subjects(filter).await?);
                }
                self.newest_of(&subjects, cut, seq).await?
            }
            found => found?,
        };
        let mut entries: Vec<StateEntry> = found.iter().filter_map(document::entry).collect();
        entries.retain(|entry| entry.key.is_below(prefix));
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    pub(super) async fn past(&self, moment: Moment, prefix: &str) -> Result<Vec<StateEntry>> {
        let cut = self.cut().await?;
        let seq = match moment {
            Moment::Sequence(seq) => seq.min(cut.seq),
            Moment::Time(time) => self.until(time, cut.seq).await?,
        };
        self.below(prefix, &cut, seq).await
    }

    pub(super) async fn changes_of(&self, key: &Key) -> Result<Vec<Change>> {
        let subject = names::state(key.as_str());
        let (newest, _) = self.link.newest(names::STATE, &subject).await?;
        if newest == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..TRIES {
            let stored = self.link.all(names::STATE, &subject, 1).await?;
            if stored.last().is_none_or(|raw| raw.seq < newest) {
                continue;
            }
            let mut previous = None;
            let change = |raw: &Raw| {
                let change = document::change(raw, previous.take())?;
                previous.clone_from(&change.value);
                Some(change)
            };
            return Ok(stored.iter().filter_map(change).collect());
        }
        Err(behind())
    }

    /// The newest message of each of any number of subjects.
    async fn newest_of(&self, subjects: &[String], cut: &Cut, seq: u64) -> Result<Vec<Raw>> {
        let mut found = Vec::new();
        for some in subjects.chunks(MULTI - 1) {
            found.extend(self.last(some, cut, seq).await?);
        }
        Ok(found)
    }

    /// `TooLarge` when there are more than the server gives in one answer.
    async fn last(&self, filters: &[String], cut: &Cut, seq: u64) -> Result<Vec<Raw>> {
        if seq == 0 {
            return Ok(Vec::new());
        }
        let all: Vec<String> = filters.iter().chain([&cut.subject]).cloned().collect();
        for _ in 0..TRIES {
            let mut found = self.link.last_of(names::STATE, &all, Some(seq)).await?;
            if seq == cut.seq && found.last().is_none_or(|raw| raw.seq < seq) {
                continue;
            }
            found.retain(|raw| filters.iter().any(|filter| matches(filter, &raw.subject)));
            return Ok(found);
        }
        Err(behind())
    }

    /// All subjects that match, whatever stands there.
    async fn subjects(&self, filter: &str) -> Result<Vec<String>> {
        let mut subjects: Vec<String> = Vec::new();
        loop {
            let ask = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let verb = format!("STREAM.INFO.{}", names::STATE);
            let said = self.link.repeated(|| self.link.api(&verb, ask.clone())).await?;
            let said = said.map_err(|e| e.into_error(names::STATE))?;
            let page = said["state"]["subjects"].as_object();
            let Some(page) = page.filter(|page| !page.is_empty()) else { return Ok(subjects) };
            subjects.extend(page.keys().cloned());
        }
    }

    /// The number of the last change up to and including a time. Times are those of the writers and go back as little as
    /// their clocks differ, so the place is found by halving.
    async fn until(&self, time: Millis, last: u64) -> Result<u64> {
        let (mut before, mut after) = (0, last + 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let there = self.link.page(names::STATE, ALL, middle, 1).await?;
            match there.first().filter(|raw| raw.seq < after) {
                Some(raw) if document::read(raw).at <= time => before = raw.seq,
                _ => after = middle,
            }
        }
        Ok(before)
    }
}

fn behind() -> Error {
    Error::unavailable(format!("{}: its replicas are behind its leader", names::STATE))
}

/// The subjects of a key and of all below it; none for what no key can begin with.
pub(super) fn filters(prefix: &str) -> Option<Vec<String>> {
    if prefix.is_empty() {
        return Some(vec![ALL.into()]);
    }
    let sound = prefix.split('.').all(|token| crate::subject::token("prefix", token).is_ok());
    sound.then(|| vec![names::state(prefix), format!("{}.>", names::state(prefix))])
}

/// Whether a filter of [`filters`], or a plain subject, lets a subject pass.
fn matches(filter: &str, subject: &str) -> bool {
    match filter.strip_suffix('>') {
        Some(above) => subject.starts_with(above),
        None => filter == subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_a_key_and_all_below_it_and_nothing_else() {
        let filters = filters("global.a").unwrap();
        let passes = |subject: &str| filters.iter().any(|filter| matches(filter, subject));
        assert!(passes("$KV.cb_state.global.a") && passes("$KV.cb_state.global.a.b"));
        assert!(!passes("$KV.cb_state.global.ab") && !passes("$KV.cb_state.global"));
        assert!(super::filters("global.").is_none() && super::filters("global.*").is_none());
    }
}
