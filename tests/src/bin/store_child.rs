//! A process that uses a store and is killed for it: the other half of the crash tests of the SQLite wing.
//!
//! `store_child hammer STORE ROUND honest|liar` works until it is killed and says on stdout what was acknowledged, a line
//! each. `store_child script STORE DIE_AT` does the same few things every time and aborts at the given point of the writer.
//! `store_child check NAME FOLDER DIE_AT honest|liar` runs one check of the contract suite over stores in this folder, and
//! aborts at the given point; a liar acknowledges the next commit before it makes it, and aborts then.
//! `store_child own STORE` owns it and works until it is killed; `store_child visit STORE NAME COUNT` does not own it,
//! submits so many tasks and says which were acknowledged.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::clock::Clock;
use callboard_broker::event::NewEvent;
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::sqlite::probe::{Fate, Point, Probe};
use callboard_broker::sqlite::{self, Options};
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Status, Task};
use callboard_broker::tasks::{Child, Claim, Fence, Finish, Lease, Recorded, Until};
use callboard_tests::contract::by_name;
use callboard_tests::script;
use callboard_tests::sqlite::Files;
use serde_json::{Value, json};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["hammer", store, round, manner] => runtime.block_on(hammer(store, round, manner == "liar")),
        ["script", store, at] => runtime.block_on(run_script(store, at.parse().unwrap())),
        ["check", name, folder, at, manner] => check(name, folder, at.parse().unwrap(), manner == "liar"),
        ["own", store] => runtime.block_on(own(store)),
        ["visit", store, name, count] => runtime.block_on(visit(store, name, count.parse().unwrap())),
        ref other => panic!("{other:?}"),
    }
}

/// One whole line, so that a reader never takes half an acknowledgement for one.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

async fn run_script(store: &str, at: u64) {
    let points = Arc::new(AtomicU64::new(0));
    let counted = points.clone();
    let probe = Probe::new(move |_| if counted.fetch_add(1, Ordering::Relaxed) == at { Fate::Die } else { Fate::GoOn });
    let broker = sqlite::open(store, Options { probe, ..Options::default() }).unwrap();
    script::run(&broker).await;
    drop(broker);
    say(format_args!("{}", points.load(Ordering::Relaxed)));
}

fn check(name: &str, folder: &str, at: u64, liar: bool) {
    let points = Arc::new(AtomicU64::new(0));
    let counted = points.clone();
    let probe = Probe::new(move |point| match (point, counted.fetch_add(1, Ordering::Relaxed)) {
        (Point::Commit, n) if liar && n >= at => Fate::AnswerEarly,
        (Point::Answered, _) => {
            // Who was told too early gets the time to go on.
            std::thread::sleep(Duration::from_millis(20));
            Fate::Die
        }
        (_, n) if !liar && n == at => Fate::Die,
        _ => Fate::GoOn,
    });
    let wing = Arc::new(Files::that_stay(folder.as_ref(), probe));
    assert!(by_name::run(name, wing), "there is no check {name}");
    say(format_args!("{}", points.load(Ordering::Relaxed)));
}

async fn hammer(store: &str, round: &str, liar: bool) {
    let probe = Probe::new(move |point| match point {
        Point::Commit if liar => Fate::AnswerEarly,
        Point::Answered => {
            std::thread::sleep(Duration::from_millis(1));
            Fate::GoOn
        }
        _ => Fate::GoOn,
    });
    let broker = sqlite::open(store, Options { probe, ..Options::default() }).unwrap();
    say(format_args!("ready"));
    for n in 0..4 {
        tokio::spawn(submit(broker.clone(), format!("{round}-{n}")));
        tokio::spawn(work(broker.clone(), "leaf"));
        tokio::spawn(work(broker.clone(), "parent"));
    }
    tokio::spawn(count(broker.clone()));
    publish(broker, round.to_owned()).await;
}

