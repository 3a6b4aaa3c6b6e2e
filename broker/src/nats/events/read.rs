//! Reading the log page by page, and following it.

use std::collections::HashMap;
use std::sync::Arc;

use super::derive::{self, Told};
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::event::{CONTEXT_UPDATED, Event};
use crate::events::{EventFilter, EventStream};
use crate::nats::js::{MULTI, Raw};
use crate::nats::link::Link;
use crate::nats::names;
use crate::nats::state::document;
use crate::nats::tail::Tail;
use crate::payload::Payload;

/// All facts.
pub(super) const ALL: &str = "cb.v1.event.>";

/// Up to `limit` events that pass, from number `from` on.
pub(super) async fn read(link: &Link, filter: &EventFilter, from: u64, limit: usize) -> Result<Vec<Event>> {
    let (mut found, mut next) = (Vec::new(), from);
    // What passes nothing is looked through in whole pages, what passes all in one of the size that was asked for.
    let batch = if *filter == EventFilter::default() { limit } else { MULTI };
    while found.len() < limit {
        let page = link.page(names::EVENTS, ALL, next, batch).await?;
        let Some(last) = page.last() else { break };
        next = last.seq + 1;
        let more = last.pending > 0;
        found.extend(events(link, filter, &page).await?);
        if !more {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The events of neighbouring messages that pass.
async fn events(link: &Link, filter: &EventFilter, page: &[Raw]) -> Result<Vec<Event>> {
    let told: Vec<(&Raw, Told)> = page.iter().map(|raw| (raw, derive::read(raw))).collect();
    let mut before = HashMap::new();
    if may_be_changes(filter) {
        let changes = told.iter().filter_map(|(_, told)| match told {
            Told::Changed(state) => Some(state),
            Told::Fact(_) => None,
        });
        before = standing_before(link, changes).await?;
    }
    let mut events = Vec::new();
    for (raw, told) in told {
        let event = match told {
            Told::Fact(event) => event,
            Told::Changed(state) => {
                let previous = before.remove(&state.subject);
                if let Some(value) = document::read(&state).value {
                    before.insert(state.subject.clone(), value);
                }
                derive::changed(raw, &state, previous)
            }
        };
        if filter.passes(&event) {
            events.push(event);
        }
    }
    Ok(events)
}

fn may_be_changes(filter: &EventFilter) -> bool {
    let names = |group: &String| CONTEXT_UPDATED.starts_with(group.as_str());
    filter.types.is_empty() || filter.types.iter().any(names)
}

/// What stood at the keys of neighbouring changes before the first of them. Changes are copied in their order, so
/// whatever happened between the first and another one is among them.
async fn standing_before<'a>(link: &Link, changes: impl Iterator<Item = &'a Raw>) -> Result<HashMap<String, Payload>> {
    let (mut first, mut subjects) = (u64::MAX, Vec::new());
    for change in changes {
        first = first.min(change.seq);
        subjects.push(change.subject.clone());
    }
    subjects.sort_unstable();
    subjects.dedup();
    let mut standing = HashMap::new();
    if first > 1 {
        for some in subjects.chunks(MULTI) {
            let found = link.last_of(names::STATE, some, Some(first - 1)).await?;
            let valued = found.into_iter().filter_map(|raw| Some((document::read(&raw).value?, raw.subject)));
            standing.extend(valued.map(|(value, subject)| (subject, value)));
        }
    }
    Ok(standing)
}

/// A place in the log.
pub(super) struct Following {
    link: Arc<Link>,
    tail: Tail,
    filter: EventFilter,
    /// What came and was not told yet, so that a reader that gives up waiting loses nothing.
    came: Option<Raw>,
    /// How many had been dropped when the reader began.
    missed: u64,
}

impl Following {
    /// From number `from` on; `first` is the oldest that is kept.
    pub(super) fn new(link: Arc<Link>, filter: EventFilter, from: u64, first: u64) -> Self {
        let from = from.max(1);
        let tail = Tail::new(link.clone(), names::EVENTS, subjects(&filter), from);
        Self { link, tail, filter, came: None, missed: first.saturating_sub(from) }
    }
}

impl EventStream for Following {
    fn next(&mut self) -> BoxFuture<'_, Result<Event>> {
        Box::pin(async move {
            if self.missed > 0 {
                return Err(Error::Lagged { missed: std::mem::take(&mut self.missed) });
            }
            loop {
                let raw = match self.came.take() {
                    Some(raw) => raw,
                    None => self.tail.next().await?,
                };
                let came = self.came.insert(raw);
                match events(&self.link, &self.filter, std::slice::from_ref(came)).await {
                    Ok(mut event) => {
                        self.came = None;
                        if let Some(event) = event.pop() {
                            return Ok(event);
                        }
                    }
                    Err(Error::Unavailable { .. }) => self.tail.pause().await?,
                    Err(other) => return Err(other),
                }
            }
        })
    }
}

/// What the server has to hand over so that nothing that passes is missing. A change of state names no run in its
/// subject.
fn subjects(filter: &EventFilter) -> Vec<String> {
    match &filter.run {
        None => vec![ALL.into()],
        Some(run) => {
            let scopes = ["run", "team", "global"].map(|scope| format!("cb.v1.event.context_updated.{scope}.>"));
            [format!("cb.v1.event.*.{run}")].into_iter().chain(scopes).collect()
        }
    }
}
