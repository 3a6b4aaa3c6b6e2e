//! Whether urgent work keeps its latency while 10,000 tasks of bulk wait for the same agents: P95 from submission to
//! outcome, with the queue full and with nothing else to do, and their ratio.
//!
//! `cargo run --release -p callboard-tests --bin fair_bench [ROUNDS [WING]]`, default 200 tasks on each side; NATS needs
//! a nats-server (`NATS_SERVER`). Ends with 1 when a ratio is above 1.5, or when nothing of the bulk was done meanwhile.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use callboard::{Capability, Context, Node, NodeBuilder, Result};
use callboard_broker::id::RunId;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Priority, Task};
use callboard_broker::{Broker, memory, sqlite};
use callboard_tests::nats::Server;
use serde_json::json;

const WORK: Capability<u64, u64> = Capability::new("fair.work");
/// How long a task takes, and how many of them are at work at once.
const TAKES: Duration = Duration::from_millis(40);
const SLOTS: usize = 8;
const BULK: usize = 10_000;
/// How many of them are submitted at a time.
const BATCH: usize = 250;
/// The highest ratio that is good enough.
const RATIO: f64 = 1.5;

#[tokio::main]
async fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    let only = std::env::args().nth(2).unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let mut fair = true;
    println!("{:<8} {:>12} {:>12} {:>8} {:>12}", "", "P95 idle", "P95 loaded", "ratio", "bulk done");
    for wing in ["memory", "sqlite", "nats"].into_iter().filter(|wing| wing.contains(&only)) {
        let (server, node) = match wing {
            "memory" => (None, Node::over(memory::open(memory::Options::default()))),
            "sqlite" => {
                (None, Node::over(sqlite::open(folder.path().join("store"), sqlite::Options::default()).unwrap()))
            }
            _ => {
                let server = Server::start();
                let node = Node::on(server.url());
                (Some(server), node)
            }
        };
        fair &= measured(wing, node, rounds).await;
        drop(server);
    }
    if fair { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn work(_: Context, n: u64) -> Result<u64> {
    tokio::time::sleep(TAKES).await;
    Ok(n)
}

async fn measured(wing: &str, node: NodeBuilder, rounds: u64) -> bool {
    let node = node.name("bench").serve(WORK.by_fn(work).concurrency(SLOTS)).start().await.unwrap();
    let idle = p95(&node, rounds).await;
    submit_bulk(node.broker()).await;
    let before = pending(node.broker()).await;
    let loaded = p95(&node, rounds).await;
    let left = pending(node.broker()).await;
    let (ratio, done) = (loaded.as_secs_f64() / idle.as_secs_f64(), before - left);
    println!("{wing:<8} {idle:>12.1?} {loaded:>12.1?} {ratio:>8.2} {done:>12}");
    assert!(left > 0, "the queue has run empty, so this has measured nothing");
    ratio <= RATIO && done > 0
}

/// One urgent task after another.
async fn p95(node: &Node, rounds: u64) -> Duration {
    let mut took = Vec::new();
    for n in 0..rounds {
        let began = Instant::now();
        let run = node.submit(WORK, n).priority(Priority::High).await.unwrap();
        assert_eq!(run.outcome().await.unwrap(), n);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 95 / 100]
}

async fn submit_bulk(broker: &Broker) {
    let capability = CapabilityName::parse("fair.work").unwrap();
    let task = || {
        let task = Task::root(RunId::fresh(), capability.clone(), json!(1).into(), broker.clock.now());
        Task { priority: Priority::Bulk, ..task }
    };
    for _ in 0..BULK / BATCH {
        for submitted in broker.tasks.submit((0..BATCH).map(|_| task()).collect()).await {
            submitted.unwrap();
        }
    }
}

async fn pending(broker: &Broker) -> u64 {
    broker.tasks.depth().await.unwrap().iter().map(|(_, depth)| depth.pending).sum()
}
