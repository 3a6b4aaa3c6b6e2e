//! Everything at once on many threads in real time: trees of tasks, asks, askers that give up, cancels, cells that are
//! killed all the while. What counts is what holds in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard::broker::events::EventFilter;
use callboard::{Context, Error, Failure, Node, Result, Service, Supervisor};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::kit::*;

/// How long a run, and the end of all work, may take on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let began = Instant::now();
    while began.elapsed() < PATIENCE / 2 {
        if ctx.ask(WAIT, 1).deadline(Duration::from_secs(5)).await.is_ok() {
            return Ok(own + below);
        }
        // When too many asks in a row met their end with a cell, the circuit is open for a while.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(Failure::transient("no cell lives long enough"))
}

#[derive(Debug, Default)]
struct Seen {
    done: u32,
    cancelled: u32,
    failed: u32,
}

/// Submits so many trees, one after the other; some it cancels, and beside each it asks, and sometimes does not wait.
async fn client(node: Node, dice: Dice, who: usize, runs: u32) -> Seen {
    let mut seen = Seen::default();
    for n in 0..runs {
        let run = node.submit(COUNT, 2).run(&format!("t{who}-{n}")).retry(40).await.unwrap();
        let limit = Duration::from_millis(dice.roll(6));
        let _ = tokio::time::timeout(limit, node.ask(WAIT, 2).into_future()).await;
        if dice.roll(4) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
            run.cancel("the storm").await.unwrap();
        }
        match tokio::time::timeout(PATIENCE, run.outcome()).await.expect("no task hangs") {
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

/// What kills the cells of one pool.
struct Killer {
    pool: &'static str,
    /// How many handlers come to their end between two kills, at least.
    least: u32,
    /// A permit for each handler that has come to its end.
    ends: Arc<Semaphore>,
    kills: AtomicU64,
}

impl Killer {
    fn of(pool: &'static str, least: u32) -> Arc<Killer> {
        Arc::new(Killer { pool, least, ends: Arc::new(Semaphore::new(0)), kills: AtomicU64::new(0) })
    }

    /// Kills a cell whenever a few handlers have come to their end. By the clock, a slow machine would see more kills for
    /// the same work, until nothing lives long enough to be done.
    async fn kill(self: Arc<Self>, node: Node, dice: Dice) {
        loop {
            let work = self.least + dice.roll(5) as u32;
            self.ends.acquire_many(work).await.unwrap().forget();
            // It may be down already.
            if node.kill(&format!("n/agents/all/{}/#{}", self.pool, 1 + dice.roll(3))).is_ok() {
                self.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Both agents, whose killers are told of each handler that comes to its end.
fn agents(waits: &Arc<Killer>, counts: &Arc<Killer>) -> [Service; 2] {
    let (waits, counts) = (waits.ends.clone(), counts.ends.clone());
    let waiting = WAIT.by_fn(move |ctx: Context, ms: u64| {
        let ends = waits.clone();
        async move { wait(ctx, ms).await.inspect(|_| ends.add_permits(1)) }
    });
    let counting = COUNT.by_fn(move |ctx: Context, depth: u32| {
        let ends = counts.clone();
        async move { tree(ctx, depth).await.inspect(|_| ends.add_permits(1)) }
    });
    [waiting, counting].map(|service| service.workers(3).concurrency(4))
}

async fn storm(wing: &Wing, seed: u64, runs: u32) {
    let dice = Dice(Arc::new(AtomicU64::new(seed)));
    // Asks that meet their end with a cell are failures, and too many in a row are what a breaker opens for.
    let killers = [Killer::of("test.wait", 5), Killer::of("test.count", 1)];
    let often = (10_000, Duration::from_secs(1));
    let [waiting, counting] = agents(&killers[0], &killers[1]);
    let all = Supervisor::new("all")
        .intensity(often.0, often.1)
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .child(waiting)
        .child(counting);
    let node = wing.live().intensity(often.0, often.1).serve(all).start().await.unwrap();
    let killing = killers.clone().map(|killer| tokio::spawn(killer.kill(node.clone(), dice.clone())));
    let clients: Vec<_> = (0..6).map(|who| tokio::spawn(client(node.clone(), dice.clone(), who, runs))).collect();
    let mut seen = Seen::default();
    for client in clients {
        let its = client.await.unwrap();
        seen = Seen {
            done: seen.done + its.done,
            cancelled: seen.cancelled + its.cancelled,
            failed: seen.failed + its.failed,
        };
    }
    killing.iter().for_each(JoinHandle::abort);
    let idle = async {
        while node.metrics().running > 0 || node.control("info", callboard::Value::Null).await.unwrap()["claims"] != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("nothing is left at work");
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
    let kills = killers.map(|killer| killer.kills.load(Ordering::Relaxed));
    eprintln!("seed {seed}: {seen:?}, {} tasks, {kills:?} kills", outcomes.len());
    assert!(seen.done > 5 && seen.failed == 0, "seed {seed}: {seen:?}");
    assert_eq!(seen.done + seen.cancelled, 6 * runs);
    assert!(kills.iter().all(|kills| *kills > u64::from(runs)), "it was no storm: {kills:?} kills");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_over_memory_leaves_every_task_with_one_outcome() {
    storm(&Wing::memory(), 11, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_over_sqlite_leaves_every_task_with_one_outcome() {
    storm(&Wing::sqlite(), 12, 5).await;
}
