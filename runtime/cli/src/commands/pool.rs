//! `callboard pool`: how many requests each capability can be at, over all nodes, and changing that.

use std::collections::{BTreeMap, BTreeSet};

use callboard::broker::code;
use callboard::broker::id::NodeName;
use callboard::broker::nats::service;
use callboard::broker::problem::Problem;
use callboard::broker::subject::CapabilityName;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::output::{Column, Done, Page, Show, answer, table, then};
use crate::store::Store;

/// Slots of capabilities over all nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Pool {
    /// Each capability with its slots and what is in them, over all nodes
    Ls,
    /// Give a capability so many workers on each node that serves it, for good
    Scale(Scale),
}

#[derive(Args, Debug)]
pub(crate) struct Scale {
    /// The capability
    #[arg(value_name = "CAPABILITY", value_parser = CapabilityName::parse)]
    capability: CapabilityName,
    /// Workers on each node; each has as many slots as its agent works on at a time
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    workers: u16,
    /// On this node only
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// Runs a verb.
pub(crate) async fn pool(of: Pool, console: &Console) -> Done {
    let store = console.look().await?;
    match of {
        Pool::Ls => {
            let pools = pools(&store).await?;
            let none = if pools.is_empty() { super::agent::nothing(console, &store).await? } else { String::new() };
            then(answer(Pools(pools)), &none)
        }
        Pool::Scale(of) => scale(&of, &store, console).await,
    }
}

/// The figures of each node's agents, by node.
pub(crate) async fn agents(store: &Store) -> Result<Vec<(Option<String>, Value)>, Failure> {
    let said = match store.nodes() {
        Some(nodes) => {
            let all = nodes.told("agents").await?;
            all.into_iter().filter_map(|one| Some((Some(one.node.node.to_string()), one.answer.ok()?))).collect()
        }
        None => store.node_says("agents").await?.map(|said| (None, said)).into_iter().collect::<Vec<_>>(),
    };
    let list = |(node, said): (Option<String>, Value)| {
        let agents = said.as_array().cloned().unwrap_or_default();
        agents.into_iter().map(move |agent| (node.clone(), agent))
    };
    Ok(said.into_iter().flat_map(list).collect())
}

async fn pools(store: &Store) -> Result<Vec<Row>, Failure> {
    let mut pools: BTreeMap<String, Row> = BTreeMap::new();
    for (node, agent) in agents(store).await? {
        let number = |field: &str| agent[field].as_u64().unwrap_or(0);
        for capability in agent["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let row = pools.entry(capability.to_owned()).or_insert_with(|| Row::new(capability));
            row.nodes.extend(node.clone());
            row.versions.extend(agent["version"].as_str().map(str::to_owned));
            row.workers += number("workers");
            row.slots += number("slots");
            row.running += number("running");
            row.waiting += number("waiting");
            row.done += number("done");
            row.failed += number("failed");
        }
    }
    for (capability, depth) in store.broker.tasks.depth().await? {
        if let Some(row) = pools.get_mut(capability.as_str()) {
            row.queued = depth.pending;
        }
    }
    Ok(pools.into_values().collect())
}

async fn scale(of: &Scale, store: &Store, console: &Console) -> Done {
    let name = of.capability.as_str();
    let serves = |agent: &Value| {
        let list = agent["capabilities"].as_array();
        list.is_some_and(|served| served.iter().any(|one| one == name))
    };
    let all = agents(store).await?;
    let serving: Vec<String> = all
        .iter()
        .filter(|(node, agent)| serves(agent) && (of.node.is_none() || of.node == *node))
        .filter_map(|(node, _)| node.clone())
        .collect();
    let body = json!({ "capability": name, "workers": of.workers });
    let Some(nodes) = store.nodes() else {
        let problem = Problem::new(code::MISSING_ARGUMENT, "the pools of nodes are on a broker, and none is named");
        return Err(problem
            .fix(format!("callboard --broker nats://HOST:4222 pool scale {name} {}", of.workers))
            .into());
    };
    if serving.is_empty() {
        let known = all.iter().flat_map(|(_, agent)| agent["capabilities"].as_array().into_iter().flatten());
        let known: Vec<String> = known.filter_map(Value::as_str).map(str::to_owned).collect();
        let on = of.node.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
        let problem = Problem::new(code::UNSERVED, format!("nobody serves {name}{on}")).allowed_near(name, known);
        return Err(problem.fix("callboard pool ls").into());
    }
    keep(of, nodes).await?;
    let mut scaled = Scaled { capability: name.to_owned(), workers: of.workers, nodes: Vec::new(), slots: 0 };
    for node in serving {
        let said = nodes.ask(&node, "scale", body.clone()).await?;
        let slots = said["slots"].as_u64().unwrap_or(0);
        scaled.slots += slots;
        scaled.nodes.push(OnNode { node, slots });
    }
    if of.node.is_some() {
        let total = pools(store).await?.into_iter().find(|row| row.capability == name);
        scaled.slots = total.map_or(scaled.slots, |row| row.slots);
    }
    console.out.note(&format!("kept: nodes that start later take {} workers too", of.workers));
    answer(scaled)
}

/// Keeps the size where nodes find it after a restart.
async fn keep(of: &Scale, nodes: &Nodes) -> Result<(), Failure> {
    let node = of.node.as_deref().map(NodeName::parse).transpose();
    let node = node.map_err(|bad| Problem::new(code::BAD_VALUE, bad.to_string()))?;
    let size = (of.capability.clone(), node);
    Ok(service::resize(&nodes.wing.link, &size, usize::from(of.workers)).await?)
}

#[derive(Serialize)]
struct Row {
    capability: String,
    nodes: Vec<String>,
    /// Of the agents that have one.
    versions: BTreeSet<String>,
    workers: u64,
    slots: u64,
    running: u64,
    waiting: u64,
    queued: u64,
    done: u64,
    failed: u64,
}

impl Row {
    fn new(capability: &str) -> Row {
        let capability = capability.to_owned();
        Row {
            capability,
            nodes: Vec::new(),
            versions: BTreeSet::new(),
            workers: 0,
            slots: 0,
            running: 0,
            waiting: 0,
            queued: 0,
            done: 0,
            failed: 0,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Pools(Vec<Row>);

impl Show for Pools {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 8] = [
            Column::new("CAPABILITY"),
            Column::new("VERSIONS").flexible().spare(4),
            Column::new("NODES").flexible().spare(3),
            Column::new("SLOTS").right(),
            Column::new("RUN").right(),
            Column::new("QUEUED").right(),
            Column::new("DONE").right().spare(1),
            Column::new("FAILED").right().spare(2),
        ];
        if self.0.is_empty() {
            return String::new();
        }
        let row = |row: &Row| {
            let numbers = [row.slots, row.running, row.queued, row.done, row.failed].map(|n| n.to_string());
            let versions = row.versions.iter().cloned().collect::<Vec<_>>().join(", ");
            [vec![row.capability.clone(), versions, row.nodes.join(", ")], numbers.to_vec()].concat()
        };
        let mut rows: Vec<Vec<String>> = self.0.iter().map(row).collect();
        if self.0.iter().any(|row| !row.versions.is_empty()) {
            return table(page, &COLUMNS, &rows);
        }
        // Where nobody has one, nobody need read of them.
        rows.iter_mut().for_each(|row| drop(row.remove(1)));
        let columns: Vec<Column> = COLUMNS.into_iter().enumerate().filter(|(n, _)| *n != 1).map(|(_, c)| c).collect();
        table(page, &columns, &rows)
    }
}

#[derive(Serialize)]
struct Scaled {
    capability: String,
    workers: u16,
    nodes: Vec<OnNode>,
    slots: u64,
}

#[derive(Serialize)]
struct OnNode {
    node: String,
    slots: u64,
}

impl Show for Scaled {
    fn text(&self, _: Page) -> String {
        let nodes = self.nodes.iter().map(|one| format!("{} {}", one.node, one.slots)).collect::<Vec<_>>().join(", ");
        format!("{}  {} slots in all ({nodes})\n", self.capability, self.slots)
    }
}
