//! How a node is steered from outside: as a micro service that every NATS tool lists, asks and measures.
//!
//! Each verb is a subject, `cb.v1.ctl.<node>.<verb>`, JSON or nothing in and JSON out; each capability that is served is
//! an endpoint too, with its figures in the statistics. The service is answered here and not by the client library's
//! own, which subscribes once more to each endpoint: a capability's subject is answered by its queue, in
//! [`messages`](crate::messages), and would be answered twice.
//!
//! | file | holds |
//! |---|---|
//! | `micro` | what the service says of itself: pure |
//! | `client` | asking nodes, and which there are |
//! | `counts` | how often it was asked |
//! | `sizes` | how many workers pools are to have, kept where all nodes see it |

mod client;
mod counts;
mod micro;
mod sizes;

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use client::{Present, ask, nodes, served};
pub use sizes::{Size, Sizes, resize, sizes};

use super::js::{came_directly, receive};
use super::link::Link;
use super::messages::written;
use super::names;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::subject::CapabilityName;
pub(in crate::nats) use counts::{Counted, Counts};
use micro::Service;
pub(in crate::nats) use micro::rfc3339;

/// The name under which all nodes are listed.
pub const SERVICE: &str = "callboard-node";
/// Questions that one node answers at a time; what comes beyond waits.
const AT_ONCE: usize = 16;

/// Answers a verb.
pub type Answer = Arc<dyn Fn(String, Value) -> BoxFuture<'static, Result<Value>> + Send + Sync>;
/// What is served at the moment, each with its figures.
pub type Figures = Arc<dyn Fn() -> Vec<(CapabilityName, Value)> + Send + Sync>;

/// What a node can be asked, and by what it is measured.
pub struct Desk {
    /// The verbs that `answer` knows.
    pub verbs: Vec<String>,
    /// Answers them.
    pub answer: Answer,
    /// What is served.
    pub figures: Figures,
}

/// A node's service; gone when this is dropped.
#[derive(Debug)]
pub struct Control {
    _running: JoinSet<()>,
}

struct Room {
    link: Arc<Link>,
    desk: Desk,
    service: Service,
    asked: Counts,
}

impl Control {
    /// Begins to answer.
    ///
    /// # Errors
    /// `Unavailable` when the connection is closed.
    pub async fn start(link: Arc<Link>, desk: Desk) -> Result<Self> {
        let service = Service::new(&link.node, link.boot, &desk.verbs, link.clock.now());
        let verbs = names::control(&link.node, "*");
        let about: Vec<String> = service.subjects().collect();
        let room = Arc::new(Room { link, desk, service, asked: Counts::default() });
        let mut running = JoinSet::new();
        running.spawn(room.clone().answer_verbs(room.listen(verbs).await?));
        for subject in about {
            running.spawn(room.clone().tell_about(room.listen(subject).await?));
        }
        let closed = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {e}", room.link.address));
        room.link.client.flush().await.map_err(|e| closed(&e))?;
        Ok(Self { _running: running })
    }
}

impl Room {
    async fn listen(&self, subject: String) -> Result<Subscriber> {
        let closed = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {e}", self.link.address));
        self.link.client.subscribe(subject).await.map_err(|e| closed(&e))
    }

    async fn answer_verbs(self: Arc<Self>, mut asked: Subscriber) {
        let mut answering = JoinSet::new();
        while let Some(message) = receive(&mut asked).await {
            // It came by the name of this node, and is answered elsewhere.
            if names::OF_ANY.contains(&message.subject.as_str()) {
                continue;
            }
            let verb = message.subject.rsplit('.').next().unwrap_or_default();
            if !came_directly(&message, &names::control(&self.link.node, verb)) {
                tracing::warn!(subject = %message.subject, "a command that came by way of a stream is not obeyed");
                continue;
            }
            while answering.try_join_next().is_some() {}
            if answering.len() >= AT_ONCE {
                let _ = answering.join_next().await;
            }
            answering.spawn(self.clone().answer_verb(message));
        }
    }

    async fn answer_verb(self: Arc<Self>, message: Message) {
        let begun = Instant::now();
        let verb = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let body = match message.payload.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&message.payload).map_err(|e| Error::decode(format!("no JSON: {e}"))),
        };
        let said = match body {
            Ok(body) => (self.desk.answer)(verb, body).await,
            Err(error) => Err(error),
        };
        self.asked.add(said.is_err(), begun.elapsed());
        let Some(reply) = message.reply else { return };
        let (headers, body) = written(&said.map(Payload::from));
        let sent = self.link.client.publish_with_headers(reply, headers, body.into()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    async fn tell_about(self: Arc<Self>, mut asked: Subscriber) {
        while let Some(message) = receive(&mut asked).await {
            let Some(reply) = message.reply else { continue };
            let told = self.service.told(message.subject.as_str(), &(self.desk.figures)(), self.asked.read());
            if let Err(error) = self.link.client.publish(reply, told.to_string().into()).await {
                tracing::debug!(%error, "an answer was not sent");
            }
        }
    }
}
