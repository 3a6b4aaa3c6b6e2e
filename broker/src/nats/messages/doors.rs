//! Doors for those who have no lane: a capability or an agent is asked by hand, in JSON.
//!
//! `nats req cb.v1.req.diag-echo '{"text":"x"}'` reaches whichever node serves the capability, one member of the queue
//! group for each request that it works on at a time; `nats req cb.v1.agent.<node>.<agent> ...` reaches that agent. The
//! answer is the body; an error is its document, with its words and its number in the service headers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_nats::{HeaderMap, HeaderValue, Subscriber};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Exchange;
use crate::error::{Class, Error, Result};
use crate::messages::{ASK_DEADLINE, Address, Message, Messages};
use crate::nats::js::receive;
use crate::nats::names;
use crate::payload::Payload;
use crate::subject::CapabilityName;

/// Requests by hand that are worked on at a time; more wait in their subscription.
const AT_ONCE: usize = 1_024;

/// The doors that are open. Dropped, they close.
pub(super) struct Doors {
    exchange: Arc<Exchange>,
    open: HashMap<CapabilityName, JoinSet<()>>,
    by_name: Option<JoinSet<()>>,
    places: Arc<Semaphore>,
}

impl Doors {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, open: HashMap::new(), by_name: None, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Opens and closes doors until they are those of what is served.
    pub(super) async fn open(&mut self, served: &HashSet<Address>) {
        let draining = self.exchange.is_draining();
        self.open.retain(|name, _| !draining && served.contains(&Address::Capability(name.clone())));
        if draining {
            self.by_name = None;
            return;
        }
        for address in served {
            match address {
                Address::Capability(name) if !self.open.contains_key(name) => {
                    let (subject, group) = (names::req(name), name.to_token());
                    let Ok(asked) = self.exchange.link.client.queue_subscribe(subject, group).await else { continue };
                    let mut door = JoinSet::new();
                    door.spawn(answer_all(self.exchange.clone(), asked, Some(name.clone()), self.places.clone()));
                    self.open.insert(name.clone(), door);
                }
                Address::Agent(_) if self.by_name.is_none() => {
                    let subject = names::agent(&self.exchange.link.node, "*");
                    let Ok(asked) = self.exchange.link.client.subscribe(subject).await else { continue };
                    let mut door = JoinSet::new();
                    door.spawn(answer_all(self.exchange.clone(), asked, None, self.places.clone()));
                    self.by_name = Some(door);
                }
                _ => {}
            }
        }
    }
}

async fn answer_all(
    exchange: Arc<Exchange>,
    mut asked: Subscriber,
    capability: Option<CapabilityName>,
    places: Arc<Semaphore>,
) {
    while let Some(request) = receive(&mut asked).await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (exchange, capability) = (exchange.clone(), capability.clone());
        tokio::spawn(async move {
            let answer = ask(&exchange, &request, capability).await;
            if let Some(reply) = request.reply {
                let (headers, body) = written(&answer);
                // Whoever asked may be gone, and by hand nobody else is to be told.
                let _ = exchange.link.client.publish_with_headers(reply, headers, body.into()).await;
            }
            drop(place);
        });
    }
}

async fn ask(
    exchange: &Exchange,
    request: &async_nats::Message,
    capability: Option<CapabilityName>,
) -> Result<Payload> {
    let text = std::str::from_utf8(&request.payload).map_err(|e| Error::decode(format!("not JSON: {e}")))?;
    let body = if text.trim().is_empty() { Payload::null() } else { Payload::from_json(text)? };
    let to = match capability {
        Some(name) => Address::Capability(name),
        None => Address::Agent(request.subject.rsplit('.').next().unwrap_or_default().into()),
    };
    if !exchange.room.is_served(&to) {
        // By name only agents of this node are reached, and a capability may have been closed this very moment.
        return Err(Error::NoRecipient { to: to.to_string().into() });
    }
    let capability = match &to {
        Address::Capability(name) => name.clone(),
        Address::Agent(_) => CapabilityName::parse("hand")?,
    };
    let header = |name: &str| request.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
    let message = Message {
        to,
        capability,
        from: "by hand".into(),
        body,
        deadline: Instant::now() + ASK_DEADLINE,
        run: None,
        hops: Vec::new(),
        traceparent: header("traceparent").and_then(|text| text.parse().ok()),
    };
    exchange.room.ask(message).await
}

/// An answer as a message: headers and body.
pub(in crate::nats) fn written(answer: &Result<Payload>) -> (HeaderMap, String) {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/json");
    let error = match answer.as_ref().map(|payload| payload.json()) {
        Ok(Ok(text)) => return (headers, text.to_owned()),
        Ok(Err(error)) => error,
        Err(error) => error.clone(),
    };
    // A header holds one line.
    let words: String = error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Ok(words) = words.parse::<HeaderValue>() {
        headers.insert("Nats-Service-Error", words);
    }
    headers.insert("Nats-Service-Error-Code", number(&error));
    let retry = error.retry_after().map(|after| after.as_millis());
    let body =
        json!({ "code": error.code(), "class": error.class(), "message": error.to_string(), "retry_after_ms": retry });
    (headers, body.to_string())
}

/// An error as one of the numbers that services use.
fn number(error: &Error) -> &'static str {
    match error {
        Error::Busy { .. } => "429",
        Error::NoRecipient { .. } | Error::NotFound { .. } => "404",
        Error::Decode { .. } | Error::TooLarge { .. } => "400",
        Error::Denied { .. } => "403",
        Error::Conflict { .. } => "409",
        other if other.class() == Class::RateLimited => "429",
        _ => "500",
    }
}
