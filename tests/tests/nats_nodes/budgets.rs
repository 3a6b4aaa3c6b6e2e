//! A budget over two processes: never more than it allows, and everything stops when it is used up.

use std::time::{Duration, Instant};

use callboard::{Capability, Context, Node, Result};
use callboard_broker::budget::Budget;
use callboard_broker::code;
use callboard_broker::id::RunId;
use callboard_broker::tasks::{TaskFilter, TaskView};

use callboard_tests::bounds::within;
use callboard_tests::nats::Server;

use super::two::{Two, rounds, shown};

/// What took longer is told task by task.
const LATE: Duration = Duration::from_millis(500);
const FIRST: Capability<u64, u64> = Capability::new("n.a");

async fn tasks(node: &Node, run: &str) -> Vec<TaskView> {
    let of_run = TaskFilter { run: RunId::parse(run).ok(), ..TaskFilter::default() };
    node.broker().tasks.list(of_run).await.unwrap()
}

/// When each task began and ended, in milliseconds after the end of the root.
fn when(all: &[TaskView]) -> String {
    let root = all.iter().find(|view| view.task.parent.is_none()).and_then(|root| root.outcome.as_ref());
    let since = |at: u64| i64::try_from(at).unwrap() - root.map_or(0, |root| i64::try_from(root.finished_at).unwrap());
    let one = |view: &TaskView| {
        let (depth, node) = (view.task.ancestors.len(), view.node.as_ref().map_or("-", |node| node.as_str()));
        let (began, ended) = (view.started_at.map(since), view.outcome.as_ref().map(|of| since(of.finished_at)));
        format!("depth {depth} on {node}: {began:?}..{ended:?} {:?}", view.status)
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// One run; how long it took from its root's failure until nothing of it was at work any more.
async fn stops(node: &Node, limit: usize) -> Duration {
    let tasks_only =
        Budget { tasks: Some(limit as u64), depth: Some(1_000), ping_pong: Some(1_000), ..Budget::default() };
    let run = node.submit(FIRST, 1).budget(tasks_only).await.unwrap();
    let error = run.outcome().await.unwrap_err();
    let began = Instant::now();
    assert_eq!(error.code(), code::EXHAUSTED, "{error}");
    assert!(error.to_string().contains(&format!("{limit} tasks")), "{error}");
    loop {
        let now = tasks(node, run.id()).await;
        assert!(now.len() <= limit + 1, "{} of {limit}", now.len());
        if now.iter().all(|view| view.status.is_final()) {
            let took = began.elapsed();
            if took > LATE {
                println!("late by {took:?}: {}", when(&now));
            }
            return took;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn endless(name: &str, limit: usize, one: &[&str], two: &[&str]) {
    let routes = |routes: &[&str]| routes.iter().map(ToString::to_string).collect::<Vec<_>>();
    let two = Two::start(&routes(one), &routes(two)).await;
    let mut took = Vec::new();
    for _ in 0..rounds(3) {
        took.push(stops(&two.client, limit).await);
    }
    took.sort_unstable();
    println!("{name}: stopped {}", shown(&took));
    // A few rounds beside other tests only show that it stops; many are a measurement.
    let limit = if took.len() < 20 { Duration::from_secs(1) } else { Duration::from_millis(250) };
    within(name, took[took.len() / 2], limit);
    two.client.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_bomb_over_two_processes_never_makes_more_than_its_budget() {
    let both = ["n.a=n.b=2", "n.b=n.a=2"];
    endless("bomb", 20, &both, &both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_itself_over_two_processes_stops_at_its_budget() {
    endless("self", 12, &["n.a=n.a=1"], &["n.a=n.a=1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_pong_of_two_processes_stops_at_its_budget() {
    endless("ping-pong", 12, &["n.a=n.b=1"], &["n.b=n.a=1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_three_over_two_processes_stops_at_its_budget() {
    endless("ring", 12, &["n.a=n.b=1", "n.c=n.a=1"], &["n.b=n.c=1"]).await;
}

/// What goes with an ask from node to node: the budget of its run, and where what the asker knows comes from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_answers_is_spent_from_the_run_that_asks() {
    const ASKS: Capability<u32, Vec<String>> = Capability::new("n.asks");
    const ANSWERS: Capability<u32, Vec<String>> = Capability::new("n.answers");
    async fn asks(ctx: Context, times: u32) -> Result<Vec<String>> {
        ctx.taint("document x/y");
        let mut origins = Vec::new();
        for n in 0..times {
            origins = ctx.ask(ANSWERS, n).await?;
        }
        Ok(origins)
    }
    async fn answers(ctx: Context, _n: u32) -> Result<Vec<String>> {
        ctx.charge(100, 0).await?;
        Ok(ctx.origins())
    }
    let server = Server::start();
    let node = |name: &'static str| Node::on(server.url()).name(name);
    let there = node("there").serve(ANSWERS.by_fn(answers)).start().await.unwrap();
    let here = node("here").serve(ASKS.by_fn(asks)).start().await.unwrap();
    while here.ask(ANSWERS, 0).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tokens = async |tokens| {
        let budget = Budget { tokens: Some(tokens), ..Budget::default() };
        here.submit(ASKS, 4).budget(budget).await.unwrap().outcome().await
    };
    let origins = tokens(400).await.unwrap();
    assert!(
        ["agent n.asks", "document x/y"].iter().all(|origin| origins.iter().any(|one| one == origin)),
        "{origins:?}"
    );
    let error = tokens(300).await.unwrap_err();
    assert!(error.code() == code::EXHAUSTED && error.to_string().contains("300 tokens"), "{error}");
    for node in [here, there] {
        node.shutdown().await.unwrap();
    }
}
