//! What other processes may ask a node: JSON in, JSON out, by verb.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::sqlite;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Version;
use serde_json::{Value, json};

use super::Node;
use crate::cell::quit::Quit;
use crate::door;

/// Verbs of the program around a node.
pub(super) type Verbs = BTreeMap<&'static str, Arc<dyn Fn(Value) -> Result<Value> + Send + Sync>>;

/// The verbs that every node answers.
const VERBS: [&str; 9] = ["info", "tree", "agents", "served", "metrics", "scale", "stopped", "drain", "stop"];
/// The most tasks that one question may be about.
const MAX_ASKED: usize = 10_000;

impl Node {
    /// Answers other processes at the door of its store, for as long as it lives.
    pub(super) fn answer(&self, door: &sqlite::Verbs) {
        door.set(self.answerer());
    }

    /// What answers verbs without keeping the node.
    pub(super) fn answerer(&self) -> Arc<dyn Fn(String, Value) -> BoxFuture<'static, Result<Value>> + Send + Sync> {
        let inner = Arc::downgrade(&self.inner);
        Arc::new(move |verb, body| {
            let node = inner.upgrade().map(|inner| Node { inner });
            Box::pin(async move {
                let node = node.ok_or_else(|| Error::unavailable("the node has stopped"))?;
                node.control(&verb, body).await
            })
        })
    }

    /// The verbs that this node answers.
    pub fn verbs(&self) -> Vec<String> {
        VERBS.iter().chain(self.inner.verbs.keys()).map(|verb| (*verb).to_owned()).collect()
    }

    /// What other processes may ask this node, by verb, JSON in and JSON out: `tree`, `agents`, `served`, `metrics`, `info`,
    /// `scale` with `{"capability", "workers"}`, `stopped` with `{"tasks"}` (answered when none of them is at work here any
    /// more, with those that are still at it after a second), `drain` and `stop` (which hands back instead of finishing), and what
    /// [`verb`](super::NodeBuilder::verb) has added.
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
            "served" => Ok(node.inner.hub.registry.doors().iter().map(door::told).collect()),
            "info" => Ok(json!({
                "node": node.name(), "pid": std::process::id(), "store": &*node.broker().about,
                "claims": node.inner.hub.heart.held(), "refused": node.metrics().refused,
                "version": env!("CARGO_PKG_VERSION"), "versions": node.versions(),
                "state": if node.is_stopping() { "draining" } else { "up" },
            })),
            "scale" => scale(node, &body).await,
            "stopped" => stopped(node, &body).await,
            "drain" => Ok(node.leave_soon(Quit::Finish)),
            "stop" => Ok(node.leave_soon(Quit::HandBack)),
            other => match node.inner.verbs.get(other) {
                Some(answer) => answer(body),
                None => Err(Error::not_found(format!("verb \"{other}\": a node answers {}", node.verbs().join(", ")))),
            },
        }
    }

    /// The versions of the agents that have one, by capability.
    fn versions(&self) -> BTreeMap<CapabilityName, Vec<Version>> {
        let mut versions: BTreeMap<CapabilityName, Vec<Version>> = BTreeMap::new();
        for pool in self.inner.pools.0.iter().map(|opened| &opened.pool) {
            for door in &pool.doors {
                versions.entry(door.capability.clone()).or_default().extend(pool.options.version.clone());
            }
        }
        versions.retain(|_, all| !all.is_empty());
        versions
    }

    fn is_stopping(&self) -> bool {
        self.inner.hub.quit.told().so_far() != Quit::No || self.inner.asked.borrow().is_some()
    }

    /// Begins to stop and says so; whoever waits for the node's end goes on when it has.
    fn leave_soon(&self, how: Quit) -> Value {
        self.inner.asked.send_replace(Some(how));
        let node = self.clone();
        tokio::spawn(async move {
            if let Err(error) = node.end(how).await {
                tracing::warn!(%error, "the node ended otherwise than asked");
            }
        });
        json!({ "node": self.name(), "state": "draining", "claims": self.inner.hub.heart.held() })
    }
}

async fn scale(node: &Node, body: &Value) -> Result<Value> {
    let capability = body.get("capability").and_then(Value::as_str);
    let workers = body.get("workers").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (Some(capability), Some(workers)) = (capability, workers) else {
        return Err(Error::decode("scale needs {\"capability\": text, \"workers\": number}"));
    };
    node.scale_named(capability, workers).await?;
    let serves = |figures: &Value| {
        figures["capabilities"].as_array().is_some_and(|served| served.iter().any(|name| name == capability))
    };
    let figures = node.agents().into_iter().map(|(_, figures)| figures).find(serves).unwrap_or_default();
    Ok(json!({ "capability": capability, "workers": workers, "slots": figures["slots"] }))
}

/// Whether what was cancelled has stopped here.
async fn stopped(node: &Node, body: &Value) -> Result<Value> {
    let named = body.get("tasks").and_then(Value::as_array).filter(|tasks| tasks.len() <= MAX_ASKED);
    let needs = || Error::decode(format!("stopped needs {{\"tasks\": [id]}}, at most {MAX_ASKED}"));
    let tasks: Option<HashSet<TaskId>> =
        named.and_then(|tasks| tasks.iter().map(|id| TaskId::parse(id.as_str()?).ok()).collect());
    let (stopped, zombies) = node.inner.hub.heart.until_stopped(&tasks.ok_or_else(needs)?).await;
    let stopped = stopped.saturating_sub(zombies.len());
    Ok(json!({ "node": node.name(), "stopped": stopped, "zombies": zombies }))
}

fn named(name: &str, mut figures: Value) -> Value {
    if let Some(fields) = figures.as_object_mut() {
        fields.insert("agent".into(), name.into());
    }
    figures
}
