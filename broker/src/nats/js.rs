//! What the wing asks of JetStream, as plain requests.
//!
//! The client's own calls fold several refusals into one and hide the codes that tell a conflict from a failure, so the
//! few requests that we need are made here, and each answer keeps its meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::Subscriber;
use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::link::{Link, Notice, until_denied};
use super::names;
use super::options::REQUEST;
use crate::clock::Millis;
use crate::error::{Error, Result};

/// The most subjects that one [`Link::last_of`] may name: the server's own limit.
pub(crate) const MULTI: usize = 1_024;

/// How long [`Link::info`] waits for an answer before it asks again.
const ANEW: Duration = Duration::from_secs(1);

/// A stored message.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) subject: String,
    pub(crate) seq: u64,
    pub(crate) at: Millis,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How many more there are in the same answer; of a page, also those that come after it.
    pub(crate) pending: u64,
}

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    /// The server had a message with this id already.
    pub(crate) repeated: bool,
}

/// Why something was not stored.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// The subject is at another sequence than was expected.
    Conflict,
    /// The subject has its message already.
    Occupied,
    /// The stream is full.
    Full,
    /// No answer came: it may or may not have been stored.
    Unknown(Error),
    /// Certainly not stored.
    Failed(Error),
}

impl Refusal {
    /// As what a caller matches on, where conflicts cannot be.
    pub(crate) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Full => Error::Busy { to: what.into(), retry_after: Duration::from_secs(1) },
            Self::Unknown(_) => Error::Unknown { what: what.into() },
            Self::Failed(error) => error,
            Self::Conflict | Self::Occupied => Error::unavailable(format!("{what}: an unexpected conflict")),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u32,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl ApiError {
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == 404
    }

    pub(crate) fn into_error(self, what: &str) -> Error {
        match self.code {
            404 => Error::not_found(format!("{what}: {}", self.description)),
            _ => Error::unavailable(format!("{what}: {} ({})", self.description, self.err_code)),
        }
    }
}

