//! The contract suite over three servers that keep three copies of everything.
//!
//! The servers are started once, with a few accounts: each check has one of these for itself, and finds it empty. Making
//! streams that three servers agree on is most of the time, minutes of it: so of the checks without a race a third is
//! made, and all of them with `CALLBOARD_R3=all`, as the nightly run does.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Options};
use callboard_broker::tasks::Claim;
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::bench::{capability, claim};
use callboard_tests::contract::{Setup, Wing, is_chosen};
use callboard_tests::nats::{Cluster, Config, Server, Wire};
use serde_json::{Value, json};

/// Whoever finds no account free waits for one. As many as the checks that run at a time on two processors.
const ACCOUNTS: [&str; 4] = ["a0", "a1", "a2", "a3"];

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static IDLE: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
static FREE: Condvar = Condvar::new();

/// The servers, and for as long as one check lasts an account of theirs.
struct Three(&'static Cluster, &'static str);

impl Three {
    fn take() -> Self {
        let cluster = CLUSTER.get_or_init(|| {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).extend(ACCOUNTS);
            Cluster::with(|_| Config::text(&accounts()))
        });
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle = FREE.wait_while(idle, |idle| idle.is_empty()).unwrap_or_else(PoisonError::into_inner);
        Self(cluster, idle.pop().expect("it has been waited for"))
    }

    fn url(&self, server: &Server) -> String {
        server.url().replace("nats://", &format!("nats://{0}:{0}@", self.1))
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self.1);
        FREE.notify_one();
    }
}

/// An account for each name, whose user has that name too and needs no better password.
fn accounts() -> String {
    let account =
        |name: &&str| format!("{name} {{ jetstream: enabled, users: [{{ user: {name}, password: {name} }}] }}");
    let all: Vec<_> = ACCOUNTS.iter().map(account).collect();
    format!("accounts {{ {} }}\nno_auth_user: {}\n", all.join("\n"), ACCOUNTS[0])
}

impl Three {
    fn options(&self, setup: &Setup) -> Options {
        let mut options = Options::new(NodeName::parse("n").unwrap());
        options.servers = self.0.servers().iter().map(|server| self.url(server)).collect();
        options.clock = setup.clock.clone();
        options.layout.max_tasks = setup.max_tasks as u64;
        options.layout.replicas = 3;
        options
    }

    /// Takes away what an earlier check has left.
    fn empty(&self) {
        let mut wire = Wire::connect(&self.url(self.0.server(0))).unwrap();
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
