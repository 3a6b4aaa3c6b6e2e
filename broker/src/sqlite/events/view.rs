//! What any process can see of events.

use std::collections::VecDeque;

use super::super::core::marks;
use super::super::marks::Follower;
use super::super::readers::Readers;
use super::super::view::View;
use super::pages;
use crate::BoxFuture;
use crate::error::Result;
use crate::event::Event;
use crate::events::{EventFilter, EventStream, MAX_EVENTS};

/// Events that a follower reads at a time.
const BATCH: usize = 256;

impl View {
    pub(in super::super) async fn read_events(
        &self,
        filter: EventFilter,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>> {
        let limit = limit.min(MAX_EVENTS);
        self.readers.read(move |conn| Ok(pages::read(conn, &filter, from, limit)?.0)).await
    }

    pub(in super::super) async fn last_event(&self) -> Result<u64> {
        self.readers.read(|conn| Ok(marks(conn)?.event)).await
    }

    pub(in super::super) fn follow_events(&self, filter: EventFilter, from: u64) -> Following {
        let (readers, marks) = (self.readers.clone(), self.mover.follow());
        Following { readers, marks, filter, next: from.max(1), ready: VecDeque::new() }
    }
}

/// A place in the log. What is stored and what is recorded later are read alike, so there is no seam between them.
pub(in super::super) struct Following {
    readers: Readers,
    marks: Follower,
    filter: EventFilter,
    next: u64,
    ready: VecDeque<Event>,
}

impl EventStream for Following {
    fn next(&mut self) -> BoxFuture<'_, Result<Event>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.ready.pop_front() {
                    return Ok(event);
                }
                self.marks.beyond(self.next - 1, |marks| marks.event).await?;
                let (filter, from) = (self.filter.clone(), self.next);
                let read = self.readers.read(move |conn| {
                    let (events, next) = pages::read(conn, &filter, from, BATCH)?;
                    // With a full batch there may be more; otherwise all that is there was read or belongs to other runs.
                    let all = marks(conn)?.event + 1;
                    let next = if events.len() < BATCH { next.max(all) } else { next };
                    Ok((events, next))
                });
                let (events, next) = read.await?;
                self.ready.extend(events);
                self.next = next;
            }
        })
    }
}
