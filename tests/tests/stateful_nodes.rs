//! Stateful agents that two nodes serve: a state is at work on one of them at a time, moves to where its next request is,
//! and is not waited for when its home is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::{Capability, Context, Node, NodeBuilder, Result, Stateful, StatefulAgent, payload, stateful};
use callboard_broker::state::Key;
use callboard_broker::{Broker, memory, sqlite};
use serde_json::Value;
use tokio::sync::Semaphore;

const CUSTOMERS: [&str; 3] = ["ann", "bob", "cy"];
const PAYMENTS: usize = 90;

#[payload]
#[derive(Clone, Debug)]
struct Payment {
    customer: String,
    cents: u64,
}

const PAY: Capability<Payment, u64> = Capability::new("till.pay");

/// What all tills see of one another, whichever node they are on.
struct Hall {
    /// Who is at work for a customer.
    at_work: Mutex<BTreeMap<String, &'static str>>,
    met: AtomicUsize,
    /// How often each node worked, and how often a customer was at work on another node than before.
    worked: Mutex<BTreeMap<&'static str, usize>>,
    /// Requests begin to work only with one of these.
    may_begin: Semaphore,
}

struct Till {
    node: &'static str,
    hall: Arc<Hall>,
}

impl Stateful for Till {
    type State = u64;
}

impl StatefulAgent<Payment, u64> for Till {
    async fn handle(&self, _ctx: Context, total: &mut u64, paid: Payment) -> Result<u64> {
        let other = self.hall.at_work.lock().unwrap().insert(paid.customer.clone(), self.node);
        self.hall.met.fetch_add(usize::from(other.is_some()), Ordering::Relaxed);
        self.hall.may_begin.acquire().await.unwrap().forget();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        *total += paid.cents;
        self.hall.at_work.lock().unwrap().remove(&paid.customer);
        *self.hall.worked.lock().unwrap().entry(self.node).or_default() += 1;
        Ok(*total)
    }
}

async fn till(node: NodeBuilder, name: &'static str, hall: &Arc<Hall>) -> Node {
    let till = Till { node: name, hall: hall.clone() };
    let service = stateful(till).on_key(PAY, |paid| paid.customer.clone()).service().concurrency(4);
    node.name(name).serve(service).start().await.unwrap()
}

fn hall(may_begin: usize) -> Arc<Hall> {
    Arc::new(Hall {
        at_work: Mutex::default(),
        met: AtomicUsize::new(0),
        worked: Mutex::default(),
        may_begin: Semaphore::new(may_begin),
    })
}

/// The entry of a customer's state.
async fn entry(broker: &Broker, customer: &str) -> Value {
    let key = Key::parse(&format!("global.agents.till.pay._of.{customer}")).unwrap();
    broker.states.get(vec![key]).await.unwrap().remove(0).unwrap().value.value().unwrap()
}

async fn in_turn(wing: &str, nodes: [NodeBuilder; 2]) {
    let hall = hall(PAYMENTS + 20);
    let [one, two] = nodes;
    let nodes = [till(one, "one", &hall).await, till(two, "two", &hall).await];
    let mut runs = Vec::new();
    for n in 0..PAYMENTS {
        let paid = Payment { customer: CUSTOMERS[n % CUSTOMERS.len()].into(), cents: 1 };
        runs.push(nodes[n % 2].submit(PAY, paid).await.unwrap());
    }
    for run in &runs {
        run.outcome().await.unwrap();
    }
    let each = PAYMENTS / CUSTOMERS.len();
    let mut moves = 0;
    for customer in CUSTOMERS {
        let stored = entry(nodes[0].broker(), customer).await;
        assert_eq!(stored["state"], each, "{stored}");
        moves += stored["home"]["epoch"].as_u64().unwrap();
    }
    assert_eq!(hall.met.load(Ordering::Relaxed), 0, "two were at work on the same state");
    let tried: usize = {
        let mut tried = 0;
        for run in &runs {
            let id = callboard_broker::id::TaskId::parse(run.id()).unwrap();
            tried += nodes[0].broker().tasks.get(vec![id]).await.unwrap().remove(0).unwrap().attempt as usize;
        }
        tried
    };
    assert_eq!(tried, PAYMENTS, "no attempt met a conflict");
    let worked = hall.worked.lock().unwrap().clone();
    println!("{wing}: {worked:?}, {moves} wakings for {PAYMENTS} requests");
    assert_eq!(worked.len(), 2, "both nodes worked: {worked:?}");
    // Each asks for what the other one has awake, and is given it.
    for node in &nodes {
        for customer in CUSTOMERS {
            let paid = Payment { customer: customer.into(), cents: 1 };
            node.submit(PAY, paid).await.unwrap().outcome().await.unwrap();
        }
    }
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}

/// The home of a state has left, and the state goes on elsewhere.
async fn moves_on(nodes: [NodeBuilder; 2]) {
    let hall = hall(0);
    let [one, two] = nodes;
    let one = till(one, "one", &hall).await;
    let paid = Payment { customer: "ann".into(), cents: 5 };
    let run = one.submit(PAY, paid.clone()).await.unwrap();
    while hall.at_work.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let stored = entry(one.broker(), "ann").await;
    assert_eq!((&stored["home"]["node"], &stored["home"]["epoch"]), (&"one".into(), &1.into()));
    let two = till(two, "two", &hall).await;
    let other = two.submit(PAY, Payment { customer: "bob".into(), cents: 1 }).await.unwrap();
    hall.may_begin.add_permits(2);
    assert_eq!(run.outcome().await.unwrap(), 5);
    other.outcome().await.unwrap();
    one.shutdown().await.unwrap();
    // Its home has left; whoever is asked next has it awake.
    hall.may_begin.add_permits(1);
    assert_eq!(two.submit(PAY, paid).await.unwrap().outcome().await.unwrap(), 10);
    let stored = entry(two.broker(), "ann").await;
    assert_eq!((&stored["home"]["node"], &stored["state"]), (&"two".into(), &10.into()));
    two.shutdown().await.unwrap();
}

fn embedded(broker: &Broker) -> [NodeBuilder; 2] {
    [Node::over(broker.clone()), Node::over(broker.clone())]
}

fn memory() -> Broker {
    memory::open(memory::Options::default())
}

fn sqlite(folder: &tempfile::TempDir) -> Broker {
    sqlite::open(folder.path().join("store"), sqlite::Options::default()).unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_at_work_on_one_node_at_a_time_in_memory() {
    tokio::time::timeout(LONG, in_turn("memory", embedded(&memory()))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_at_work_on_one_node_at_a_time_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    tokio::time::timeout(LONG, in_turn("sqlite", embedded(&sqlite(&folder)))).await.unwrap();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_at_work_on_one_node_at_a_time_on_nats() {
    let server = callboard_tests::nats::Server::start();
    let nodes = [Node::on(server.url()), Node::on(server.url())];
    tokio::time::timeout(LONG, in_turn("nats", nodes)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_home_is_gone_wakes_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for broker in [memory(), sqlite(&folder)] {
        tokio::time::timeout(LONG, moves_on(embedded(&broker))).await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_home_is_gone_wakes_elsewhere_on_nats() {
    let server = callboard_tests::nats::Server::start();
    tokio::time::timeout(LONG, moves_on([Node::on(server.url()), Node::on(server.url())])).await.unwrap();
}
