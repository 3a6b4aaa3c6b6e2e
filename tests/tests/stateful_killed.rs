//! The process in which a state is awake is killed, or frozen until others have taken its place: the state goes on
//! elsewhere as it was stored, and what the old one still writes does not count.
#![cfg(unix)]

use std::process::Command;
use std::time::Duration;

use callboard::{Node, NodeBuilder};
use callboard_broker::Broker;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::state::Key;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use callboard_tests::process::place::join;
use callboard_tests::process::till::{PAY, Payment, till};
use serde_json::{Value, json};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

fn child(place: &str) -> Child {
    Child::start(Command::new(env!("CARGO_BIN_EXE_till_node")).args([place, "one"]))
}

fn paid(ms: u64) -> Payment {
    Payment { customer: "ann".into(), cents: 5, ms }
}

fn quiet(_: &str) {}

async fn entry(broker: &Broker) -> Value {
    let key = Key::parse("global.agents.till.pay._of.ann").unwrap();
    broker.states.get(vec![key]).await.unwrap().remove(0).unwrap().value.value().unwrap()
}

/// What the next payment makes of it.
async fn pay(node: &Node) -> u64 {
    timeout(LONG, node.submit(PAY, paid(0)).await.unwrap().outcome()).await.expect("in time").unwrap()
}

async fn attempts(broker: &Broker, run: &str) -> u32 {
    broker.tasks.get(vec![TaskId::parse(run).unwrap()]).await.unwrap().remove(0).unwrap().attempt
}

/// `at(name)` is a node over the same place.
async fn killed(place: &str, at: impl Fn(&str) -> NodeBuilder) {
    let run = RunId::fresh();
    {
        let broker = join(place, "asker").await.unwrap();
        let (pay, input) = (CapabilityName::parse(PAY.name()).unwrap(), Payload::of(paid(3_600_000)));
        let task = Task::root(run.clone(), pay, input, broker.clock.now());
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
    }
    let run = run.to_string();
    let mut one = child(place);
    assert!(one.says("at_work"), "{:?}", one.end());
    one.kill();
    assert_eq!(one.end().signal, Some(9));
    let two = at("two").serve(till(false, quiet)).start().await.unwrap();
    let outcome = timeout(LONG, two.attach(PAY, &run).unwrap().outcome()).await.expect("in time");
    assert_eq!((outcome.unwrap(), attempts(two.broker(), &run).await), (5, 2));
    assert_eq!(pay(&two).await, 10);
    let stored = entry(two.broker()).await;
    assert_eq!((&stored["state"], &stored["home"]["node"]), (&json!(10), &json!("two")), "{stored}");
    assert!(stored["home"]["epoch"].as_u64() > Some(1), "{stored}");
    two.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_process_was_killed_goes_on_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("work.db");
    killed(store.to_str().unwrap(), |name| Node::embedded().name(name).store(&store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_process_was_killed_goes_on_on_nats() {
    let server = Server::start();
    killed(&server.url(), |name| Node::on(server.url()).name(name)).await;
}

/// How long a frozen node counts as there.
const GONE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thawed_process_still_writes_of_a_state_does_not_count() {
    let server = Server::start();
    let asker = Node::on(server.url()).name("asker").start().await.unwrap();
    let mut one = child(&server.url());
    let run = asker.submit(PAY, paid(1_000)).await.unwrap();
    assert!(one.says("at_work"), "{:?}", one.end());
    one.freeze();
    let two = Node::on(server.url()).name("two").serve(till(false, quiet)).start().await.unwrap();
    assert_eq!(timeout(GONE + LONG, run.outcome()).await.expect("in time").unwrap(), 5);
    assert_eq!(pay(&two).await, 10);
    one.thaw();
    // Its handler ends with a state of its own, which is refused.
    assert!(one.says("done"), "{:?}", one.end());
    // It wakes the state anew, as it was stored, if it is given the next one.
    for expected in [15, 20, 25, 30] {
        assert_eq!(pay(&two).await, expected);
    }
    let stored = entry(two.broker()).await;
    assert_eq!(stored["state"], 30, "{stored}");
    asker.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}
