//! Runs that are cancelled at random moments: it reaches all of them within a second, and nothing of them records a
//! success afterwards.
//!
//! The judge reads what the store has recorded, once when the cancel was acknowledged and once when all is quiet.
//! `CALLBOARD_CANCELS_SEED` repeats the moments, `CALLBOARD_ROUNDS` makes more of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use callboard::{Capability, Context, Node, NodeBuilder, Result};
use callboard_broker::event::{TASK_CANCELLED, TASK_COMPLETED};
use callboard_broker::events::EventFilter;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::task::Status;
use callboard_broker::tasks::{TaskFilter, TaskView};
use callboard_broker::{memory, sqlite};
use callboard_tests::bounds::within;
use callboard_tests::random::Random;
use serde_json::json;

const TREE: Capability<u64, u64> = Capability::new("cancel.tree");
const LEAF: Capability<u64, u64> = Capability::new("cancel.leaf");
/// Levels of a tree; each has this many leaves.
const LEVELS: u64 = 3;
const LEAVES: u64 = 4;

/// Leaves at work beside one another, and beside the next level.
async fn tree(ctx: Context, n: u64) -> Result<u64> {
    let (level, seed) = (n / 1_000_000, n % 1_000_000);
    let mut group = ctx.delegate_all(LEAF, (0..LEAVES).map(|k| n * 10 + k));
    if level > 0 {
        group.add(ctx.delegate(TREE, (level - 1) * 1_000_000 + seed));
    }
    Ok(group.await?.iter().sum())
}

/// Two steps of a few milliseconds.
async fn leaf(ctx: Context, n: u64) -> Result<u64> {
    let mut random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for step in ["one", "two"] {
        let ms = random % 9;
        random >>= 7;
        ctx.step(step, async || {
            tokio::time::sleep(Duration::from_millis(1 + ms)).await;
            Ok(ms)
        })
        .await?;
    }
    Ok(1)
}

async fn started(node: NodeBuilder) -> Node {
    node.serve(TREE.by_fn(tree).concurrency(8)).serve(LEAF.by_fn(leaf).concurrency(8)).start().await.unwrap()
}

async fn views(node: &Node, run: &str) -> Vec<TaskView> {
    let of_run = TaskFilter { run: RunId::parse(run).ok(), ..TaskFilter::default() };
    node.broker().tasks.list(of_run).await.unwrap()
}

fn completed(views: &[TaskView]) -> BTreeSet<TaskId> {
    views.iter().filter(|view| view.status == Status::Completed).map(|view| view.task.id.clone()).collect()
}

/// The successes that came after the end of the run was acknowledged.
fn late(before: &[TaskView], after: &[TaskView]) -> Vec<TaskId> {
    let before = completed(before);
    completed(after).into_iter().filter(|task| !before.contains(task)).collect()
}

/// The successes that were recorded after that the root was cancelled.
async fn recorded_late(node: &Node, run: &str) -> usize {
    let of_run = EventFilter { run: RunId::parse(run).ok(), types: vec!["task".into()] };
    let events = node.broker().events.read(of_run, 1, 1_000).await.unwrap();
    let root =
        events.iter().position(|e| e.kind == TASK_CANCELLED && e.task.as_ref().is_some_and(|t| t.as_str() == run));
    let after = root.map_or(&[][..], |root| &events[root..]);
    after.iter().filter(|event| event.kind == TASK_COMPLETED).count()
}