async fn own(store: &str) {
    let broker = loop {
        match sqlite::open(store, Options::default()) {
            Ok(broker) => break broker,
            // A visitor writes something, or the one before has not quite gone.
            Err(error) if error.code() == callboard_broker::code::OWNED => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    say(format_args!("ready"));
    work(broker, "leaf").await;
}

async fn visit(store: &str, name: &str, count: u64) {
    let broker = sqlite::attach(store, Options::default()).unwrap().broker();
    for n in 0..count {
        let run = RunId::parse(&format!("{name}-{n}")).unwrap();
        let capability = CapabilityName::parse("leaf").unwrap();
        let task = Task::root(run, capability, json!({ "n": n }).into(), Clock::system().now());
        let id = task.id.clone();
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        say(format_args!("submitted {id}"));
    }
}

async fn submit(broker: Broker, name: String) {
    for n in 0_u64.. {
        let capability = if n % 5 == 0 { "parent" } else { "leaf" };
        let run = RunId::parse(&format!("{name}-{n}")).unwrap();
        let capability = CapabilityName::parse(capability).unwrap();
        let task = Task::root(run, capability, json!({ "n": n }).into(), Clock::system().now());
        let id = task.id.clone();
        if broker.tasks.submit(vec![task]).await.remove(0).is_ok() {
            say(format_args!("submitted {id}"));
        }
        if n % 16 == 0 {
            // Else the queue only grows, and nothing is ever done.
            broker.tasks.wait(vec![id], Until::All, Duration::from_millis(50)).await.unwrap();
        }
    }
}

async fn work(broker: Broker, capability: &str) {
    let capability = CapabilityName::parse(capability).unwrap();
    loop {
        let node = NodeName::parse("child").unwrap();
        let wait = Duration::from_secs(5);
        let claim = Claim {
            capability: capability.clone(),
            slots: 3,
            bulk: 3,
            node,
            wait,
            declined: Vec::new(),
            serving: None,
        };
        for lease in broker.tasks.claim(claim).await.unwrap() {
            say(format_args!("began {}", lease.task.id));
            let fence = match capability.as_str() {
                "parent" => delegate(&broker, &lease).await,
                _ => lease.fence.clone(),
            };
            let output = json!(format!("{} {}", std::process::id(), lease.fence.lease));
            let outcome = Outcome::of(&lease.task, Status::Completed, None, Clock::system().now());
            let outcome = Outcome { output: output.clone().into(), attempt: lease.attempt, ..outcome };
            let last = Finish { fence, entries: Vec::new(), outcome, dead: None };
            if let Ok(Recorded::New) = broker.tasks.finish(vec![last]).await.remove(0) {
                say(format_args!("ended {} {output}", lease.task.id));
            }
        }
    }
}

async fn delegate(broker: &Broker, lease: &Lease) -> Fence {
    let child = |n: u32| {
        let capability = CapabilityName::parse("leaf").unwrap();
        lease.task.child(&n.to_string(), capability, json!({ "child": n }).into(), Clock::system().now())
    };
    let children: Vec<Task> = (0..3).map(child).collect();
    let records = children.iter().map(|child| Entry::Delegated {
        key: child.key.clone().unwrap_or_default(),
        child: child.id.clone(),
        capability: child.capability.clone(),
        input_hash: child.input.content_hash().unwrap(),
    });
    let (records, ids) = (records.collect(), children.iter().map(|child| child.id.clone()).collect());
    let children = children.into_iter().map(|child| Child::Queued(Box::new(child))).collect();
    let fence = broker.tasks.append(lease.fence.clone(), records, children).await.unwrap();
    broker.tasks.wait(ids, Until::All, Duration::from_secs(5)).await.unwrap();
    fence
}

async fn count(broker: Broker) {
    let key = Key::parse("global.count").unwrap();
    loop {
        let there = broker.states.get(vec![key.clone()]).await.unwrap().remove(0);
        let (version, count) = there.map_or((0, 0), |entry| (entry.version, entry.value.read::<u64>().unwrap()));
        let value = Some(Value::from(count + 1).into());
        let write = Write { key: key.clone(), expect: Expect::Version(version), value, by: "child".into(), task: None };
        if let Ok(Put::Applied(version)) = broker.states.put(vec![write]).await.remove(0) {
            say(format_args!("wrote {version} {}", count + 1));
        }
    }
}

async fn publish(broker: Broker, round: String) {
    for n in 0_u64.. {
        let payload = json!(format!("{round} {n}"));
        let fact = NewEvent {
            kind: "test.said".into(),
            agent: "child".into(),
            run: None,
            task: None,
            payload: payload.clone().into(),
        };
        if let Ok(seq) = broker.events.publish(vec![fact]).await.remove(0) {
            say(format_args!("published {seq} {payload}"));
        }
    }
}
