//! The log of facts: the newest so many, numbered without gaps.

use std::collections::VecDeque;
use std::sync::Weak;

use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::Wing;
use crate::BoxFuture;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::events::{EventFilter, EventStream, Events, MAX_EVENTS};

/// The log.
#[derive(Debug)]
pub(super) struct EventLog {
    kept: VecDeque<Event>,
    last: u64,
    limit: usize,
}

impl EventLog {
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: VecDeque::new(), last: 0, limit: limit.max(1) }
    }

    pub(super) fn add(&mut self, fact: NewEvent, now: Millis) -> u64 {
        if self.kept.len() == self.limit {
            self.kept.pop_front();
        }
        self.last += 1;
        self.kept.push_back(Event::new(self.last, now, fact));
        self.last
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number of the oldest event that is kept, or of the next one.
    fn oldest(&self) -> u64 {
        self.last + 1 - self.kept.len() as u64
    }

    fn from(&self, from: u64) -> impl Iterator<Item = &Event> {
        let skip = usize::try_from(from.saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        self.kept.range(skip.min(self.kept.len())..)
    }
}

impl Events for Wing {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        Box::pin(async move {
            let checked = facts.into_iter().map(|fact| {
                fact.check()?;
                fact.payload.json()?;
                Ok(fact)
            });
            let checked: Vec<Result<NewEvent>> = checked.collect();
            self.with(|store, now| {
                checked.into_iter().map(|fact| fact.map(|fact| store.events.add(fact, now))).collect()
            })
        })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(async move {
            let passes = |event: &&Event| filter.passes(event);
            let limit = limit.min(MAX_EVENTS);
            self.with(|store, _| Ok(store.events.from(from).filter(passes).take(limit).cloned().collect()))
        })
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { self.with(|store, _| Ok(store.events.last())) })
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        Box::pin(async move {
            let following =
                Following { wing: self.weak.clone(), recorded: self.recorded.subscribe(), filter, next: from.max(1) };
            Ok(Box::new(following) as Box<dyn EventStream>)
        })
    }
}

/// A reader is a place in the log and a wake-up: what is stored and what is recorded later are read the same way, so
/// there is no seam between the two.
struct Following {
    wing: Weak<Wing>,
    recorded: watch::Receiver<u64>,
    filter: EventFilter,
    next: u64,
}

/// Events looked at under one lock: a filter that passes nothing must not hold everybody up.
const STRIDE: usize = 1_000;

impl Following {
    /// The next event, or an error, or none so far.
    fn read(&mut self) -> Option<Result<Event>> {
        let Some(wing) = self.wing.upgrade() else { return Some(Err(closed())) };
        loop {
            let store = wing.lock();
            let oldest = store.events.oldest();
            if self.next < oldest {
                let missed = oldest - std::mem::replace(&mut self.next, oldest);
                return Some(Err(Error::Lagged { missed }));
            }
            let mut looked = 0;
            for event in store.events.from(self.next).take(STRIDE) {
                looked += 1;
                self.next = event.seq + 1;
                if self.filter.passes(event) {
                    return Some(Ok(event.clone()));
                }
            }
            if looked < STRIDE {
                return None;
            }
        }
    }
}

impl EventStream for Following {
    fn next(&mut self) -> BoxFuture<'_, Result<Event>> {
        Box::pin(async move {
            consume_budget().await;
            loop {
                self.recorded.borrow_and_update();
                if let Some(read) = self.read() {
                    return read;
                }
                if self.recorded.changed().await.is_err() {
                    return Err(closed());
                }
            }
        })
    }
}

fn closed() -> Error {
    Error::unavailable("the memory store was closed")
}