/// Until nobody works on a run any more.
async fn quiet(node: &Node, run: &str) -> Vec<TaskView> {
    let began = Instant::now();
    loop {
        let views = views(node, run).await;
        if views.iter().all(|view| view.status.is_final()) {
            return views;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{run} does not come to an end");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Until each node says that it has stopped what was cancelled. A node answers within a second, with what goes on.
async fn until_stopped(nodes: &[Node], tasks: &[TaskId]) {
    let began = Instant::now();
    for node in nodes {
        while node.control("stopped", json!({ "tasks": tasks })).await.unwrap()["zombies"] != json!([]) {
            assert!(began.elapsed() < Duration::from_secs(30), "{} does not stop", node.name());
        }
    }
}

/// How long a run takes that is left alone, in microseconds: the least of a few, because the moments of the cancels are
/// taken from it.
async fn usual(node: &Node) -> u64 {
    let mut least = Duration::MAX;
    for _ in 0..4 {
        let began = Instant::now();
        let whole = node.submit(TREE, LEVELS * 1_000_000).await.unwrap();
        assert_eq!(whole.outcome().await.unwrap(), LEAVES * (LEVELS + 1), "left alone it completes");
        least = least.min(began.elapsed());
    }
    u64::try_from(least.as_micros()).unwrap()
}

/// Cancels at random moments; returns how many were recorded in between on the way from the root to the leaves.
async fn cancels(name: &str, nodes: &[Node], always: usize) -> usize {
    let rounds = std::env::var("CALLBOARD_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(always);
    let mut random = Random::from_env("CALLBOARD_CANCELS_SEED", 1);
    let node = &nodes[0];
    let usual = usual(node).await;
    let (mut took, mut hit, mut between) = (Vec::new(), 0, 0);
    for round in 1..=rounds as u64 {
        let run = node.submit(TREE, LEVELS * 1_000_000 + round).await.unwrap();
        tokio::time::sleep(Duration::from_micros(random.below(usual / 2))).await;
        let began = Instant::now();
        let cancelled = node.broker().tasks.cancel(TaskId::root(&RunId::parse(run.id()).unwrap()), "test".into()).await;
        let cancelled = cancelled.unwrap();
        let before = views(node, run.id()).await;
        until_stopped(nodes, &cancelled).await;
        took.push(began.elapsed());
        let after = quiet(node, run.id()).await;
        assert_eq!(late(&before, &after), [], "round {round}");
        if cancelled.first().is_some_and(|first| first.as_str() == run.id()) {
            hit += 1;
            assert!(matches!(run.outcome().await, Err(callboard::Error::Cancelled { .. })));
            between += recorded_late(node, run.id()).await;
        }
    }
    took.sort_unstable();
    let (median, worst) = (took[rounds / 2], took[rounds - 1]);
    println!(
        "{name}: {hit} of {rounds} runs were cancelled, {between} successes on the way down; all had stopped after {median:?}, at worst {worst:?}"
    );
    assert!(hit * 3 > rounds, "too few cancels came before the end: {hit} of {rounds}");
    within("until all had stopped, at worst", worst, Duration::from_secs(1));
    between
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_nothing_is_recorded_as_done_after_a_cancel() {
    let node = started(Node::over(memory::open(memory::Options::default())).name("one")).await;
    assert_eq!(cancels("memory", &[node], 100).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite_nothing_is_recorded_as_done_after_a_cancel() {
    let folder = tempfile::tempdir().unwrap();
    let broker = sqlite::open(folder.path().join("store"), sqlite::Options::default()).unwrap();
    let node = started(Node::over(broker).name("one")).await;
    assert_eq!(cancels("sqlite", &[node], 100).await, 0);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_two_nodes_on_nats_nothing_is_recorded_as_done_after_a_cancel() {
    let server = callboard_tests::nats::Server::start();
    let (one, two) = (Node::on(server.url()).name("one"), Node::on(server.url()).name("two"));
    let nodes = [started(one).await, started(two).await];
    cancels("nats", &nodes, 20).await;
}

/// Without a cancel the same judge finds successes after the moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_finds_a_cancel_that_cancels_nothing() {
    let node = started(Node::over(memory::open(memory::Options::default())).name("one")).await;
    let mut found = 0;
    for round in 0..5 {
        let run = node.submit(TREE, LEVELS * 1_000_000 + round).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let before = views(&node, run.id()).await;
        found += late(&before, &quiet(&node, run.id()).await).len();
    }
    assert!(found > 0);
}
