//! Everything at once on many threads in real time: trees of tasks, asks, askers that give up, cancels, cells that are
//! killed all the while. What counts is what holds in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard::broker::events::EventFilter;
use callboard::{Context, Error, Failure, Node, Result, Supervisor};
use tokio::time::Instant;

use crate::kit::*;

/// How long the storm lasts.
const STORM: Duration = Duration::from_millis(1_500);

/// Scattered numbers, the same for the same seed as far as threads allow.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31) % sides
    }
}

async fn tree(ctx: Context, depth: u32) -> Result<u32> {
    let own: u32 = ctx.step("own", async || Ok(1)).await?;
    if depth == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        return Ok(own);
    }
    let mut children = ctx.group();
    for n in 0..3 {
        children.add(ctx.delegate(COUNT, depth - 1).key(n.to_string()));
    }
    let below: u32 = children.await?.into_iter().sum();
    for _ in 0..20 {
        if ctx.ask(WAIT, 1).deadline(Duration::from_secs(5)).await.is_ok() {
            return Ok(own + below);
        }
    }
    Err(Failure::transient("no cell lives long enough"))
}

#[derive(Debug, Default)]
struct Seen {
    done: u32,
    cancelled: u32,
    failed: u32,
}

/// Submits one tree after the other; some it cancels, and beside each it asks, and sometimes does not wait.
async fn client(node: Node, dice: Dice, who: usize) -> Seen {
    let (began, mut seen) = (Instant::now(), Seen::default());
    for n in 0.. {
        if began.elapsed() > STORM {
            break;
        }
        let run = node.submit(COUNT, 2).run(&format!("t{who}-{n}")).retry(40).await.unwrap();
        let limit = Duration::from_millis(dice.roll(6));
        let _ = tokio::time::timeout(limit, node.ask(WAIT, 2).into_future()).await;
        if dice.roll(4) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
            run.cancel("the storm").await.unwrap();
        }
        match tokio::time::timeout(Duration::from_secs(30), run.outcome()).await.expect("no task hangs") {
            Ok(sum) => {
                assert_eq!(sum, 13);
                seen.done += 1;
            }
            Err(Error::Cancelled { .. }) => seen.cancelled += 1,
            Err(_) => seen.failed += 1,
        }
    }
    seen
}

/// Kills a cell every few milliseconds.
async fn killer(node: Node, dice: Dice) {
    loop {
        tokio::time::sleep(Duration::from_millis(5 + dice.roll(30))).await;
        let pool = ["test.count", "test.wait"][dice.roll(2) as usize];
        // It may be down already.
        let _ = node.kill(&format!("n/agents/all/{pool}/#{}", 1 + dice.roll(3)));
    }
}

async fn storm(wing: &Wing, seed: u64) {
    let dice = Dice(Arc::new(AtomicU64::new(seed)));
    let often = (10_000, Duration::from_secs(1));
    let all = Supervisor::new("all")
        .intensity(often.0, often.1)
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .child(WAIT.by_fn(wait).workers(3).concurrency(4))
        .child(COUNT.by_fn(tree).workers(3).concurrency(4));
    let node = wing.live().intensity(often.0, often.1).serve(all).start().await.unwrap();
    let kills = tokio::spawn(killer(node.clone(), dice.clone()));
    let clients: Vec<_> = (0..6).map(|who| tokio::spawn(client(node.clone(), dice.clone(), who))).collect();
    let mut seen = Seen::default();
    for client in clients {
        let its = client.await.unwrap();
        seen = Seen {
            done: seen.done + its.done,
            cancelled: seen.cancelled + its.cancelled,
            failed: seen.failed + its.failed,
        };
    }
    kills.abort();
    let idle = async {
        while node.metrics().running > 0 || node.control("info", callboard::Value::Null).await.unwrap()["claims"] != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), idle).await.expect("nothing is left at work");
    assert!(statuses(&node).await.iter().all(|status| status.is_final()));
    let ends = ["completed", "failed", "cancelled", "expired", "skipped"].map(|end| format!("task.{end}"));
    let filter = EventFilter { types: ends.to_vec(), run: None };
    let mut outcomes: HashMap<_, u32> = HashMap::new();
    let mut from = 1;
    loop {
        let page = node.broker().events.read(filter.clone(), from, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.seq + 1;
        page.into_iter().for_each(|event| *outcomes.entry(event.task.unwrap()).or_default() += 1);
    }
    assert!(outcomes.values().all(|times| *times == 1), "an outcome was recorded twice");
    assert!(seen.done > 5 && seen.failed == 0, "seed {seed}: {seen:?}");
    eprintln!("seed {seed}: {seen:?}, {} tasks", outcomes.len());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_over_memory_leaves_every_task_with_one_outcome() {
    storm(&Wing::memory(), 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_over_sqlite_leaves_every_task_with_one_outcome() {
    storm(&Wing::sqlite(), 12).await;
}
