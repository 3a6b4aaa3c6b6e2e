//! Agents are upgraded while they work: real processes are drained one after another and come again with a newer version.
//!
//! Their orders are effects on a real HTTP server, which counts, with a child to wait for after each. In the end every
//! order is completed and every step was done once, nobody was asked about anything in doubt, and what a version began
//! was finished by its rule: by that version alone, or by a newer one that says that it goes on with older logs.
#![cfg(unix)]

mod verdict;

use std::process::Command;
use std::time::{Duration, Instant};

use callboard::json;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Status, Task};
use callboard_broker::tasks::{TaskFilter, Until};
use callboard_broker::{Broker, nats, sqlite};
use callboard_tests::nats::Server;
use callboard_tests::process::{Child, Counter};
use tokio::sync::watch;
use tokio::time::sleep;

use verdict::{Rule, versions, wrong};

/// Steps of an order.
const STEPS: u64 = 4;
/// How long each of its parcels takes.
const PARCEL_MS: u64 = 150;
/// Orders that are open at a time, while there is a load.
const LOAD: usize = 12;
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long all orders together may take before it is looked why they do.
const GRACE: Duration = Duration::from_secs(30);
/// So often an upgrade is begun anew when the machine stood still.
const ROUNDS: usize = 3;
const BRIEFLY: Duration = Duration::from_millis(20);

struct Site {
    broker: Broker,
    place: String,
    counter: Counter,
    rule: Rule,
}

impl Site {
    fn start(&self, name: &str, version: &str) -> Child {
        let program = env!("CARGO_BIN_EXE_version_node");
        let mut child =
            Child::start(Command::new(program).args([self.place.as_str(), name, version, self.rule.word()]));
        assert!(child.says("ready"), "{name} does not start");
        child
    }

    async fn drain(&self, mut child: Child) {
        child.terminate();
        let since = Instant::now();
        while !child.ends_within(Duration::ZERO) {
            assert!(since.elapsed() < PATIENCE, "it does not end");
            sleep(BRIEFLY).await;
        }
        let ended = child.end();
        assert_eq!((ended.code, ended.last.as_str()), (Some(0), "drained"), "{}", ended.stderr);
    }

    async fn submit(&self, many: usize) -> Vec<TaskId> {
        let input = json!({ "url": self.counter.url(), "steps": STEPS, "ms": PARCEL_MS });
        let capability = CapabilityName::parse("shop.order").unwrap();
        let now = self.broker.clock.now();
        let order = || Task::root(RunId::fresh(), capability.clone(), input.clone().into(), now);
        let orders: Vec<Task> = std::iter::repeat_with(order).take(many).collect();
        // Whoever owns the store may just be going: submitting again is the same order.
        let since = Instant::now();
        while !self.broker.tasks.submit(orders.clone()).await.iter().all(Result::is_ok) {
            assert!(since.elapsed() < PATIENCE, "nothing is accepted");
            sleep(BRIEFLY).await;
        }
        orders.into_iter().map(|order| order.id).collect()
    }

    /// Keeps so many orders open until told to stop; all that were accepted.
    async fn load(&self, stop: watch::Receiver<bool>) -> Vec<TaskId> {
        let (mut accepted, mut open) = (Vec::new(), Vec::new());
        while !*stop.borrow() {
            let more = self.submit(LOAD - open.len()).await;
            accepted.extend(more.iter().cloned());
            open.extend(more);
            let wait = Duration::from_millis(200);
            let ended = self.broker.tasks.wait(open.clone(), Until::Any, wait).await.unwrap_or_default();
            open.retain(|id| !ended.iter().any(|outcome| outcome.task == *id));
        }
        accepted
    }

    async fn until_posted(&self, version: &str, many: usize) {
        let since = Instant::now();
        while self.counter.posts().iter().filter(|post| post.version.as_deref() == Some(version)).count() < many {
            assert!(since.elapsed() < PATIENCE, "version {version} does not work");
            sleep(BRIEFLY).await;
        }
    }

    /// The orders of these that have not ended.
    async fn open(&self, orders: &[TaskId]) -> usize {
        let ended = self.broker.tasks.wait(orders.to_vec(), Until::All, Duration::ZERO).await.unwrap_or_default();
        orders.len() - ended.len()
    }

    /// Whether a process that worked on one of these was taken for dead, which is right when the machine stands still for
    /// seconds: then a post may be in doubt, and waits for a person.
    async fn was_stalled(&self, orders: &[TaskId]) -> bool {
        for order in orders {
            let log = self.broker.tasks.log(order.clone()).await.unwrap_or_default();
            if log.iter().any(|record| matches!(record.entry, Entry::Died { .. })) {
                return true;
            }
        }
        false
    }

    /// False when they will not be, [because of the machine](Self::was_stalled).
    async fn until_done(&self, orders: &[TaskId]) -> bool {
        let since = Instant::now();
        for some in orders.chunks(500) {
            loop {
                let wait = Duration::from_millis(500);
                let ended = self.broker.tasks.wait(some.to_vec(), Until::All, wait).await.unwrap_or_default();
                if ended.len() == some.len() {
                    let lost: Vec<_> = ended.iter().filter(|outcome| outcome.status != Status::Completed).collect();
                    assert!(lost.is_empty(), "{lost:#?}");
                    break;
                }
                if since.elapsed() > GRACE && self.was_stalled(some).await {
                    return false;
                }
                assert!(since.elapsed() < PATIENCE, "{} of {} have ended", ended.len(), some.len());
            }
        }
        true
    }

