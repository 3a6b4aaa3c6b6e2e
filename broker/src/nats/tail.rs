//! Following a stream: what it holds from a sequence on, then what is stored, in order and without a gap.
//!
//! What a server derives from other streams reaches nobody but consumers of the stream, and a core subscription also
//! sees writes that the stream refused; so a follower has a consumer of its own, in the server's memory, which keeps no
//! place: the place is here. Whatever goes wrong (a lost connection, a server that restarts, a consumer that is gone)
//! ends in a new consumer from that place on.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::js::{Raw, receive};
use super::link::{Link, Notice};
use super::options::REQUEST;
use crate::error::{Error, Result};

/// Messages asked for at a time.
const BATCH: usize = 128;
/// How long the server waits for the first of them before it is asked again.
const EXPIRES: Duration = Duration::from_secs(2);
/// When the server forgets a consumer that nobody asks.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// The wait between two tries to reach a server that does not answer, unless the connection comes back before.
const RETRY: Duration = Duration::from_secs(1);

/// A place in a stream.
pub(crate) struct Tail {
    link: Arc<Link>,
    stream: &'static str,
    filters: Vec<String>,
    next: u64,
    /// Came, and is not given out yet: what it refers to is read first.
    heard: Option<Raw>,
    consumer: Option<Consumer>,
}

struct Consumer {
    name: String,
    inbox: String,
    messages: Subscriber,
    notices: broadcast::Receiver<Notice>,
    /// Messages that the server still owes us.
    asked: usize,
    /// Its number of the newest message that came.
    delivered: u64,
    /// When its silence means that it is gone.
    silent: Instant,
}

/// What became of a wait.
enum Heard {
    Message(Box<Raw>),
    Nothing,
    /// The consumer can no longer be trusted.
    Broken,
    Closed(String),
}

impl Tail {
    /// From sequence `from` on. The filters must not overlap.
    pub(crate) fn new(link: Arc<Link>, stream: &'static str, filters: Vec<String>, from: u64) -> Self {
        Self { link, stream, filters, next: from.max(1), heard: None, consumer: None }
    }

    /// The next message. A server that is away is waited for. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such stream; `Denied`; `Unavailable` once the connection is closed for good.
    pub(crate) async fn next(&mut self) -> Result<Raw> {
        loop {
            if let Some(heard) = &self.heard {
                let body = match self.link.unpack(heard.body.clone()).await {
                    // What it refers to is gone for good: it is told as it is.
                    Err(Error::NotFound { .. } | Error::Decode { .. }) => heard.body.clone(),
                    body => body?,
                };
                if let Some(heard) = self.heard.take() {
                    self.next = heard.seq + 1;
                    return Ok(Raw { body, ..heard });
                }
            }
            let Some(consumer) = self.consumer.as_mut() else {
                self.open().await?;
                continue;
            };
            match consumer.hear(&self.link, self.stream).await {
                Heard::Message(raw) if raw.seq < self.next => {}
                Heard::Message(raw) => self.heard = Some(*raw),
                Heard::Nothing => {}
                Heard::Broken => self.consumer = None,
                Heard::Closed(why) => return Err(Error::unavailable(why)),
            }
        }
    }

