//! Metrics that are read off the nodes of this process whenever they are collected.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use callboard_agents::llm::CacheCounts;
use callboard_broker::dead_letter;
use callboard_broker::subject::CapabilityName;
use callboard_broker::tasks::Depth;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::meters;
use super::names::{self, Metric};
use crate::node::{Figures, Inner};
use crate::tree::{Happening, TreeEvents};

/// How often a node asks its broker how much is queued: 15 s.
const LOOK: Duration = Duration::from_secs(15);

/// The nodes of this process.
static NODES: OnceLock<Mutex<Vec<Watched>>> = OnceLock::new();

#[derive(Clone)]
struct Watched {
    node: Weak<Inner>,
    /// What the broker said last.
    depth: Arc<Mutex<Vec<(CapabilityName, Depth)>>>,
}

/// From now on nodes are watched. The first meter in a process stays.
pub(super) fn install(meter: &Meter) {
    if NODES.set(Mutex::default()).is_err() {
        return;
    }
    pools(meter, names::RUNNING, |figures| figures.running);
    pools(meter, names::SLOTS, |figures| figures.slots);
    pools(meter, names::WAITING, |figures| figures.waiting);
    pool_counts(meter, names::BUSY, |figures| figures.refused);
    pool_counts(meter, names::PANICS, |figures| figures.panicked);
    depths(meter, names::PENDING, |depth| depth.pending);
    depths(meter, names::IN_PROGRESS, |depth| depth.in_progress);
    counts(meter, names::REFUSED, |node| Some(node.refused()));
    lanes(meter, names::FRAMES, |(frames, _)| frames);
    lanes(meter, names::GAPS, |(_, gaps)| gaps);
    answers(meter, names::CACHE_HITS, |counts| counts.hits);
    answers(meter, names::CACHE_MISSES, |counts| counts.misses);
    answers(meter, names::CACHE_TOKENS, |counts| counts.saved_tokens);
    answers(meter, names::CACHE_COST, |counts| counts.saved_cost_micros);
    let dead = meter.u64_observable_counter(names::DEAD.name).with_unit(names::DEAD.unit);
    let dead = dead.with_description(names::DEAD.about).with_callback(|to| {
        for (reason, kept) in dead_letter::kept().filter(|(_, kept)| *kept > 0) {
            to.observe(kept, &[KeyValue::new(names::REASON, reason.as_str())]);
        }
    });
    dead.build();
}

/// Watches a node that has started, until it is gone.
pub(crate) fn watch(node: &Arc<Inner>) {
    let Some(nodes) = NODES.get() else { return };
    let watched = Watched { node: Arc::downgrade(node), depth: Arc::default() };
    let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
    nodes.retain(|watched| watched.node.strong_count() > 0);
    nodes.push(watched.clone());
    tokio::spawn(follow(watched.clone(), node.events()));
    tokio::spawn(look(watched));
}

/// Counts what happens in the tree of a node. Ends with the tree.
async fn follow(watched: Watched, mut events: TreeEvents) {
    while let Some(event) = events.next().await {
        let Some(node) = watched.node.upgrade() else { return };
        match event.what {
            Happening::Restarting { .. } => meters::restarted(node.name(), &event.path, false),
            Happening::Escalated => meters::restarted(node.name(), &event.path, true),
            _ => {}
        }
    }
}

/// Asks how much is queued, again and again. A broker that does not answer leaves the last word standing.
async fn look(watched: Watched) {
    loop {
        let Some(tasks) = watched.node.upgrade().map(|node| node.tasks()) else { return };
        if let Ok(depth) = tasks.depth().await {
            *watched.depth.lock().unwrap_or_else(PoisonError::into_inner) = depth;
        }
        drop(tasks);
        tokio::time::sleep(LOOK).await;
    }
}

fn watched() -> Vec<(Arc<Inner>, Watched)> {
    let Some(nodes) = NODES.get() else { return Vec::new() };
    let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    nodes.into_iter().filter_map(|watched| Some((watched.node.upgrade()?, watched))).collect()
}

fn each_pool(to: &dyn AsyncInstrument<u64>, read: impl Fn(&Figures) -> u64) {
    for (node, _) in watched() {
        for figures in node.figures() {
            let agent = KeyValue::new(names::AGENT, figures.agent.to_string());
            to.observe(read(&figures), &[KeyValue::new(names::NODE, node.name().to_owned()), agent]);
        }
    }
}

fn pools(meter: &Meter, of: Metric, read: impl Fn(&Figures) -> u64 + Send + Sync + 'static) {
    let gauge = meter.u64_observable_gauge(of.name).with_unit(of.unit).with_description(of.about);
    gauge.with_callback(move |to| each_pool(to, &read)).build();
}

fn pool_counts(meter: &Meter, of: Metric, read: impl Fn(&Figures) -> u64 + Send + Sync + 'static) {
    let counter = meter.u64_observable_counter(of.name).with_unit(of.unit).with_description(of.about);
    counter.with_callback(move |to| each_pool(to, &read)).build();
}

fn depths(meter: &Meter, of: Metric, read: impl Fn(&Depth) -> u64 + Send + Sync + 'static) {
    let gauge = meter.u64_observable_gauge(of.name).with_unit(of.unit).with_description(of.about);
    let observe = move |to: &dyn AsyncInstrument<u64>| {
        for (node, watched) in watched() {
            for (capability, depth) in watched.depth.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let capability = KeyValue::new(names::CAPABILITY, capability.to_string());
                to.observe(read(depth), &[KeyValue::new(names::NODE, node.name().to_owned()), capability]);
            }
        }
    };
    gauge.with_callback(observe).build();
}

fn answers(meter: &Meter, of: Metric, read: impl Fn(&CacheCounts) -> u64 + Send + Sync + 'static) {
    // A node that asks no models has nothing to tell.
    let told = |counts: &CacheCounts| counts.hits + counts.misses > 0;
    counts(meter, of, move |node| node.answers().filter(told).map(|counts| read(&counts)));
}

fn lanes(meter: &Meter, of: Metric, read: impl Fn((u64, u64)) -> u64 + Send + Sync + 'static) {
    counts(meter, of, move |node| node.lanes().map(&read));
}

/// What nodes count that have anything to tell.
fn counts(meter: &Meter, of: Metric, read: impl Fn(&Inner) -> Option<u64> + Send + Sync + 'static) {
    let counter = meter.u64_observable_counter(of.name).with_unit(of.unit).with_description(of.about);
    let observe = move |to: &dyn AsyncInstrument<u64>| {
        for (node, _) in watched() {
            if let Some(count) = read(&node) {
                to.observe(count, &[KeyValue::new(names::NODE, node.name().to_owned())]);
            }
        }
    };
    counter.with_callback(observe).build();
}
