//! Cycles that go over two nodes: the edge that would close one is refused where it starts, before anything is sent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callboard::{Capability, Context, Failure, Node, Service, Value};
use callboard_broker::code;
use callboard_broker::error::Error;
use callboard_broker::tasks::TaskFilter;
use callboard_tests::nats::Server;

/// How long refusals took, at whoever wanted to call.
type Took = Arc<Mutex<Vec<Duration>>>;

/// Hands its input on unchanged.
fn hand_on(name: &str, to: &str, asks: bool, took: &Took) -> Service {
    let (to, took) = (Capability::named(to).unwrap(), took.clone());
    Capability::named(name).unwrap().by_fn(move |ctx: Context, n: Value| {
        let took = took.clone();
        async move {
            let began = Instant::now();
            let answer = if asks { ctx.ask(to, n).await } else { ctx.delegate(to, n).await };
            if matches!(answer, Err(Error::Loop { .. })) {
                took.lock().unwrap().push(began.elapsed());
            }
            Ok::<Value, Failure>(answer?)
        }
    })
}

/// A ring of capabilities that lie on two nodes in turn; what each round of it ends with.
async fn ring(server: &Server, prefix: &str, size: usize, asks: bool) {
    let took = Took::default();
    let name = |n: usize| format!("{prefix}.n{}", n % size);
    let (mut one, mut two) = (Node::on(server.url()).name("one"), Node::on(server.url()).name("two"));
    for n in 0..size {
        let service = hand_on(&name(n), &name(n + 1), asks, &took);
        if n % 2 == 0 { one = one.serve(service) } else { two = two.serve(service) }
    }
    let (one, two) = (one.start().await.unwrap(), two.start().await.unwrap());
    let first = Capability::named(&name(0)).unwrap();
    let way: Vec<String> = (0..=size).map(name).collect();
    for round in 0..9 {
        let round = Value::from(round);
        let ended =
            if asks { one.ask(first, round).await } else { one.submit(first, round).await.unwrap().outcome().await };
        let error = ended.unwrap_err();
        assert_eq!(error.code(), code::LOOP, "{error}");
        assert!(error.to_string().contains(&way.join(" -> ")), "{error}");
    }
    if !asks {
        let tasks = one.broker().tasks.list(TaskFilter::default()).await.unwrap();
        assert_eq!(tasks.len(), 9 * size, "none was made that closes the ring");
    }
    let mut took = took.lock().unwrap().clone();
    took.sort_unstable();
    assert_eq!(took.len(), 9);
    println!("{prefix}: refused in {:?}, at worst {:?}", took[4], took[8]);
    assert!(took[4] < Duration::from_millis(100), "{took:?}");
    two.shutdown().await.unwrap();
    one.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_of_asks_over_two_nodes_are_refused_at_once_with_the_way_around() {
    let server = Server::start();
    ring(&server, "ask2", 2, true).await;
    ring(&server, "ask5", 5, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_of_two_delegations_over_two_nodes_are_refused_at_once_with_the_way_around() {
    ring(&Server::start(), "task2", 2, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_of_five_delegations_over_two_nodes_are_refused_at_once_with_the_way_around() {
    ring(&Server::start(), "task5", 5, false).await;
}