    /// How many orders were worked on by two versions.
    async fn judge(&self, wing: &str, orders: &[TaskId]) -> usize {
        let posts = self.counter.posts();
        let ids: Vec<String> = orders.iter().map(ToString::to_string).collect();
        let found = wrong(&ids, STEPS, &posts, self.rule);
        let by = versions(&posts);
        let both = by.values().filter(|all| all.len() > 1).count();
        let alone = |version: &str| by.values().filter(|all| **all == [version]).count();
        println!(
            "{wing}, {}: {} orders ({} by version 1 alone, {} by 2 alone, {both} by both), {} posts, {} wrong",
            self.rule.word(),
            orders.len(),
            alone("1"),
            alone("2"),
            posts.len(),
            found.len()
        );
        assert_eq!(found, [""; 0]);
        assert!(alone("2") > 0, "the new version has work of its own");
        let asked = TaskFilter { capability: CapabilityName::parse("human.default").ok(), ..TaskFilter::default() };
        assert_eq!(self.broker.tasks.list(asked).await.unwrap().len(), 0, "nothing was in doubt");
        both
    }
}

async fn upgraded(rule: Rule) {
    for _ in 0..ROUNDS {
        if rolling(rule).await {
            return;
        }
        println!("VOID: a node stood still for so long that it was taken for dead");
    }
    panic!("{ROUNDS} times a node stood still");
}

/// Three nodes of version 1 become three of version 2, one after another, under load. False when a node
/// [was stalled](Site::was_stalled).
async fn rolling(rule: Rule) -> bool {
    let server = Server::start();
    let options = |works| {
        let client = nats::Options::new(NodeName::parse("client").unwrap());
        nats::Options { servers: vec![server.url()], works, ..client }
    };
    drop(nats::connect(options(true)).await.unwrap());
    let broker = nats::open(options(false)).await.unwrap();
    let site = Site { broker, place: server.url(), counter: Counter::start(), rule };
    let mut nodes: Vec<Child> = ["a", "b", "c"].iter().map(|name| site.start(name, "1")).collect();
    let (stop, stopped) = watch::channel(false);
    let upgrading = async {
        site.until_posted("1", 2 * LOAD).await;
        for (n, name) in ["a", "b", "c"].iter().enumerate() {
            site.drain(nodes.remove(0)).await;
            nodes.push(site.start(name, "2"));
            site.until_posted("2", (n + 1) * LOAD).await;
        }
        stop.send_replace(true);
    };
    let (orders, ()) = tokio::join!(site.load(stopped), upgrading);
    if rule == Rule::Pinned {
        // All of version 2 is done; what version 1 began waits for it.
        let only_old_are_left = async || {
            let posts = site.counter.posts();
            let by = versions(&posts);
            let of_old = orders.iter().filter(|id| by.get(id.as_str()).is_some_and(|all| *all == ["1"]));
            site.open(&of_old.cloned().collect::<Vec<_>>()).await == site.open(&orders).await
        };
        let since = Instant::now();
        while !only_old_are_left().await {
            if since.elapsed() > GRACE && site.was_stalled(&orders).await {
                return false;
            }
            assert!(since.elapsed() < PATIENCE, "version 2 does not get done");
            sleep(BRIEFLY).await;
        }
        assert!(site.open(&orders).await > 0, "something was handed back by the last of version 1");
        nodes.push(site.start("d", "1"));
    }
    if !site.until_done(&orders).await {
        return false;
    }
    let both = site.judge("nats", &orders).await;
    assert_eq!(both > 0, rule == Rule::Migrates, "{both} orders passed from one version to the other");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_on_nats_leaves_to_each_version_what_it_began() {
    upgraded(Rule::Pinned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_on_nats_goes_on_with_what_the_old_version_began() {
    upgraded(Rule::Migrates).await;
}

/// On one store: a process of version 1, then one of version 2, then, where it is needed, one of version 1.
async fn in_turn(rule: Rule) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let attached = sqlite::attach(&store, sqlite::Options::default()).unwrap();
    let place = store.to_str().unwrap().to_owned();
    let site = Site { broker: attached.broker(), place, counter: Counter::start(), rule };
    let old = site.start("n", "1");
    let mut orders = site.submit(LOAD).await;
    site.until_posted("1", 4).await;
    site.drain(old).await;
    let new = site.start("n", "2");
    let more = site.submit(LOAD).await;
    match rule {
        Rule::Migrates => assert!(site.until_done(&orders).await),
        Rule::Pinned => {
            assert!(site.until_done(&more).await);
            assert!(site.open(&orders).await > 0, "what version 1 began waits");
            site.drain(new).await;
            let old = site.start("n", "1");
            assert!(site.until_done(&orders).await);
            site.drain(old).await;
        }
    }
    orders.extend(more);
    assert!(site.until_done(&orders).await);
    let both = site.judge("sqlite", &orders).await;
    assert_eq!(both > 0, rule == Rule::Migrates, "{both} orders passed from one version to the other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_each_version_is_left_what_it_began() {
    in_turn(Rule::Pinned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_the_new_version_goes_on_with_what_the_old_one_began() {
    in_turn(Rule::Migrates).await;
}