impl Link {
    /// A call of the JetStream API. The inner error is the server's own.
    pub(crate) async fn api(&self, verb: &str, body: Value) -> Result<Result<Value, ApiError>> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.request(&format!("$JS.API.{verb}"), None, body).await;
        let answer = answer.map_err(|e| match e {
            Error::NoRecipient { .. } => Error::unavailable(format!("{}: it has no JetStream", self.address)),
            other => other,
        })?;
        let mut answer: Value = serde_json::from_slice(&answer.payload)
            .map_err(|e| Error::decode(format!("the server's answer to {verb}: {e}")))?;
        Ok(match answer.get_mut("error").map(Value::take) {
            Some(error) => Err(serde_json::from_value(error).unwrap_or_else(|e| ApiError {
                code: 0,
                err_code: 0,
                description: e.to_string(),
            })),
            None => Ok(answer),
        })
    }

    /// What the server says of a stream; the inner error is its own. In a cluster none of the servers answers as long as
    /// they disagree whether there is one, or who leads it, so the question is put anew. At most [`REQUEST`].
    pub(crate) async fn info(&self, stream: &str) -> Result<Result<Value, ApiError>> {
        let verb = format!("STREAM.INFO.{stream}");
        self.repeated(|| async {
            loop {
                if let Ok(said) = tokio::time::timeout(ANEW, self.api(&verb, Value::Null)).await {
                    return said;
                }
            }
        })
        .await
    }

    /// Stores a message in whichever stream takes its subject.
    pub(crate) async fn store(&self, subject: &str, headers: HeaderMap, body: Bytes) -> Result<Stored, Refusal> {
        let mut notices = self.notices();
        let answer = tokio::select! {
            answer = self.request(subject, Some(headers), body) => answer,
            // Its answer went with the connection, and whoever asked can look sooner than after the whole time.
            () = until_lost(&mut notices) => Err(Error::unavailable(format!("{}: the connection was lost", self.address))),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ Error::NoRecipient { .. }) => {
                let what = format!("{}: no stream takes {subject} ({error})", self.address);
                return Err(Refusal::Failed(Error::unavailable(what)));
            }
            Err(error @ Error::Denied { .. }) => return Err(Refusal::Failed(error)),
            Err(error) => return Err(Refusal::Unknown(error)),
        };
        #[derive(Deserialize)]
        struct Ack {
            #[serde(default)]
            seq: u64,
            #[serde(default)]
            duplicate: bool,
            error: Option<ApiError>,
        }
        let ack: Ack = serde_json::from_slice(&answer.payload)
            .map_err(|e| Refusal::Unknown(Error::decode(format!("the server's answer to {subject}: {e}"))))?;
        match ack.error {
            None => Ok(Stored { seq: ack.seq, repeated: ack.duplicate }),
            Some(error) => Err(refusal(error, subject)),
        }
    }

    /// Stores a message when the newest one on `filter` is `expected` (0: there is none). `filter` matches `subject`.
    pub(crate) async fn store_after(
        &self,
        subject: &str,
        filter: &str,
        expected: u64,
        body: Bytes,
    ) -> Result<Stored, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string().as_str());
        if filter != subject {
            headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", filter);
        }
        self.store(subject, headers, body).await
    }

    /// The newest message of each subject that matches one of `filters`, in the order of the stream, as it was at
    /// sequence `up_to` (none: now). At most [`MULTI`] filters and as many messages; `TooLarge` when there are more.
    pub(crate) async fn last_of(&self, stream: &str, filters: &[String], up_to: Option<u64>) -> Result<Vec<Raw>> {
        let mut ask = json!({ "multi_last": filters, "batch": MULTI });
        if let Some(up_to) = up_to {
            ask["up_to_seq"] = up_to.into();
        }
        self.direct(stream, &ask).await
    }

    /// Up to `batch` messages that match `filter`, from sequence `from` on.
    pub(crate) async fn page(&self, stream: &str, filter: &str, from: u64, batch: usize) -> Result<Vec<Raw>> {
        let ask = json!({ "next_by_subj": filter, "seq": from.max(1), "batch": batch.max(1) });
        self.direct(stream, &ask).await
    }

    /// The same, with references to large documents as they are.
    pub(crate) async fn page_as_stored(&self, stream: &str, filter: &str, from: u64, batch: usize) -> Result<Vec<Raw>> {
        let ask = json!({ "next_by_subj": filter, "seq": from.max(1), "batch": batch.max(1) });
        self.repeated(|| self.direct_once(stream, &ask)).await
    }

    /// All messages that match `filter`, from sequence `from` on.
    pub(crate) async fn all(&self, stream: &str, filter: &str, from: u64) -> Result<Vec<Raw>> {
        let mut all: Vec<Raw> = Vec::new();
        loop {
            let from = all.last().map_or(from, |raw| raw.seq + 1);
            let page = self.page(stream, filter, from, MULTI).await?;
            let more = page.last().is_some_and(|raw| raw.pending > 0);
            all.extend(page);
            if !more {
                return Ok(all);
            }
        }
    }

    /// The newest message of each subject that matches `filter`, however many there are, by subject; of a stream that keeps
    /// one of each.
    pub(crate) async fn entries(&self, stream: &str, filter: &str) -> Result<Vec<Raw>> {
        let all = self.all(stream, filter, 1).await?;
        // What is written anew between two pages stands in both.
        let newest: BTreeMap<String, Raw> = all.into_iter().map(|raw| (raw.subject.clone(), raw)).collect();
        Ok(newest.into_values().collect())
    }

    /// One message.
    pub(crate) async fn at(&self, stream: &str, seq: u64) -> Result<Option<Raw>> {
        Ok(self.direct(stream, &json!({ "seq": seq })).await?.pop())
    }

    /// The newest sequence on `filter` and its message's subject, as the stream's leader has it; 0: none.
    pub(crate) async fn newest(&self, stream: &str, filter: &str) -> Result<(u64, String)> {
        let verb = format!("STREAM.MSG.GET.{stream}");
        match self.repeated(|| self.api(&verb, json!({ "last_by_subj": filter }))).await? {
            Ok(said) => {
                let message = &said["message"];
                let subject = message["subject"].as_str().unwrap_or_default().to_owned();
                Ok((message["seq"].as_u64().unwrap_or_default(), subject))
            }
            Err(error) if error.is_not_found() => Ok((0, String::new())),
            Err(error) => Err(error.into_error(stream)),
        }
    }

    /// Removes a message from a stream. Whether it was there.
    pub(crate) async fn delete(&self, stream: &str, seq: u64) -> Result<bool> {
        let verb = format!("STREAM.MSG.DELETE.{stream}");
        match self.api(&verb, json!({ "seq": seq, "no_erase": true })).await? {
            Ok(_) => Ok(true),
            // 10057: the message is not there; some versions say 404.
            Err(error) if error.is_not_found() || error.err_code == 10057 => Ok(false),
            Err(error) => Err(error.into_error(stream)),
        }
    }

    /// Asks again when the answer went with the connection; for questions that change nothing. At most [`REQUEST`].
    pub(crate) async fn repeated<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T> {
        let mut notices = self.notices();
        let asking = async {
            loop {
                tokio::select! {
                    answer = ask() => return answer,
                    () = until_lost(&mut notices) => {}
                }
            }
        };
        let late = || Error::unavailable(format!("{}: no answer within {} s", self.address, REQUEST.as_secs()));
        tokio::time::timeout(REQUEST, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// Documents that stand elsewhere, because they are large, are read along.
    async fn direct(&self, stream: &str, ask: &Value) -> Result<Vec<Raw>> {
        let mut found = self.repeated(|| self.direct_once(stream, ask)).await?;
        if stream == names::BLOBS {
            return Ok(found);
        }
        for raw in &mut found {
            match self.unpack(raw.body.clone()).await {
                Ok(body) => raw.body = body,
                // What it refers to is gone for good: it is shown as it is.
                Err(Error::NotFound { .. } | Error::Decode { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn direct_once(&self, stream: &str, ask: &Value) -> Result<Vec<Raw>> {
        let inbox = self.client.new_inbox();
        let lost = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {stream}: {e}", self.address));
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|e| lost(&e))?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let single = ask.get("batch").is_none();
        let mut notices = self.notices();
        self.client.publish_with_reply(subject.clone(), inbox, ask.to_string().into()).await.map_err(|e| lost(&e))?;
        let mut found = Vec::new();
        loop {
            let message = tokio::select! {
                message = receive(&mut answers) => message.ok_or_else(|| lost(&"the connection was closed"))?,
                denied = until_denied(&mut notices, &subject) => return Err(denied),
            };
            match message.status.map(|status| status.as_u16()) {
                None => found.push(raw(message)?),
                // The end of a batch; nothing there.
                Some(204 | 404) => return Ok(found),
                Some(413) => {
                    return Err(Error::TooLarge { what: stream.into(), size: MULTI + 1, limit: MULTI });
                }
                Some(503) => return Err(Error::unavailable(format!("{}: there is no {stream}", self.address))),
                Some(code) => {
                    let why = message.description.unwrap_or_default();
                    return Err(Error::unavailable(format!("{stream}: {why} ({code})")));
                }
            }
            if single {
                return Ok(found);
            }
        }
    }
}

/// Whether a message was published on the subject that it is read from. Whoever may configure a stream or a consumer can
/// have it speak on any subject, past all permissions: what a stream republishes carries a header that says so, what a
/// consumer delivers the subject that it was stored under.
pub(crate) fn came_directly(message: &async_nats::Message, subject: &str) -> bool {
    let republished = message.headers.as_ref().is_some_and(|headers| headers.get("Nats-Stream").is_some());
    !republished && message.subject.as_str() == subject
}

/// The next message of a subscription; `None` when it is over.
pub(crate) async fn receive(from: &mut Subscriber) -> Option<async_nats::Message> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *from).poll_next(cx)).await
}

/// Resolves once the connection is lost.
async fn until_lost(notices: &mut broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Disconnected) => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn raw(message: async_nats::Message) -> Result<Raw> {
    let headers = message.headers.unwrap_or_default();
    let text = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
    let seq = number("Nats-Sequence");
    if seq == 0 {
        return Err(Error::decode("the server gave a message without its sequence"));
    }
    Ok(Raw {
        subject: text("Nats-Subject"),
        seq,
        at: stamp(&text("Nats-Time-Stamp")),
        pending: number("Nats-Num-Pending"),
        headers,
        body: message.payload,
    })
}

/// RFC 3339 as the server writes it, in milliseconds; 0 for anything else.
pub(crate) fn stamp(text: &str) -> Millis {
    let read = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    read.ok().and_then(|at| Millis::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()).unwrap_or(0)
}

fn refusal(error: ApiError, subject: &str) -> Refusal {
    match error.err_code {
        10071 | 10164 => Refusal::Conflict,
        10077 if error.description.contains("per subject") => Refusal::Occupied,
        10077 => Refusal::Full,
        _ => Refusal::Failed(error.into_error(subject)),
    }
}
