//! Cycles that go over two processes: the edge that would close one is refused where it starts, before anything is sent.
//! And what only looks like one is let through.

use std::time::Duration;

use callboard::diag::{Mode, RELAY, Relay};
use callboard::{Capability, Value};
use callboard_broker::code;
use callboard_broker::tasks::TaskFilter;
use callboard_tests::bounds::within;
use callboard_tests::random::Random;

use super::two::{Two, rounds, shown};

/// Flows that come to an end, however deep they are.
const FLOWS: u64 = 50;

/// A ring of capabilities that lie on two nodes in turn; what each round of it ends with.
async fn ring(size: usize, how: &str) {
    let name = |n: usize| format!("{how}.n{}", n % size);
    let route = |n: usize| format!("{}={}={how}", name(n), name(n + 1));
    let routes = |of: usize| (of..size).step_by(2).map(route).collect::<Vec<_>>();
    let two = Two::start(&routes(0), &routes(1)).await;
    let first = Capability::<u64, u64>::new(name(0).leak());
    let way: Vec<String> = (0..=size).map(name).collect();
    let rounds = rounds(9);
    for round in 0..rounds as u64 {
        let ended = match how {
            "ask" => two.client.ask(first, round).await,
            _ => two.client.submit(first, round).await.unwrap().outcome().await,
        };
        let error = ended.unwrap_err();
        assert_eq!(error.code(), code::LOOP, "{error}");
        assert!(error.to_string().contains(&way.join(" -> ")), "{error}");
    }
    if how == "delegate" {
        let tasks = two.client.broker().tasks.list(TaskFilter::default()).await.unwrap();
        assert_eq!(tasks.len(), rounds * size, "none was made that closes the ring");
    }
    let took = two.refusals();
    println!("ring of {size} by {how}: refused {}", shown(&took));
    assert_eq!(took.len(), rounds);
    within(how, took[rounds / 2], Duration::from_millis(100));
    two.client.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_of_asks_over_two_processes_are_refused_at_once_with_the_way_around() {
    ring(2, "ask").await;
    ring(5, "ask").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_of_delegations_over_two_processes_are_refused_at_once_with_the_way_around() {
    ring(2, "delegate").await;
    ring(5, "delegate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_deep_flows_that_come_to_an_end_are_all_let_through() {
    let two = Two::start(&[], &[]).await;
    let mut random = Random::from_env("CALLBOARD_FLOWS_SEED", 1);
    let mut flows = tokio::task::JoinSet::new();
    for flow in 0..FLOWS {
        let depth = 5 + random.below(27) as usize;
        // Half of them is done twice beside one another, which is no loop either.
        let input = Value::from(flow / 2);
        let mode = if flow % 3 == 0 { Mode::Ask } else { Mode::Delegate };
        let relay = Relay { path: vec![RELAY.name().to_owned(); depth], input: Value::Null, mode };
        let (client, asks) = (two.client.clone(), mode == Mode::Ask);
        flows.spawn(async move {
            // The last of the path gets the input, which is a relay's again: there it ends.
            let last = Relay { path: Vec::new(), input: input.clone(), mode: Mode::Delegate };
            let relay = Relay { input: serde_json::to_value(last).unwrap(), ..relay };
            let ended = match asks {
                true => client.ask(RELAY, relay).await,
                false => client.submit(RELAY, relay).await.unwrap().outcome().await,
            };
            (depth, ended.map(|answer| answer == input))
        });
    }
    let mut deepest = 0;
    while let Some(done) = flows.join_next().await {
        let (depth, ended) = done.unwrap();
        assert!(ended.as_ref().is_ok_and(|same| *same), "a flow {depth} deep: {ended:?}");
        deepest = deepest.max(depth);
    }
    println!("{FLOWS} flows up to {deepest} deep, no false alarm");
    two.client.shutdown().await.unwrap();
}
