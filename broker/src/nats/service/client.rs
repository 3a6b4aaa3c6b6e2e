//! Asking nodes, and which there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::NodeName;
use crate::nats::link::Link;
use crate::nats::names;

/// A node that gives signs of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Its name.
    pub node: NodeName,
    /// Its incarnation.
    pub boot: u32,
    /// When it began.
    pub since: Millis,
    /// `up` or `draining`.
    pub state: String,
}

/// The nodes that give signs of life, by name. One that was killed within the last two seconds is still among them.
///
/// # Errors
/// `Unavailable`; `Denied`.
pub async fn nodes(link: &Link) -> Result<Vec<Present>> {
    let found = link.entries(names::NODES, &names::presence("*")).await?;
    let mut nodes: Vec<Present> = found.iter().filter_map(|raw| serde_json::from_slice(&raw.body).ok()).collect();
    nodes.retain(|node| node.state != "gone");
    nodes.sort_by(|a, b| a.node.as_str().cmp(b.node.as_str()));
    Ok(nodes)
}

/// What the nodes that are there serve together, by name: from what they write, so that a client need not be allowed to
/// ask them.
///
/// # Errors
/// `Unavailable`; `Denied`.
pub async fn served(link: &Link) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Serves {
        boot: u32,
        capabilities: BTreeMap<String, u32>,
    }
    let there = nodes(link).await?;
    let mut served = BTreeSet::new();
    for raw in link.entries(names::SHARED, &names::served("*")).await? {
        let node = raw.subject.rsplit('.').next().unwrap_or_default();
        let Ok(serves) = serde_json::from_slice::<Serves>(&raw.body) else { continue };
        // What an earlier incarnation wrote is of no use.
        if there.iter().any(|one| one.node.as_str() == node && one.boot == serves.boot) {
            served.extend(serves.capabilities.into_keys());
        }
    }
    Ok(served)
}

/// Asks a node.
///
/// # Errors
/// `NoRecipient` at once when no node of this name is there; `NotFound` for a verb or thing that the node does not know;
/// `Decode` for a body that is not what the verb takes; `Denied`; `Unavailable`.
pub async fn ask(link: &Link, node: &NodeName, verb: &str, body: Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = link.request(&names::control(node, verb), None, body.into()).await.map_err(|e| match e {
        Error::NoRecipient { .. } => Error::NoRecipient { to: format!("node {node}").into() },
        other => other,
    })?;
    let said: Value = serde_json::from_slice(&answer.payload)
        .map_err(|e| Error::decode(format!("the answer of node {node} to {verb}: {e}")))?;
    let headers = answer.headers.unwrap_or_default();
    let Some(refused) = headers.get("Nats-Service-Error-Code") else { return Ok(said) };
    let why = said["message"].as_str().unwrap_or("it does not say why").to_owned();
    Err(match refused.as_str() {
        // The sentence says already that there is no such thing.
        "404" => Error::NotFound { what: why.trim_start_matches("there is no ").to_owned().into() },
        "400" => Error::decode(why),
        _ => Error::unavailable(format!("node {node}: {why}")),
    })
}
