//! One task in ten is poison: it fails for good, or takes its process down. All others are done, the poison is found, and
//! nobody else is blamed.
//!
//! Nodes are processes, and started again when they die. What is asserted are counts; how long the good ones took against
//! a run without poison is printed (`--nocapture`), and worth reading on a machine that does nothing else. `POISON_TASKS`
//! asks for more than 40 tasks, `POISON_MS` for work that takes longer than 50 ms, and `POISON_BACKOFF_MS` for another first
//! wait after a failure than 50 ms; who asks for nothing has 1 s.
#![cfg(unix)]

use std::collections::BTreeSet;

use callboard::json;
use callboard_broker::clock::Millis;
use callboard_broker::dead_letter::Reason;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Retry, Status, Task};
use callboard_broker::{Broker, code, nats, sqlite, suspect};
use callboard_tests::nats::Server;
use callboard_tests::process::poison::{How, Work};

mod fleet;

use fleet::{Fleet, SLOTS};

/// Every so-manieth task is poison.
const TENTH: usize = 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn task(broker: &Broker, name: &str, capability: &str, input: Payload) -> Task {
    let (run, capability) = (RunId::parse(name).unwrap(), CapabilityName::parse(capability).unwrap());
    let retry = Retry { base_ms: number("POISON_BACKOFF_MS", 50), ..Retry::default() };
    Task { retry, ..Task::root(run, capability, input, broker.clock.now()) }
}

/// Tasks of which the fifth of each ten is such poison.
fn tasks(broker: &Broker, name: &str, poison: How) -> Vec<Task> {
    let (many, ms) = (usize::try_from(number("POISON_TASKS", 40)).unwrap(), number("POISON_MS", 50));
    let how = |n: usize| if n % TENTH == TENTH / 2 { poison } else { How::Well };
    (0..many)
        .map(|n| {
            let (how, name) = (how(n), format!("{name}-{n}{}", if how(n) == How::Well { "" } else { "-bad" }));
            task(broker, &name, "poison.work", Payload::of(Work { ms, how }))
        })
        .collect()
}

fn is_bad(task: &TaskId) -> bool {
    task.as_str().ends_with("-bad")
}

async fn submit(broker: &Broker, tasks: Vec<Task>) -> Vec<TaskId> {
    let ids = tasks.iter().map(|task| task.id.clone()).collect();
    let stored = broker.tasks.submit(tasks).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    ids
}

/// A wing with its nodes.
struct Wing {
    name: &'static str,
    broker: Broker,
    fleet: Fleet,
}

/// How long it took until the last of the good ones was done, with all outcomes.
async fn run(wing: &mut Wing, name: &str, poison: How) -> (Millis, Vec<Outcome>) {
    let begun = wing.broker.clock.now();
    let ids = submit(&wing.broker, tasks(&wing.broker, name, poison)).await;
    let outcomes = wing.fleet.until_all_end(&wing.broker, &ids).await;
    let good = outcomes.iter().filter(|outcome| !is_bad(&outcome.task)).map(|outcome| outcome.finished_at);
    (good.max().unwrap_or(begun).saturating_sub(begun).max(1), outcomes)
}

/// Good tasks that were not completed, poison that was not given up, and dead letters of anything else.
async fn wrong(broker: &Broker, outcomes: &[Outcome]) -> Vec<String> {
    let dead = broker.dead.list(0, 1_000).await.unwrap();
    let letters: BTreeSet<&str> = dead.iter().filter_map(|letter| Some(letter.task.as_ref()?.as_str())).collect();
    let as_it_should = |outcome: &&Outcome| {
        let (bad, has_letter) = (is_bad(&outcome.task), letters.contains(outcome.task.as_str()));
        bad == has_letter && outcome.status == if bad { Status::Failed } else { Status::Completed }
    };
    let wrong = outcomes.iter().filter(|outcome| !as_it_should(outcome));
    wrong.map(|outcome| format!("{} is {}: {:?}", outcome.task, outcome.status, outcome.error)).collect()
}

/// What fails for good is a dead letter, and the pool goes on.
async fn failing(wing: &mut Wing) {
    let (quiet, outcomes) = run(wing, "quiet", How::Well).await;
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Completed));
    let (took, outcomes) = run(wing, "failing", How::Fails).await;
    assert_eq!(wrong(&wing.broker, &outcomes).await, Vec::<String>::new());
    assert_eq!(wing.fleet.deaths, 0);
    println!("{}: a tenth fails: the good ones took {took} ms, {quiet} ms without", wing.name);
}

