//! What a task costs on the embedded wings: submit, claim and finish with all their events, in microseconds.
//!
//! `cargo run --release -p callboard-tests --bin embedded_bench [ROUNDS [WING]]`, default 5 rounds, medians.

use std::time::{Duration, Instant};

use callboard_broker::clock::Clock;
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::sqlite::{self, Sync};
use callboard_broker::state::{Expect, Key, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Child, Claim, Fence, Finish, Lease, Until};
use callboard_broker::{Broker, memory};
use serde_json::json;
use tokio::task::JoinSet;

const FANS: u32 = 20;
const WIDE: usize = 100;
const CALLERS: usize = 64;
const EACH: usize = 30;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:<24} {:>12} {:>12} {:>12} {:>12}", "us", "fan-out 100", "64 callers", "one alone", "64 CAS");
    let only = std::env::args().nth(2).unwrap_or_default();
    for wing in ["memory", "sqlite never synced", "sqlite edges synced", "sqlite always synced"] {
        if !wing.contains(&only) {
            continue;
        }
        let mut runs: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let folder = tempfile::tempdir().unwrap();
            let broker = runtime.block_on(async { open(wing, folder.path()) });
            runs[0].push(runtime.block_on(fan_out(broker.clone())));
            runs[1].push(runtime.block_on(callers(broker.clone())));
            runs[2].push(runtime.block_on(alone(broker.clone())));
            runs[3].push(runtime.block_on(counting(broker)));
        }
        let medians = runs.map(|mut run| {
            run.sort_by(f64::total_cmp);
            run[run.len() / 2]
        });
        println!("{wing:<24} {:>12.1} {:>12.1} {:>12.1} {:>12.1}", medians[0], medians[1], medians[2], medians[3]);
    }
}

fn open(wing: &str, folder: &std::path::Path) -> Broker {
    let sync = match wing {
        "memory" => return memory::open(memory::Options::default()),
        "sqlite never synced" => Sync::Never,
        "sqlite always synced" => Sync::Always,
        _ => Sync::Edges,
    };
    sqlite::open(folder.join("store.db"), sqlite::Options { sync, ..Default::default() }).unwrap()
}

fn task(run: &RunId, capability: &str) -> Task {
    let capability = CapabilityName::parse(capability).unwrap();
    let input = json!({ "text": "x".repeat(470) });
    Task::root(run.clone(), capability, input.into(), Clock::system().now())
}

fn claim(capability: &str, slots: usize) -> Claim {
    let (capability, node) = (CapabilityName::parse(capability).unwrap(), NodeName::parse("bench").unwrap());
    Claim { capability, slots, bulk: slots, node, wait: Duration::from_secs(30), declined: Vec::new(), serving: None }
}

fn done(lease: &Lease, fence: Fence) -> Finish {
    let outcome = Outcome::of(&lease.task, Status::Completed, None, Clock::system().now());
    Finish {
        fence,
        entries: Vec::new(),
        outcome: Outcome { output: json!({ "count": 470 }).into(), ..outcome },
        dead: None,
    }
}

/// A parent delegates 100 children to 10 workers and waits for them: time per child.
async fn fan_out(broker: Broker) -> f64 {
    let workers: JoinSet<()> = (0..10).map(|_| work(broker.clone(), FANS as usize * WIDE / 10)).collect();
    let began = Instant::now();
    for _ in 0..FANS {
        let run = RunId::fresh();
        broker.tasks.submit(vec![task(&run, "parent")]).await.remove(0).unwrap();
        let lease = broker.tasks.claim(claim("parent", 1)).await.unwrap().remove(0);
        let now = Clock::system().now();
        let child = |n: usize| {
            let body = task(&run, "child");
            lease.task.child(&n.to_string(), body.capability, body.input, now)
        };
        let children: Vec<Task> = (0..WIDE).map(child).collect();
        let ids = children.iter().map(|child| child.id.clone()).collect();
        let queued = children.into_iter().map(|child| Child::Queued(Box::new(child))).collect();
        let fence = broker.tasks.append(lease.fence.clone(), Vec::new(), queued).await.unwrap();
        let ended = broker.tasks.wait(ids, Until::All, Duration::from_secs(60)).await.unwrap();
        assert_eq!(ended.len(), WIDE);
        broker.tasks.finish(vec![done(&lease, fence)]).await.remove(0).unwrap();
    }
    let took = began.elapsed();
    workers.join_all().await;
    took.as_secs_f64() * 1e6 / f64::from(FANS) / WIDE as f64
}

/// Claims up to 10 at a time and finishes them one by one.
async fn work(broker: Broker, count: usize) {
    let mut left = count;
    while left > 0 {
        let leases = broker.tasks.claim(claim("child", left.min(10))).await.unwrap();
        left -= leases.len();
        let turns = leases.iter().map(|lease| done(lease, lease.fence.clone())).collect();
        for recorded in broker.tasks.finish(turns).await {
            recorded.unwrap();
        }
    }
}

/// 64 callers, each submitting a root task, claiming one and finishing it, over and over: time per task.
async fn callers(broker: Broker) -> f64 {
    let began = Instant::now();
    let all: JoinSet<()> = (0..CALLERS)
        .map(|_| {
            let broker = broker.clone();
            async move {
                for _ in 0..EACH {
                    cycle(&broker).await;
                }
            }
        })
        .collect();
    all.join_all().await;
    began.elapsed().as_secs_f64() * 1e6 / (CALLERS * EACH) as f64
}

/// The same by one caller.
async fn alone(broker: Broker) -> f64 {
    let began = Instant::now();
    for _ in 0..200 {
        cycle(&broker).await;
    }
    began.elapsed().as_secs_f64() * 1e6 / 200.0
}

async fn cycle(broker: &Broker) {
    broker.tasks.submit(vec![task(&RunId::fresh(), "root")]).await.remove(0).unwrap();
    let lease = broker.tasks.claim(claim("root", 1)).await.unwrap().remove(0);
    broker.tasks.finish(vec![done(&lease, lease.fence.clone())]).await.remove(0).unwrap();
}

/// 64 callers that write a key of their own, over and over: time per write.
async fn counting(broker: Broker) -> f64 {
    let began = Instant::now();
    let all: JoinSet<()> = (0..CALLERS)
        .map(|caller| {
            let (broker, key) = (broker.clone(), Key::parse(&format!("global.k{caller}")).unwrap());
            async move {
                let mut expect = Expect::Version(0);
                for n in 0..EACH {
                    let value = Some(json!({ "n": n }).into());
                    let write = Write { key: key.clone(), expect, value, by: "bench".into(), task: None };
                    let put = broker.states.put(vec![write]).await.remove(0).unwrap();
                    expect = Expect::Version(put.into_version(&key, expect).unwrap());
                }
            }
        })
        .collect();
    all.join_all().await;
    began.elapsed().as_secs_f64() * 1e6 / (CALLERS * EACH) as f64
}
