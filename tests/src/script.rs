//! The same few things with a store, done by callers who do again what was not acknowledged; and what comes of them.
//!
//! Whoever runs [`run`] on a store in which it was interrupted anywhere must end up with what [`end_state`] says of a
//! store in which it was not.

use std::collections::BTreeMap;
use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::clock::Clock;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::Class;
use callboard_broker::events::EventFilter;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Release, Status, Task};
use callboard_broker::tasks::{Child, Claim, Fence, Finish, GiveBack, Lease, TaskFilter};
use serde_json::{Value, json};

use crate::contract::bench::failure;

fn root(run: &str, capability: &str) -> Task {
    let capability = CapabilityName::parse(capability).unwrap();
    Task::root(RunId::parse(run).unwrap(), capability, json!({ "run": run }).into(), Clock::system().now())
}

async fn claim(broker: &Broker, capability: &str) -> Option<Lease> {
    let (capability, node) = (CapabilityName::parse(capability).unwrap(), NodeName::parse("n").unwrap());
    let claim =
        Claim { capability, slots: 1, bulk: 1, node, wait: Duration::ZERO, declined: Vec::new(), serving: None };
    broker.tasks.claim(claim).await.unwrap().pop()
}

/// Does everything that has not been done yet.
pub async fn run(broker: &Broker) {
    for (run, capability) in [("a", "parent"), ("b", "leaf"), ("c", "leaf"), ("d", "never")] {
        broker.tasks.submit(vec![root(run, capability)]).await.remove(0).unwrap();
    }
    broker.tasks.cancel(root("d", "never").id, "operator".into()).await.unwrap();
    work(broker).await;
    let failed = root("c", "leaf").id;
    let again = broker.tasks.retry(failed.clone()).await.unwrap();
    let letters = broker.dead.list(0, 10).await.unwrap();
    for letter in letters.iter().filter(|letter| letter.task.as_ref() == Some(&failed)) {
        assert_eq!(broker.dead.retry(letter.seq).await.unwrap(), again);
    }
    work(broker).await;
    count_to(broker, 5).await;
}

/// Works until nothing is left to be done.
async fn work(broker: &Broker) {
    loop {
        let parent = claim(broker, "parent").await;
        if let Some(lease) = parent {
            let fence = delegate(broker, &lease).await;
            while let Some(leaf) = claim(broker, "leaf").await {
                do_leaf(broker, leaf).await;
            }
            end(broker, &lease, fence, Ok(json!("all done"))).await;
        } else if let Some(leaf) = claim(broker, "leaf").await {
            do_leaf(broker, leaf).await;
        } else {
            return;
        }
    }
}

fn has(log: &[Record], passes: impl Fn(&Entry) -> bool) -> bool {
    log.iter().any(|record| passes(&record.entry))
}

/// A step and three children, of which one is not to be begun.
async fn delegate(broker: &Broker, lease: &Lease) -> Fence {
    let mut fence = lease.fence.clone();
    if !has(&lease.log, |entry| matches!(entry, Entry::Step { .. })) {
        let step = Entry::Step { name: "plan".into(), value: json!(["x", "y", "z"]).into(), input: None };
        fence = broker.tasks.append(fence, vec![step], Vec::new()).await.unwrap();
    }
    if !has(&lease.log, |entry| matches!(entry, Entry::Delegated { .. })) {
        let child = |key: &str| {
            let capability = CapabilityName::parse("leaf").unwrap();
            lease.task.child(key, capability, json!({ "key": key }).into(), Clock::system().now())
        };
        let record = |child: &Task| Entry::Delegated {
            key: child.key.clone().unwrap(),
            child: child.id.clone(),
            capability: child.capability.clone(),
            input_hash: child.input.content_hash().unwrap(),
        };
        let children = [child("x"), child("y"), child("z")];
        let records = children.iter().map(record).collect();
        let [x, y, z] = children.map(Box::new);
        let children = vec![Child::Queued(x), Child::Queued(y), Child::Skipped(z, "not needed".into())];
        fence = broker.tasks.append(fence, records, children).await.unwrap();
    }
    fence
}

