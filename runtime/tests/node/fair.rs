//! Fair share among runs: one that hands on a lot does not stand before all others with it.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard::broker::budget::Budget;
use callboard::broker::task::Priority;
use callboard::{Capability, Context, Node, Result, Service};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kit::*;

on_every_wing! {
    a_run_with_many_children_lets_another_one_through_by_its_width,
    a_width_is_that_of_each_task_and_of_calls_that_nobody_bounds,
    bulk_leaves_slots_free_for_what_is_more_urgent,
    a_pool_that_grows_has_room_for_more_bulk,
    bulk_that_nobody_takes_fails_though_there_is_no_room_for_bulk,
}

const FAN: Capability<u32, u32> = Capability::new("fair.fan");
const LEAF: Capability<u32, u32> = Capability::new("fair.leaf");

/// Hands on everything at once, without a group.
async fn fan(ctx: Context, leaves: u32) -> Result<u32> {
    let mut all = JoinSet::new();
    for leaf in 0..leaves {
        all.spawn(ctx.delegate(LEAF, leaf).into_future());
    }
    let mut sum = 0;
    while let Some(done) = all.join_next().await {
        sum += done.expect("a call does not panic")?;
    }
    Ok(sum)
}

fn width(width: u32) -> Budget {
    Budget { width: Some(width), ..Budget::default() }
}

/// Leaves that end when they may, and what is known of them.
struct Leaves {
    gate: Semaphore,
    now: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

impl Leaves {
    fn new() -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        Arc::new(Self { gate: Semaphore::new(0), now: zero(), most: zero(), done: zero() })
    }

    /// Waits until so many are at work, and that no more begin.
    async fn at_work(&self, expected: usize) {
        while self.now.load(Ordering::SeqCst) < expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(self.now.load(Ordering::SeqCst), expected);
    }

    fn service(self: &Arc<Self>) -> Service {
        let leaves = self.clone();
        LEAF.by_fn(move |_: Context, _: u32| {
            let leaves = leaves.clone();
            async move {
                let now = leaves.now.fetch_add(1, Ordering::SeqCst) + 1;
                leaves.most.fetch_max(now, Ordering::SeqCst);
                leaves.gate.acquire().await.expect("it stays open").forget();
                leaves.now.fetch_sub(1, Ordering::SeqCst);
                leaves.done.fetch_add(1, Ordering::SeqCst);
                Ok(1)
            }
        })
    }
}

/// How many leaves are queued or at work, once their parent does nothing more.
async fn settled(node: &Node) -> usize {
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let depths = node.broker().tasks.depth().await.unwrap();
        let of_leaves = depths.iter().find(|(name, _)| name.as_str() == LEAF.name());
        let now = of_leaves.map_or(0, |(_, depth)| usize::try_from(depth.pending + depth.in_progress).unwrap());
        if now > 0 && now == before {
            return now;
        }
        before = now;
    }
}

async fn a_run_with_many_children_lets_another_one_through_by_its_width(wing: &Wing) {
    const MANY: u32 = 150;
    let mut passed = Vec::new();
    for (wide, expected) in [(10, 10), (1_000, MANY)] {
        let leaves = Leaves::new();
        let node = wing.node().serve(FAN.by_fn(fan).concurrency(4)).serve(leaves.service()).start().await.unwrap();
        let many = node.submit(FAN, MANY).budget(width(wide)).await.unwrap();
        while settled(&node).await < expected as usize {}
        let few = node.submit(FAN, 2).await.unwrap();
        while settled(&node).await < expected as usize + 2 {}
        leaves.gate.add_permits(1_000);
        assert_eq!(few.outcome().await.unwrap(), 2);
        passed.push(leaves.done.load(Ordering::SeqCst));
        assert_eq!(many.outcome().await.unwrap(), MANY);
        node.shutdown().await.unwrap();
    }
    let [narrow, wide] = passed[..] else { panic!() };
    // Before each of its leaves stand at most those that the other one has queued, and with those that end meanwhile.
    assert!(narrow < 60, "{narrow} of {MANY} went before it");
    assert!(wide >= MANY as usize, "the control: {wide} of {MANY} went before it");
}

