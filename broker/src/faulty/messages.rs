//! Messages over a bad line: at most once, which leaves room for never.

use std::sync::Arc;

use super::Line;
use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::messages::{self, Address, Broadcast, Inbox, Message, MessageCounts, Subscription};
use crate::payload::Payload;
use crate::request::Table;
use crate::subject::CapabilityName;
use crate::task::Serving;

/// Asks have a correlation table of their own, for answers have to find their asker whatever the line does to them.
pub(super) struct Messages {
    inner: Arc<dyn messages::Messages>,
    line: Line,
    asks: Table,
}

impl Messages {
    pub(super) fn new(inner: Arc<dyn messages::Messages>, line: Line) -> Self {
        Self { inner, line, asks: Table::default() }
    }

    /// Carries an ask there and its answer back. Never ends: the asker ends it.
    async fn relay(&self, number: u64, message: Message) -> Result<Payload> {
        self.line.travel().await;
        if !self.line.loses(self.line.faults.lost_requests) {
            let answer = self.inner.ask(message).await;
            self.line.travel().await;
            if !self.line.loses(self.line.faults.lost_answers) {
                self.asks.answer(number, answer.clone());
            }
            if self.line.hits(self.line.faults.echoes) {
                self.asks.answer(number, answer.clone());
                self.asks.answer(number.wrapping_add(1 << 40), answer);
            }
        }
        std::future::pending().await
    }
}

impl messages::Messages for Messages {
    fn serve(&self, address: Address, limit: usize) -> Arc<dyn Inbox> {
        self.inner.serve(address, limit)
    }

    fn serves_version(&self, capability: &CapabilityName, serving: &Serving) {
        self.inner.serves_version(capability, serving);
    }

    fn close(&self, address: &Address) {
        self.inner.close(address);
    }

    fn is_served(&self, address: &Address) -> bool {
        self.inner.is_served(address)
    }

    fn ask(&self, message: Message) -> BoxFuture<'_, Result<Payload>> {
        Box::pin(async move {
            let (deadline, to) = (message.deadline, message.to.to_string().into());
            let limit = deadline.saturating_duration_since(tokio::time::Instant::now());
            let pending = self.asks.open();
            let relay = self.relay(pending.number(), message);
            tokio::select! {
                // An answer that is there counts, also at the deadline.
                biased;
                answer = pending => answer,
                never = relay => never,
                () = tokio::time::sleep_until(deadline) => Err(Error::Deadline { to, limit }),
            }
        })
    }

    fn tell(&self, messages: Vec<Message>) -> BoxFuture<'_, Vec<Result<()>>> {
        Box::pin(async move {
            self.line.travel().await;
            if self.line.loses(self.line.faults.lost_requests) {
                return messages.iter().map(|_| Ok(())).collect();
            }
            self.inner.tell(messages).await
        })
    }

    fn broadcast(&self, broadcast: Broadcast) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.line.travel().await;
            if self.line.loses(self.line.faults.lost_requests) {
                return Ok(());
            }
            self.inner.broadcast(broadcast).await
        })
    }

    fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription> {
        self.inner.subscribe(topic, who)
    }

    fn counts(&self) -> MessageCounts {
        let counts = self.inner.counts();
        MessageCounts { answered: self.asks.answered(), late: counts.late + self.asks.late(), ..counts }
    }
}