/// `b` is given back once before it is done, `c` fails in its first generation, all others are done at once.
async fn do_leaf(broker: &Broker, lease: Lease) {
    let (id, fence) = (lease.task.id.as_str(), lease.fence.clone());
    let given_back = has(&lease.log, |entry| matches!(entry, Entry::Released { .. }));
    match id {
        "b" if !given_back => {
            let back = GiveBack {
                fence,
                reason: Release::Retry,
                error: Some(failure("not yet")),
                delay: Duration::ZERO,
                agent: None,
                begun: true,
            };
            broker.tasks.release(back).await.unwrap();
        }
        "c" => end(broker, &lease, fence, Err("no luck")).await,
        _ => end(broker, &lease, fence, Ok(json!(id))).await,
    }
}

async fn end(broker: &Broker, lease: &Lease, fence: Fence, result: Result<Value, &str>) {
    let now = Clock::system().now();
    let (outcome, dead) = match result {
        Ok(output) => {
            let outcome = Outcome::of(&lease.task, Status::Completed, None, now);
            (Outcome { output: output.into(), ..outcome }, None)
        }
        Err(why) => (Outcome::of(&lease.task, Status::Failed, Some(failure(why)), now), Some(Reason::Failed)),
    };
    let turn = Finish { fence, entries: Vec::new(), outcome, dead };
    broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
}

/// Counts up to `last`, each number once, whoever began to.
async fn count_to(broker: &Broker, last: u64) {
    let key = Key::parse("global.count").unwrap();
    loop {
        let there = broker.states.get(vec![key.clone()]).await.unwrap().remove(0);
        let (version, count) = there.map_or((0, 0), |entry| (entry.version, entry.value.read::<u64>().unwrap()));
        if count == last {
            return;
        }
        let value = Some(Value::from(count + 1).into());
        let write =
            Write { key: key.clone(), expect: Expect::Version(version), value, by: "script".into(), task: None };
        assert!(matches!(broker.states.put(vec![write]).await[..], [Ok(Put::Applied(_))]));
    }
}

/// What came of it, without what an interruption may change: times, attempts, and how often something was begun.
pub async fn end_state(broker: &Broker) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let views = broker.tasks.list(TaskFilter::default()).await.unwrap();
    for view in &views {
        let (id, outcome) = (&view.task.id, view.outcome.as_ref().expect("everything has ended"));
        let class = outcome.error.as_ref().map(|error| (error.class, error.message.clone()));
        state.insert(format!("task {id}"), format!("{} {:?} {class:?}", view.status, outcome.output));
        state.insert(format!("log {id}"), log(broker, id).await);
    }
    assert!(views.iter().any(|view| view.outcome.as_ref().is_some_and(|o| o.error.as_ref().is_some_and(is_permanent))));
    for letter in broker.dead.list(0, 100).await.unwrap() {
        let of = (letter.reason, letter.task, letter.retried_as);
        state.insert(format!("dead {}", letter.seq), format!("{of:?}"));
    }
    let events = broker.events.read(EventFilter::default(), 1, 1_000).await.unwrap();
    let told = events.iter().filter(|event| event.kind != "task.started");
    for event in told {
        let said = format!("event {} {:?} {:?}", event.kind, event.task, event.payload.value().unwrap().get("version"));
        let times = state.get(&said).map_or(1, |n| n.parse::<u32>().unwrap() + 1);
        state.insert(said, times.to_string());
    }
    let history = broker.states.history(Key::parse("global.count").unwrap()).await.unwrap();
    state.insert("history".into(), format!("{:?}", history.iter().map(|change| &change.value).collect::<Vec<_>>()));
    state
}

fn is_permanent(error: &callboard_broker::error::Remote) -> bool {
    error.class == Class::Permanent
}

async fn log(broker: &Broker, id: &TaskId) -> String {
    let records = broker.tasks.log(id.clone()).await.unwrap();
    let kept = records.iter().filter(|record| !matches!(record.entry, Entry::Claimed { .. } | Entry::Died { .. }));
    kept.map(|record| record.entry.kind()).collect::<Vec<_>>().join(" ")
}