async fn a_width_is_that_of_each_task_and_of_calls_that_nobody_bounds(wing: &Wing) {
    for (budget, expected) in [(width(1), 1), (width(7), 7), (width(0), 1), (Budget::default(), 60)] {
        let leaves = Leaves::new();
        let service = leaves.service().concurrency(100);
        let node = wing.node().serve(FAN.by_fn(fan)).serve(service).start().await.unwrap();
        let run = node.submit(FAN, 60).budget(budget).await.unwrap();
        while settled(&node).await < expected {}
        assert_eq!(settled(&node).await, expected);
        leaves.gate.add_permits(1_000);
        assert_eq!(run.outcome().await.unwrap(), 60);
        assert!(leaves.most.load(Ordering::SeqCst) <= expected, "{expected}: {:?}", leaves.most);
        node.shutdown().await.unwrap();
    }
}

async fn bulk_leaves_slots_free_for_what_is_more_urgent(wing: &Wing) {
    let pool = |workers, slots, reserve| (workers, slots, reserve);
    for ((workers, slots, reserve), bulk) in [
        (pool(1, 8, None), 7),
        (pool(5, 1, None), 4),
        (pool(1, 8, Some(3)), 5),
        (pool(1, 8, Some(0)), 8),
        (pool(2, 2, Some(9)), 1),
        (pool(3, 1, None), 3),
    ] {
        let leaves = Leaves::new();
        let service = leaves.service().workers(workers).concurrency(slots);
        let service = reserve.map_or(service.clone(), |reserve| service.reserve(reserve));
        let node = wing.node().serve(service).start().await.unwrap();
        let mut runs = Vec::new();
        for _ in 0..20 {
            runs.push(node.submit(LEAF, 1).priority(Priority::Bulk).await.unwrap());
        }
        leaves.at_work(bulk).await;
        for _ in bulk..workers * slots {
            runs.push(node.submit(LEAF, 1).await.unwrap());
        }
        leaves.at_work(workers * slots).await;
        leaves.gate.add_permits(1_000);
        for run in runs {
            run.outcome().await.unwrap();
        }
        node.shutdown().await.unwrap();
    }
}

async fn a_pool_that_grows_has_room_for_more_bulk(wing: &Wing) {
    let leaves = Leaves::new();
    let node = wing.node().serve(leaves.service()).start().await.unwrap();
    for _ in 0..20 {
        node.submit(LEAF, 1).priority(Priority::Bulk).await.unwrap();
    }
    for (workers, bulk) in [(1, 1), (3, 3), (4, 3), (8, 7)] {
        node.scale(LEAF, workers).await.unwrap();
        leaves.at_work(bulk).await;
    }
    leaves.gate.add_permits(1_000);
    node.shutdown().await.unwrap();
}

/// Declines all odd ones.
struct Even(Arc<Leaves>);

impl callboard::Agent<u32, u32> for Even {
    fn can_handle(&self, task: &callboard::TaskInfo) -> bool {
        task.description.is_none()
    }

    async fn handle(&self, _: Context, n: u32) -> Result<u32> {
        self.0.now.fetch_add(1, Ordering::SeqCst);
        self.0.gate.acquire().await.expect("it stays open").forget();
        Ok(n)
    }
}

async fn bulk_that_nobody_takes_fails_though_there_is_no_room_for_bulk(wing: &Wing) {
    let leaves = Leaves::new();
    let service = LEAF.by(Even(leaves.clone())).concurrency(8);
    let node = wing.node().serve(service).start().await.unwrap();
    let declined = node.submit(LEAF, 1).priority(Priority::Bulk).describe("not for me").await.unwrap();
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(node.submit(LEAF, 2).priority(Priority::Bulk).await.unwrap());
    }
    leaves.at_work(7).await;
    leaves.gate.add_permits(1_000);
    for other in others {
        other.outcome().await.unwrap();
    }
    let error = tokio::time::timeout(Duration::from_secs(10), declined.outcome()).await.expect("soon").unwrap_err();
    assert!(error.to_string().contains("no agent"), "{error}");
    node.shutdown().await.unwrap();
}
