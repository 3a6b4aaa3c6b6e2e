//! What a program may watch through a node: facts and broadcasts.

use std::ops::Deref;

use callboard_agents::{EventKind, Payload, Topic, Updates};
use callboard_broker::error::{Error, Result};
use callboard_broker::events::{EventFilter, EventStream};

use tokio::sync::broadcast::error::RecvError;

use super::Node;
use crate::cell::hub::Note;
use crate::telemetry;

/// A fact that happened. Derefs to the document, which has `seq`, `time`, `kind`, `agent`, `run`, `task`, `payload`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(callboard_broker::event::Event);

impl Event {
    /// The particulars, when it is of this kind; `Decode` when they are not what the kind says.
    pub fn get<T: Payload>(&self, kind: EventKind<T>) -> Option<Result<T>> {
        (self.0.kind == kind.name()).then(|| self.0.payload.read())
    }
}

impl Deref for Event {
    type Target = callboard_broker::event::Event;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Node {
    /// The facts that are recorded from now on, in order: from when this has resolved, nothing is missed.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be read.
    pub async fn events(&self) -> Result<Updates<Result<Event>>> {
        let newest = self.broker().events.last().await?;
        Ok(self.replay(EventFilter::default(), newest + 1))
    }

    /// The facts that pass the filter: what is stored from number `from` on (from 1), then what is recorded, without a
    /// gap between the two.
    pub fn replay(&self, filter: EventFilter, from: u64) -> Updates<Result<Event>> {
        let events = self.broker().events.clone();
        let opening = Box::pin(async move { events.follow(filter, from).await });
        Updates::unfold(Reading::Opening(opening), |reading| async move {
            let mut stream = match reading {
                Reading::Opening(opening) => match opening.await {
                    Ok(stream) => stream,
                    Err(error) => return Some((Err(error), Reading::Ended)),
                },
                Reading::Open(stream) => stream,
                Reading::Ended => return None,
            };
            match stream.next().await {
                Ok(event) => Some((Ok(Event(event)), Reading::Open(stream))),
                Err(error @ Error::Lagged { .. }) => Some((Err(error), Reading::Open(stream))),
                Err(error) => Some((Err(error), Reading::Ended)),
            }
        })
    }

    /// What the agents of this node say from now on while they work: progress and pieces of answers. What is missed by
    /// falling more than 1,024 behind is passed over.
    pub fn notes(&self) -> Updates<Note> {
        Updates::unfold(self.inner.hub.notes.subscribe(), |mut notes| async move {
            loop {
                match notes.recv().await {
                    Ok(note) => return Some((note, notes)),
                    Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "progress notes were missed"),
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }

    /// The broadcasts of a topic from now on. Those that cannot be read as `T` are passed over, as are those that were
    /// missed by falling behind.
    pub fn listen<T: Payload>(&self, topic: Topic<T>) -> Updates<T> {
        let subscription = (self.broker().messages.subscribe(topic.name(), self.name()), self.inner.hub.name.clone());
        Updates::unfold(subscription, |(mut subscription, node)| async move {
            loop {
                match subscription.next().await {
                    Ok(broadcast) => match broadcast.body.take() {
                        Ok(value) => return Some((value, (subscription, node))),
                        Err(error) => tracing::debug!(%error, "a broadcast could not be read"),
                    },
                    Err(Error::Lagged { missed }) => {
                        telemetry::missed(node.as_str(), missed);
                        tracing::warn!(missed, "broadcasts were missed");
                    }
                    Err(_) => return None,
                }
            }
        })
    }
}

enum Reading {
    Opening(callboard_broker::BoxFuture<'static, Result<Box<dyn EventStream>>>),
    Open(Box<dyn EventStream>),
    Ended,
}
