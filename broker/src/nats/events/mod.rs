//! The room for events: a stream that the server derives from the others.
//!
//! Nobody has to write a fact about a task or about state, so none can be forgotten or told twice; the number of a fact
//! is its sequence. What agents publish goes into the same stream, after everything that this process has stored before.

use std::sync::Arc;

use async_nats::HeaderMap;

use super::link::Link;
use super::names;
use super::once::store_once;
use super::seen::Seen;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::events::{EventFilter, EventStream, Events, MAX_EVENTS};

mod derive;
mod read;

use derive::Published;
use read::Following;

/// The room.
#[derive(Debug)]
pub struct EventRoom {
    link: Arc<Link>,
    seen: Arc<Seen>,
}

impl EventRoom {
    /// The room on a connection whose broker has its streams.
    pub fn new(link: Arc<Link>, seen: Arc<Seen>) -> Self {
        Self { link, seen }
    }

    async fn publish_one(&self, fact: NewEvent) -> Result<u64> {
        fact.check()?;
        fact.payload.json()?;
        self.seen.wait(&self.link).await?;
        let NewEvent { kind, agent, run, task, payload } = fact;
        let subject = names::event(&kind, run.as_ref());
        let document = Published { kind, time: self.link.clock.now(), agent, run, task, payload };
        let body = serde_json::to_vec(&document).map_err(|e| Error::decode(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", uuid::Uuid::now_v7().simple().to_string().as_str());
        let sent = store_once(&self.link, &subject, &headers, &body.into()).await;
        sent.answer.map(|stored| stored.seq).map_err(|refusal| refusal.into_error("a fact"))
    }
}

impl Events for EventRoom {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        Box::pin(async move {
            let mut numbers = Vec::with_capacity(facts.len());
            for fact in facts {
                numbers.push(self.publish_one(fact).await);
            }
            numbers
        })
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(async move {
            self.seen.wait(&self.link).await?;
            read::read(&self.link, &filter, from, limit.min(MAX_EVENTS)).await
        })
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.seen.extent(&self.link).await?.last) })
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        Box::pin(async move {
            let extent = self.seen.extent(&self.link).await?;
            let following = Following::new(self.link.clone(), filter, from, extent.first);
            Ok(Box::new(following) as Box<dyn EventStream>)
        })
    }
}
