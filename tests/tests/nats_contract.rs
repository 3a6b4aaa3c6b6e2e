//! The contract suite over the wing on NATS.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use callboard_broker::clock::Clock;
use callboard_broker::error::Error;
use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Options};
use callboard_broker::tasks::{LEASE, Lease};
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::bench::{Bench, in_still_time};
use callboard_tests::contract::{Setup, Wing};
use callboard_tests::nats::Server;
use serde_json::json;

const HOUR: u64 = 3_600_000;

/// Each store is a server of its own.
#[derive(Default)]
struct Nats(Mutex<Option<Arc<Server>>>);

impl Nats {
    fn options(server: &Server, setup: &Setup) -> Options {
        let mut options = Options::new(NodeName::parse("n").unwrap());
        options.servers = vec![server.url()];
        options.clock = setup.clock.clone();
        options.layout.max_tasks = setup.max_tasks as u64;
        options
    }
}

impl Wing for Nats {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            let server = Arc::new(Server::start());
            let options = Self::options(&server, &setup);
            *self.0.lock().unwrap() = Some(server);
            nats::open(options).await.unwrap()
        })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async move {
            drop(broker);
            let server = self.0.lock().unwrap().clone().unwrap();
            server.kill();
            server.restart();
            Some(nats::open(Self::options(&server, &setup)).await.unwrap())
        })
    }

    fn rounds(&self) -> usize {
        20
    }
}

/// A clock that is set by so many milliseconds while a claim stands.
async fn claim_and_set(b: Bench, from: u64, to: u64) -> (Bench, Lease) {
    let (set, flowing) = (Arc::new(AtomicU64::new(from)), Clock::following_tokio());
    let read = set.clone();
    let clock = Clock::from_fn(move || flowing.now() + read.load(Ordering::Relaxed));
    let b = b.with(|setup| setup.clock = clock).await;
    let lease = b.begin("run").await;
    set.store(to, Ordering::Relaxed);
    (b, lease)
}

/// The clock of a node was set forward by an hour, and the node gave everything back that it was working on.
async fn a_claim_holds_although_the_clock_is_set_forward(b: Bench) {
    let (b, lease) = claim_and_set(b, 0, HOUR).await;
    b.pass(LEASE / 2).await;
    b.complete(&lease, json!("done")).await;
}

async fn a_claim_lapses_in_its_time_although_the_clock_is_set_back(b: Bench) {
    let (b, lease) = claim_and_set(b, HOUR, 0).await;
    b.pass(LEASE).await;
    let next = b.claim_one().await;
    assert_eq!(next.attempt, 2);
    let late = b.finish(b.completed(&lease, json!("late"))).await;
    assert!(matches!(late, Err(Error::Replaced)), "{late:?}");
}

#[test]
fn a_lease_is_not_shorter_when_the_clock_is_set() {
    in_still_time(Arc::new(Nats::default()), a_claim_holds_although_the_clock_is_set_forward);
}

#[test]
fn a_lease_is_not_longer_when_the_clock_is_set() {
    in_still_time(Arc::new(Nats::default()), a_claim_lapses_in_its_time_although_the_clock_is_set_back);
}

mod on_nats {
    callboard_tests::for_each_check!(still_test super::Nats::default);
    callboard_tests::for_each_race!(race_test super::Nats::default);
}