/// What aborts its process is found, and what ran beside it is not blamed.
async fn aborting(wing: &mut Wing) {
    let (quiet, outcomes) = run(wing, "quiet", How::Well).await;
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Completed));
    let (took, outcomes) = run(wing, "aborting", How::Aborts).await;
    assert_eq!(wrong(&wing.broker, &outcomes).await, Vec::<String>::new());
    let bad = outcomes.iter().filter(|outcome| is_bad(&outcome.task)).count();
    let (deaths, name) = (wing.fleet.deaths, wing.name);
    println!("{name}: a tenth aborts: the good ones took {took} ms, {quiet} ms without; {deaths} deaths of {bad}");
    // Two hold as many as all slots, each halving of that is one death more, and the first says nothing.
    let most = bad * (suspect::MAX_DEATHS + SLOTS.ilog2() as usize + 2 + suspect::FORGIVEN);
    assert!((bad * suspect::MAX_DEATHS..=most).contains(&deaths), "{deaths} deaths, {most} at most");
    for outcome in &outcomes {
        let log = wing.broker.tasks.log(outcome.task.clone()).await.unwrap();
        let alone = log.iter().filter(|record| matches!(record.entry, Entry::Died { beside: 0, .. })).count();
        assert_eq!(alone, if is_bad(&outcome.task) { suspect::MAX_DEATHS } else { 0 }, "{}: {log:#?}", outcome.task);
    }
    let letters = wing.broker.dead.list(0, 1_000).await.unwrap();
    for letter in &letters {
        let error = letter.error.as_deref().unwrap_or_default();
        assert_eq!(letter.reason, Reason::TooManyClaims);
        assert!(error.starts_with("5 times its process died while it ran alone, on "), "{error}");
    }
    let failed = outcomes.iter().filter_map(|outcome| outcome.error.as_ref());
    assert!(failed.into_iter().all(|error| error.code == code::DEADLY));
}

/// Parents that only wait for their children are there when one of those takes the process down, and are not blamed.
async fn waiting(wing: &mut Wing) {
    let work = |how| Work { ms: 50, how };
    let parts = [work(How::Well), work(How::Aborts), work(How::Well)];
    let leads = (0..3).map(|n| task(&wing.broker, &format!("lead-{n}"), "poison.lead", Payload::of(parts.to_vec())));
    let ids = submit(&wing.broker, leads.collect()).await;
    let outcomes = wing.fleet.until_all_end(&wing.broker, &ids).await;
    for outcome in &outcomes {
        assert_eq!(outcome.status, Status::Completed, "{outcome:?}");
        assert_eq!(outcome.output, json!(2).into());
        let log = wing.broker.tasks.log(outcome.task.clone()).await.unwrap();
        assert_eq!(suspect::deaths(&log), [], "{log:#?}");
    }
    let dead = wing.broker.dead.list(0, 1_000).await.unwrap();
    assert_eq!(dead.len(), ids.len(), "{dead:#?}");
    println!("{}: {} deaths of 3 parts of 3 leads", wing.name, wing.fleet.deaths);
}

async fn on_sqlite(check: impl AsyncFn(&mut Wing)) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let fleet = Fleet::start(store.to_str().unwrap(), &["n"]);
    let attached = sqlite::attach(&store, sqlite::Options::default()).unwrap();
    check(&mut Wing { name: "sqlite", broker: attached.broker(), fleet }).await;
}

async fn on_nats(check: impl AsyncFn(&mut Wing)) {
    let server = Server::start();
    let fleet = Fleet::start(&server.url(), &["a", "b", "c"]);
    let client = nats::Options {
        servers: vec![server.url()],
        works: false,
        ..nats::Options::new(NodeName::parse("client").unwrap())
    };
    let broker = nats::open(client).await.unwrap();
    check(&mut Wing { name: "nats", broker, fleet }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_keeps_nobody_on_sqlite() {
    on_sqlite(failing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_keeps_nobody_on_nats() {
    on_nats(failing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_its_process_down_is_found_and_nobody_else_is_blamed_on_sqlite() {
    on_sqlite(aborting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_its_process_down_is_found_and_nobody_else_is_blamed_on_nats() {
    on_nats(aborting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_that_only_wait_are_not_blamed_on_sqlite() {
    on_sqlite(waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_that_only_wait_are_not_blamed_on_nats() {
    on_nats(waiting).await;
}
