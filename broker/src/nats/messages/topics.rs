//! Broadcasts between nodes: one subject a topic, one JSON document a broadcast.
//!
//! Every node hears every topic and hands on what its own subscribers read, so a subscription costs the server nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::Subscriber;
use serde::{Deserialize, Serialize};

use super::Exchange;
use crate::error::{Error, Result};
use crate::id::NodeName;
use crate::messages::{Broadcast, Messages};
use crate::nats::js::receive;
use crate::nats::names;
use crate::payload::Payload;

/// A broadcast as it travels.
#[derive(Serialize, Deserialize)]
struct Aloud {
    topic: Arc<str>,
    from: Arc<str>,
    /// The node of the sender; none for one that was sent by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeName>,
    #[serde(default)]
    body: Payload,
}

impl Exchange {
    /// Says it to the other nodes.
    pub(super) async fn say_aloud(&self, broadcast: &Broadcast) -> Result<()> {
        let Broadcast { topic, from, body } = broadcast.clone();
        let subject = names::topic(&topic);
        let aloud = Aloud { topic, from, node: Some(self.link.node.clone()), body };
        let text = serde_json::to_string(&aloud).map_err(|e| Error::decode(e.to_string()))?;
        let limit = self.link.client.server_info().max_payload;
        if text.len() > limit {
            return Err(Error::TooLarge { what: "broadcast".into(), size: text.len(), limit });
        }
        self.link.publish(subject, text.into()).await
    }

    /// Hears what other nodes say.
    pub(super) async fn read_topics(self: Arc<Self>, mut topics: Subscriber) {
        while let Some(message) = receive(&mut topics).await {
            let topic = message.subject.rsplit('.').next().unwrap_or_default();
            let Ok(aloud) = serde_json::from_slice::<Aloud>(&message.payload) else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(topic, "a broadcast cannot be read");
                continue;
            };
            // Our own have reached our own subscribers without the server.
            if aloud.node.as_ref() == Some(&self.link.node) || *aloud.topic != *topic {
                continue;
            }
            let broadcast = Broadcast { topic: aloud.topic, from: aloud.from, body: aloud.body };
            // The topic is a token of a subject, so nothing is left that could be refused.
            let _ = self.room.broadcast(broadcast).await;
        }
    }
}
