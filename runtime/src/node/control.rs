//! What other processes may ask a node: JSON in, JSON out, by verb.

use std::sync::Arc;

use callboard_broker::error::{Error, Result};
use callboard_broker::sqlite::Verbs;
use serde_json::{Value, json};

use super::Node;

impl Node {
    /// Answers other processes at the door of its store, for as long as it lives.
    pub(super) fn answer(&self, verbs: &Verbs) {
        let inner = Arc::downgrade(&self.inner);
        verbs.set(Arc::new(move |verb, body| {
            let node = inner.upgrade().map(|inner| Node { inner });
            Box::pin(async move {
                let node = node.ok_or_else(|| Error::unavailable("the node has stopped"))?;
                node.control(&verb, body).await
            })
        }));
    }

    /// What other processes may ask this node, by verb, JSON in and JSON out: `tree`, `agents`, `served`, `metrics`, `info`,
    /// and `scale` with `{"capability", "workers"}`.
    ///
    /// # Errors
    /// `NotFound` for another verb; `Decode` for a body that is not what the verb takes.
    pub async fn control(&self, verb: &str, body: Value) -> Result<Value> {
        let node = self;
        let json = |value: serde_json::Result<Value>| value.map_err(|e| Error::decode(e.to_string()));
        match verb {
            "tree" => json(serde_json::to_value(node.tree())),
            "metrics" => json(serde_json::to_value(node.metrics())),
            "agents" => {
                Ok(Value::Array(node.agents().into_iter().map(|(name, figures)| named(&name, figures)).collect()))
            }
            "served" => {
                Ok(node.served().iter().map(|s| json!({ "capability": s.capability, "about": s.about })).collect())
            }
            "info" => Ok(json!({
                "node": node.name(), "pid": std::process::id(), "store": &*node.broker().about,
                "claims": node.inner.hub.heart.held(),
            })),
            "scale" => scale(node, &body).await,
            other => Err(Error::not_found(format!(
                "verb \"{other}\": a node answers tree, metrics, agents, served, info and scale"
            ))),
        }
    }
}

async fn scale(node: &Node, body: &Value) -> Result<Value> {
    let capability = body.get("capability").and_then(Value::as_str);
    let workers = body.get("workers").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (Some(capability), Some(workers)) = (capability, workers) else {
        return Err(Error::decode("scale needs {\"capability\": text, \"workers\": number}"));
    };
    node.scale_named(capability, workers).await?;
    Ok(json!({ "capability": capability, "workers": workers }))
}

fn named(name: &str, mut figures: Value) -> Value {
    if let Some(fields) = figures.as_object_mut() {
        fields.insert("agent".into(), name.into());
    }
    figures
}
