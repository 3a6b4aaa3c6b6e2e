//! Pulling from one priority of a capability: exactly as much as there are free slots for.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::nats::js::receive;
use crate::nats::link::{Link, fresh_boot, until_denied};
use crate::nats::names;
use crate::nats::options::REQUEST;
use crate::subject::CapabilityName;
use crate::task::{Priority, Version};

/// How long a waiting pull stands at the server, at most: short, because a pull from before a pause of the consumer, or
/// of the server, is never served. Each stands for another time between half of this and all of it: the server serves
/// those who wait in turn, and of nodes that ask in one rhythm one would be first for every capability.
const STANDS: Duration = Duration::from_secs(2);
/// When a waiting pull is given up of which nothing was heard.
const GIVE_UP: Duration = Duration::from_secs(5);

/// A queue message that was handed to this process.
#[derive(Clone, Debug)]
pub(super) struct Pulled {
    pub(super) subject: String,
    pub(super) body: bytes::Bytes,
    /// Where it is acknowledged.
    pub(super) ack: String,
    /// Its place in the queue's stream.
    pub(super) seq: u64,
    pub(super) at: Millis,
    /// How often it was handed out, by what the server says.
    pub(super) deliveries: u32,
    /// How many stood behind it that nobody has got yet.
    pub(super) pending: u64,
    pub(super) is_bulk: bool,
    /// The version that began it, once that has been read.
    pub(super) begun_by: Option<Version>,
}

/// What a pull brought.
#[derive(Debug)]
pub(super) enum Arrived {
    Task(Pulled),
    /// It is over and brought nothing.
    Over,
    /// There is no such consumer.
    NoConsumer,
}

pub(super) struct Pull {
    link: Arc<Link>,
    ask_at: String,
    inbox: String,
    answers: Subscriber,
    /// Since when a waiting pull stands.
    standing: Option<Instant>,
}

impl Pull {
    pub(super) async fn open(link: Arc<Link>, capability: &CapabilityName, urgency: Priority) -> Result<Self> {
        Self::from(link, names::TASKS, &names::consumer(capability, urgency)).await
    }

    /// From a consumer of any stream.
    pub(super) async fn from(link: Arc<Link>, stream: &str, consumer: &str) -> Result<Self> {
        let inbox = link.client.new_inbox();
        let lost = |e: async_nats::SubscribeError| Error::unavailable(format!("{}: {e}", link.address));
        let answers = link.client.subscribe(inbox.clone()).await.map_err(lost)?;
        let ask_at = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Ok(Self { link, ask_at, inbox, answers, standing: None })
    }

    /// Whether a waiting pull stands.
    pub(super) fn stands(&self) -> bool {
        self.standing.is_some_and(|since| since.elapsed() < GIVE_UP)
    }

    /// After a loss of the connection nothing stands any more.
    pub(super) fn forget(&mut self) {
        self.standing = None;
    }

    /// Up to `most` tasks that are there now. Only while no waiting pull stands.
    pub(super) async fn take(&mut self, most: usize) -> Result<(Vec<Pulled>, bool)> {
        self.standing = None;
        let mut notices = self.link.notices();
        let ask_at = self.ask_at.clone();
        self.ask(&json!({ "batch": most, "no_wait": true })).await?;
        let mut taken = Vec::new();
        let reading = async {
            while taken.len() < most {
                match self.next().await {
                    Arrived::Task(pulled) => taken.push(pulled),
                    Arrived::Over => return false,
                    Arrived::NoConsumer => return true,
                }
            }
            false
        };
        // Too late is as good as nothing: what still comes is taken at the next look.
        let missing = tokio::select! {
            read = timeout(REQUEST, reading) => read.unwrap_or(false),
            denied = until_denied(&mut notices, &ask_at) => return Err(denied),
        };
        Ok((taken, missing))
    }

    /// Leaves a pull at the server that brings the next task as soon as there is one.
    pub(super) async fn stand(&mut self) -> Result<()> {
        let stands = STANDS.mul_f64(0.5 + 0.5 * f64::from(fresh_boot()) / f64::from(u32::MAX));
        let expires = u64::try_from(stands.as_nanos()).unwrap_or(u64::MAX);
        self.ask(&json!({ "batch": 1, "expires": expires })).await?;
        self.standing = Some(Instant::now());
        Ok(())
    }

    /// What the waiting pull brings. Dropping the future loses nothing.
    pub(super) async fn arrive(&mut self) -> Arrived {
        let arrived = self.next().await;
        self.standing = None;
        arrived
    }

    async fn ask(&self, what: &Value) -> Result<()> {
        let body = what.to_string().into();
        let sent = self.link.client.publish_with_reply(self.ask_at.clone(), self.inbox.clone(), body).await;
        sent.map_err(|e| Error::unavailable(format!("{}: {e}", self.link.address)))
    }

    async fn next(&mut self) -> Arrived {
        loop {
            let Some(message) = receive(&mut self.answers).await else { return std::future::pending().await };
            match message.status.map(|status| status.as_u16()) {
                // A sign of life of the server.
                Some(100) => {}
                Some(503) => return Arrived::NoConsumer,
                Some(409) if message.description.as_deref().is_some_and(|why| why.contains("Deleted")) => {
                    return Arrived::NoConsumer;
                }
                Some(_) => return Arrived::Over,
                None => {
                    if let Some(pulled) = pulled(message) {
                        return Arrived::Task(pulled);
                    }
                }
            }
        }
    }
}

/// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, newer servers with the
/// domain and the account's hash before the stream.
fn pulled(message: Message) -> Option<Pulled> {
    let ack = message.reply?.to_string();
    let tokens: Vec<&str> = ack.split('.').collect();
    let skip = if tokens.len() >= 11 { 4 } else { 2 };
    let deliveries = tokens.get(skip + 2)?.parse().ok()?;
    let seq = tokens.get(skip + 3)?.parse().ok()?;
    let nanos: u64 = tokens.get(skip + 5)?.parse().ok()?;
    let pending = tokens.get(skip + 6).and_then(|pending| pending.parse().ok()).unwrap_or(0);
    let (subject, body) = (message.subject.to_string(), message.payload);
    let is_bulk = super::entry::address(&subject).is_ok_and(|address| address.priority == Priority::Bulk);
    Some(Pulled { subject, body, ack, seq, at: nanos / 1_000_000, deliveries, pending, is_bulk, begun_by: None })
}
