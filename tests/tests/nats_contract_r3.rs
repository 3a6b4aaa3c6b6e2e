//! The contract suite over three servers that keep three copies of everything.
//!
//! The servers are started once; each check gets them empty and alone, so the checks take turns. That takes minutes, most
//! of it for making streams that three servers agree on: so of the checks without a race a third is made, and all of them
//! with `CALLBOARD_R3=all`, as the nightly run does.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Options};
use callboard_broker::tasks::Claim;
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::bench::{capability, claim};
use callboard_tests::contract::{Setup, Wing, is_chosen};
use callboard_tests::nats::{Cluster, Wire};
use serde_json::{Value, json};

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static TAKEN: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// The servers, for as long as one check has its turn.
struct Three(&'static Cluster);

impl Three {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        *FREE.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
        Self(CLUSTER.get_or_init(Cluster::start))
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

impl Three {
    fn options(&self, setup: &Setup) -> Options {
        let mut options = Options::new(NodeName::parse("n").unwrap());
        options.servers = self.0.servers().iter().map(callboard_tests::nats::Server::url).collect();
        options.clock = setup.clock.clone();
        options.layout.max_tasks = setup.max_tasks as u64;
        options.layout.replicas = 3;
        options
    }

    /// Takes away what an earlier check has left.
    fn empty(&self) {
        let mut wire = Wire::connect(&self.0.server(0).url()).unwrap();
        let names = wire.ask("$JS.API.STREAM.NAMES", &json!({})).unwrap();
        for name in names["streams"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let deleted = wire.ask(&format!("$JS.API.STREAM.DELETE.{name}"), &json!({})).unwrap();
            assert_eq!(deleted["success"], json!(true), "{deleted}");
        }
    }
}

impl Wing for Three {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            self.empty();
            let broker = nats::open(self.options(&setup)).await.unwrap();
            // Three servers need a while to make a consumer, and the time of a check stands still meanwhile.
            for name in ["x", "y"] {
                let claim = Claim { capability: capability(name), ..claim(1, Duration::ZERO) };
                broker.tasks.claim(claim).await.unwrap();
            }
            broker
        })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async move {
            drop(broker);
            Some(nats::open(self.options(&setup)).await.unwrap())
        })
    }

    // Three servers agree before they answer.
    fn rounds(&self) -> usize {
        60
    }
}

#[test]
fn of_each_room_some_checks_are_always_made() {
    let mut all = std::collections::BTreeSet::new();
    callboard_tests::for_each_check!(list_check all);
    let rooms: std::collections::BTreeSet<_> = all.iter().map(|(room, _)| room).collect();
    for room in rooms {
        assert!(all.iter().any(|(of, check)| of == room && is_chosen(check)), "of {room} none");
    }
    let chosen = all.iter().filter(|(_, check)| is_chosen(check)).count();
    assert!(chosen * 4 > all.len(), "{chosen} of {}", all.len());
}

mod on_three {
    callboard_tests::for_each_check!(due_test super::Three::take);
    callboard_tests::for_each_race!(race_test super::Three::take);
}
