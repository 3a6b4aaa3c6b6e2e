//! The room for events: a log of pages.
//!
//! The events of one commit that are neighbours and of one run share a row, which makes them about a third cheaper to
//! write; the view `events` shows them one by one. Their numbers are given out inside the transaction, so none is ever
//! missing or given twice.

use std::sync::Arc;

use super::job::Cost;
use super::store::Store;
use super::tasks::each;
use crate::BoxFuture;
use crate::error::Result;
use crate::event::{Event, NewEvent};
use crate::events::{EventFilter, EventStream, Events};

mod pages;
mod view;

pub(super) use pages::{SCANS, is_gapless, newest, newest_number, store};

/// The room.
pub(super) struct EventRoom(pub(super) Arc<Store>);

/// About how much facts take, and whether somebody outside of a task publishes them.
fn cost(facts: &[NewEvent]) -> Cost {
    let bytes = facts.iter().map(|fact| fact.payload.json().map_or(0, str::len) + 256).sum();
    Cost::write(bytes).at_edge(facts.iter().any(|fact| fact.task.is_none()))
}

impl Events for EventRoom {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        let count = facts.len();
        let answer = self.0.writer.call(cost(&facts), move |turn| {
            let publish = |fact: &NewEvent| {
                fact.check()?;
                fact.payload.json()?;
                Ok(turn.happened(fact.clone()))
            };
            Ok(facts.iter().map(publish).collect())
        });
        Box::pin(async move { each(count, answer.await) })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(self.0.view.read_events(filter, from, limit))
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.0.view.last_event())
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        let stream: Box<dyn EventStream> = Box::new(self.0.view.follow_events(filter, from));
        Box::pin(async move { Ok(stream) })
    }
}