    /// Makes a consumer; waits a while when the server does not answer, so that the caller may try again.
    async fn open(&mut self) -> Result<()> {
        let mut notices = self.link.notices();
        match self.make().await {
            Ok(consumer) => self.consumer = Some(consumer),
            Err(Error::Unavailable { what }) => {
                tracing::debug!(stream = self.stream, error = %what, "a follower waits for the server");
                let back = async {
                    loop {
                        match notices.recv().await {
                            Ok(Notice::Closed(why)) => return Err(Error::unavailable(why)),
                            Ok(Notice::Connected) | Err(_) => return Ok(()),
                            Ok(_) => {}
                        }
                    }
                };
                tokio::time::timeout(RETRY, back).await.unwrap_or(Ok(()))?;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    async fn make(&self) -> Result<Consumer> {
        let name = format!("tail-{}", uuid::Uuid::now_v7().simple());
        let notices = self.link.notices();
        let inbox = self.link.client.new_inbox();
        let messages = self.link.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|e| Error::unavailable(format!("{}: {e}", self.link.address)))?;
        let config = json!({
            "name": name,
            "filter_subjects": self.filters,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.next,
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": nanos(FORGOTTEN),
        });
        let ask = json!({ "stream_name": self.stream, "config": config, "action": "create" });
        let said = self.link.api(&format!("CONSUMER.CREATE.{}.{name}", self.stream), ask).await?;
        said.map_err(|e| e.into_error(self.stream))?;
        Ok(Consumer { name, inbox, messages, notices, asked: 0, delivered: 0, silent: Instant::now() })
    }
}

impl Consumer {
    async fn hear(&mut self, link: &Link, stream: &str) -> Heard {
        if self.asked == 0 {
            let ask = Bytes::from(json!({ "batch": BATCH, "expires": nanos(EXPIRES) }).to_string());
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", self.name);
            if link.client.publish_with_reply(subject, self.inbox.clone(), ask).await.is_err() {
                return Heard::Broken;
            }
            self.asked = BATCH;
            self.silent = Instant::now() + EXPIRES + REQUEST;
        }
        tokio::select! {
            message = receive(&mut self.messages) => match message {
                Some(message) => self.take(message),
                None => Heard::Closed(format!("{}: the connection was closed", link.address)),
            },
            notice = self.notices.recv() => match notice {
                Ok(Notice::Closed(why)) => Heard::Closed(why),
                Ok(Notice::Connected | Notice::Disconnected | Notice::SlowConsumer) | Err(_) => Heard::Broken,
                Ok(_) => Heard::Nothing,
            },
            () = tokio::time::sleep_until(self.silent) => Heard::Broken,
        }
    }

    fn take(&mut self, message: Message) -> Heard {
        match message.status.map(|status| status.as_u16()) {
            None => {}
            Some(100) => return Heard::Nothing,
            // What was asked for has not come in time, or there is nothing.
            Some(404 | 408) => {
                self.asked = 0;
                return Heard::Nothing;
            }
            Some(_) => return Heard::Broken,
        }
        let Some((raw, delivered)) = read(message) else { return Heard::Broken };
        if delivered != self.delivered + 1 {
            return Heard::Broken;
        }
        self.delivered = delivered;
        self.asked = self.asked.saturating_sub(1);
        Heard::Message(Box::new(raw))
    }
}

/// A delivered message, and its number among those that its consumer has delivered.
fn read(message: Message) -> Option<(Raw, u64)> {
    let (seq, delivered, at_ns, pending) = place(message.reply.as_ref()?)?;
    let raw = Raw {
        subject: message.subject.to_string(),
        seq,
        at: at_ns / 1_000_000,
        headers: message.headers.unwrap_or_default(),
        body: message.payload,
        pending,
    };
    Some((raw, delivered))
}

/// The address for acknowledgements tells where a message stands: its sequences in the stream and in the consumer, its
/// time and how many follow. Newer servers put the domain and the account before the stream.
fn place(reply: &str) -> Option<(u64, u64, u64, u64)> {
    let tokens: Vec<&str> = reply.split('.').collect();
    let before = if tokens.len() == 9 { 5 } else { 7 };
    let number = |n: usize| tokens.get(before + n)?.parse::<u64>().ok();
    Some((number(0)?, number(1)?, number(2)?, number(3)?))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_it_stands_in_both_forms() {
        let short = "$JS.ACK.S.C.1.42.7.1700000000000000000.3";
        let long = "$JS.ACK.hub.ACCOUNT.S.C.1.42.7.1700000000000000000.3.xyz";
        assert_eq!(place(short), Some((42, 7, 1_700_000_000_000_000_000, 3)));
        assert_eq!(place(long), place(short));
        assert_eq!(place("$JS.ACK.S.C.1.x.7.1.3"), None);
    }
}
