//! A budget over two nodes: never more than it allows, and everything stops when it is used up.

use std::time::{Duration, Instant};

use callboard::{Capability, Context, Failure, Node, Service};
use callboard_broker::budget::Budget;
use callboard_broker::code;
use callboard_broker::id::RunId;
use callboard_broker::tasks::{TaskFilter, TaskView};
use callboard_tests::nats::Server;

const BOMB: Capability<u64, u64> = Capability::new("budget.bomb");
const NEXT: Capability<u64, u64> = Capability::new("budget.next");
const THIRD: Capability<u64, u64> = Capability::new("budget.third");

/// Hands on `wide` times what is new each time, and goes on for ever whatever becomes of it.
fn endless(at: Capability<u64, u64>, to: Capability<u64, u64>, wide: u64) -> Service {
    let service = at.by_fn(move |ctx: Context, n: u64| async move {
        let more = |k: u64| ctx.delegate(to, n.wrapping_mul(wide).wrapping_add(k));
        let (one, two) = (more(1), more(2));
        if wide > 1 {
            let _ignored = tokio::join!(one, two);
        } else {
            let _ignored = one.await;
        }
        std::future::pending::<Result<u64, Failure>>().await
    });
    service.workers(4)
}

async fn tasks(node: &Node, run: &str) -> Vec<TaskView> {
    let of_run = TaskFilter { run: RunId::parse(run).ok(), ..TaskFilter::default() };
    node.broker().tasks.list(of_run).await.unwrap()
}

/// One run; how long it took from its root's failure until nothing of it was at work any more.
async fn stops(node: &Node, limit: usize) -> Duration {
    let tasks_only =
        Budget { tasks: Some(limit as u64), depth: Some(1_000), ping_pong: Some(1_000), ..Budget::default() };
    let run = node.submit(BOMB, 1).budget(tasks_only).await.unwrap();
    let error = run.outcome().await.unwrap_err();
    let began = Instant::now();
    assert_eq!(error.code(), code::EXHAUSTED, "{error}");
    assert!(error.to_string().contains(&format!("{limit} tasks")), "{error}");
    loop {
        let now = tasks(node, run.id()).await;
        assert!(now.len() <= limit + 1, "{} of {limit}", now.len());
        if now.iter().all(|view| view.status.is_final()) {
            return began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rounds(name: &str, rounds: usize, limit: usize, one: Vec<Service>, two: Vec<Service>) {
    let server = Server::start();
    let node = |name: &str, services: Vec<Service>| {
        services.into_iter().fold(Node::on(server.url()).name(name), |node, service| node.serve(service))
    };
    let (one, two) = (node("one", one).start().await.unwrap(), node("two", two).start().await.unwrap());
    let mut took = Vec::new();
    for _ in 0..rounds {
        took.push(stops(&one, limit).await);
    }
    took.sort_unstable();
    println!("{name}: {rounds} runs, stopped in {:?}, at worst {:?}", took[rounds / 2], took[rounds - 1]);
    two.shutdown().await.unwrap();
    one.shutdown().await.unwrap();
}

/// `CALLBOARD_BUDGET_RUNS` makes more of it than what always runs.
fn runs() -> usize {
    std::env::var("CALLBOARD_BUDGET_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_bomb_over_two_nodes_never_makes_more_than_its_budget() {
    let services = || vec![endless(BOMB, NEXT, 2), endless(NEXT, BOMB, 2)];
    rounds("bomb", runs(), 20, services(), services()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_itself_a_ping_pong_and_a_ring_of_three_stop_at_their_budget() {
    let own = || vec![endless(BOMB, BOMB, 1)];
    rounds("self", runs(), 12, own(), own()).await;
    rounds("ping-pong", runs(), 12, vec![endless(BOMB, NEXT, 1)], vec![endless(NEXT, BOMB, 1)]).await;
    let ring = vec![endless(BOMB, NEXT, 1), endless(THIRD, BOMB, 1)];
    rounds("ring", runs(), 12, ring, vec![endless(NEXT, THIRD, 1)]).await;
}
