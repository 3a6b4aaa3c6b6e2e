//! What is written down is what is sent: every message in every stream against the schemas of `docs/schemas`, and the
//! documents that `docs/protocol.md` shows as well.
//!
//! The broker does a bit of everything on a real server; then a validator that shares no code with it reads the streams.
//! It also tries each message with a field too many and without each field that it needs, so that no schema passes by
//! letting everything through.
#![cfg(unix)]

use std::process::{Command, Output};
use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::event::NewEvent;
use callboard_broker::id::TaskId;
use callboard_broker::messages::{Address, DeadMessages};
use callboard_broker::nats::dead::DeadKeeper;
use callboard_broker::nats::{Options, Wing, connect};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Author, Expect, Key, Put, Write};
use callboard_broker::task::{Entry, Outcome, Priority, Release, Serving, Status, Task, Version};
use callboard_broker::tasks::{Child, Claim, Finish, GiveBack, Lease, Park, Recorded};
use callboard_tests::contract::bench::{capability, delegated, failure, give_back, message, node, step};
use callboard_tests::nats::Server;
use callboard_tests::python;
use serde_json::json;

const WAIT: Duration = Duration::from_secs(10);

/// All kinds of documents that there are.
const KINDS: [&str; 21] = [
    "task",
    "task_by_hand",
    "submitted",
    "started",
    "claimed",
    "released",
    "step",
    "delegated",
    "parked",
    "intent",
    "effect",
    "undone",
    "lapsed",
    "unserved",
    "outcome",
    "state",
    "event",
    "dead_letter",
    "reference",
    "presence",
    "served",
];

fn validate(server: &Server, kinds: &[&str]) -> Output {
    let script = python::script("tests/python/validate.py");
    Command::new(python::interpreter()).arg(script).arg(server.url()).args(kinds).output().expect("Python runs")
}

async fn join(server: &Server, name: &str) -> Wing {
    connect(Options { servers: vec![server.url()], ..Options::new(node(name)) }).await.expect("a broker")
}

fn claim(wait: Duration) -> Claim {
    Claim { capability: capability("x"), slots: 1, bulk: 1, node: node("n"), wait, declined: Vec::new(), serving: None }
}

struct Work(Wing);

impl Work {
    fn task(&self, run: &str) -> Task {
        let run = callboard_broker::id::RunId::parse(run).unwrap();
        Task::root(run, capability("x"), json!({ "text": "ü \"quoted\"" }).into(), self.0.broker.clock.now())
    }

    async fn claim(&self) -> Lease {
        self.0.broker.tasks.claim(claim(WAIT)).await.unwrap().pop().expect("a task is there")
    }

    async fn begin(&self, task: Task) -> Lease {
        self.0.broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        self.claim().await
    }

    async fn give_back(&self, lease: &Lease, reason: Release) {
        let error = (reason == Release::Retry).then(|| failure("no luck"));
        let delay = Duration::ZERO;
        let back = GiveBack { fence: lease.fence.clone(), reason, error, delay, agent: Some("a".into()), begun: true };
        self.0.broker.tasks.release(back).await.unwrap();
    }

    async fn end(&self, lease: &Lease, status: Status) {
        let done = status == Status::Completed;
        let outcome = Outcome {
            output: if done { json!([1, null]).into() } else { Payload::null() },
            attempt: lease.attempt,
            node: Some(node("n")),
            agent: Some("a".into()),
            degraded: done.then(|| "from memory".into()),
            started_at: Some(1),
            ..Outcome::of(&lease.task, status, (!done).then(|| failure("no luck")), self.0.broker.clock.now())
        };
        let dead = (!done).then_some(Reason::Failed);
        let turn = Finish { fence: lease.fence.clone(), entries: vec![step("last")], outcome, dead };
        assert_eq!(self.0.broker.tasks.finish(vec![turn]).await.remove(0).unwrap(), Recorded::New);
    }

    /// Every field that a task can have, all kinds of records, all outcomes but the expired one.
    async fn tasks(&self) {
        let now = self.0.broker.clock.now();
        let full = Task {
            description: Some("words".into()),
            priority: Priority::High,
            timeout_ms: Some(5),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
            from: Some("lead".into()),
            ..self.task("full")
        };
        for reason in [Release::Declined, Release::Drained, Release::Retry] {
            let lease = if reason == Release::Declined { self.begin(full.clone()).await } else { self.claim().await };
            self.give_back(&lease, reason).await;
        }
        let parent = self.claim().await;
        let child = full.child("one", capability("y"), json!(1).into(), now);
        let skipped = full.child("two", capability("y"), json!(2).into(), now);
        let skipped = Task { depends_on: vec![child.id.clone()], ..skipped };
        let (name, value) = ("pay".to_owned(), json!({ "paid": 7 }).into());
        let intent = || Entry::Intent { name: "pay".into(), key: "full/pay".into(), keyed: false };
        let effects = [intent(), Entry::Undone { name: name.clone() }, intent(), Entry::Effect { name, value }];
        let mut entries = vec![step("a"), delegated(&child), delegated(&skipped)];
        entries.extend(effects);
        let children =
            vec![Child::Queued(Box::new(child)), Child::Skipped(Box::new(skipped), "the other one failed".into())];
        let fence = self.0.broker.tasks.append(parent.fence.clone(), entries, children).await.unwrap();
        self.end(&Lease { fence, ..parent }, Status::Completed).await;
        let aside = self.begin(self.task("aside")).await;
        let on = vec![TaskId::parse("full").unwrap()];
        self.0.broker.tasks.park(Park { fence: aside.fence, on }).await.unwrap();
        let aside = self.claim().await;
        self.end(&aside, Status::Completed).await;
        let failed = self.begin(self.task("failed")).await;
        self.end(&failed, Status::Failed).await;
        self.0.broker.tasks.retry(failed.task.id).await.unwrap();
        self.0.broker.tasks.cancel(TaskId::parse("full").unwrap(), "ops".into()).await.unwrap();
        self.begin(self.task("abandoned")).await;
        assert_eq!(self.0.take_over(&node("n"), None).await.unwrap().len(), 1);
        self.upgraded().await;
        self.hand_in("cb.v1.task.x.bulk.hand", r#"{"input":{"text":"x"},"retry":{"attempts":1}}"#).await;
        self.hand_in("cb.v1.task.x.bulk.late", r#"{"input":1,"deadline":1}"#).await;
        self.hand_in("cb.v1.task.x.bulk.broken", r#"{"text":"x"}"#).await;
    }

    /// What one version began, and another, which is there now, may not take.
    async fn upgraded(&self) {
        let (z, broker) = (capability("z"), &self.0.broker);
        let serving = |version| Serving::pinned(Version::parse(version).unwrap());
        let of = |version, wait| Claim { capability: z.clone(), serving: Some(serving(version)), ..claim(wait) };
        broker.messages.serve(Address::Capability(z.clone()), 1);
        broker.messages.serves_version(&z, &Serving { migrates: true, ..serving("0.9") });
        let task = Task { capability: z.clone(), ..self.task("upgraded") };
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        for begun in [false, true] {
            let lease = broker.tasks.claim(of("1", WAIT)).await.unwrap().pop().expect("it is there");
            let back = GiveBack { begun, ..give_back(&lease.fence, Release::Drained) };
            broker.tasks.release(back).await.unwrap();
        }
        assert!(broker.tasks.claim(of("2", Duration::ZERO)).await.unwrap().is_empty());
    }

    async fn hand_in(&self, subject: &str, body: &'static str) {
        self.0.link.request(subject, None, body.into()).await.unwrap();
    }

    /// What is still in the queue, one of them too large for a message; and what is served.
    async fn what_waits(&self) {
        let large = Task { input: json!("x".repeat(300_000)).into(), ..self.task("large") };
        let waiting = Task { capability: capability("y"), ..self.task("waiting") };
        let submitted = self.0.broker.tasks.submit(vec![large, waiting]).await;
        assert!(submitted.iter().all(Result::is_ok), "{submitted:?}");
        self.hand_in("cb.v1.task.y.high.hand-2", r#"{"input":null,"description":"words","timeout_ms":5}"#).await;
    }

    async fn state_and_facts(&self) {
        let key = Key::parse("team.qa.rules").unwrap();
        let task = Some(Author { task: TaskId::parse("full").unwrap(), attempt: 1, record: 3 });
        let write = |value: Option<Payload>, expect| Write {
            key: key.clone(),
            expect,
            value,
            by: "lead".into(),
            task: task.clone(),
        };
        let null = write(Some(Payload::null()), Expect::Version(0));
        let put = self.0.broker.states.put(vec![null, write(None, Expect::Any)]).await;
        assert!(put.iter().all(|put| matches!(put, Ok(Put::Applied(_)))), "{put:?}");
        let run = callboard_broker::id::RunId::parse("full").unwrap();
        let paid = NewEvent {
            kind: "shop.paid".into(),
            agent: "till".into(),
            run: Some(run),
            task: None,
            payload: json!({ "sum": 1 }).into(),
        };
        let facts = vec![NewEvent { run: None, ..paid.clone() }, paid];
        assert!(self.0.broker.events.publish(facts).await.iter().all(Result::is_ok));
    }

    async fn letters(&self) {
        let keeper = DeadKeeper::new(self.0.link.clone());
        keeper.bury(&message("nobody", "hello", WAIT), Reason::NoRecipient, "nobody is there");
        // What reads also flushes; the room of the wing has a keeper of its own, and the letter is the fourth.
        drop(keeper);
        let (late, mut kept) = (tokio::time::Instant::now() + WAIT, 0);
        while kept < 4 && tokio::time::Instant::now() < late {
            kept = self.0.broker.dead.list(0, 10).await.unwrap().len();
        }
        assert_eq!(kept, 4, "failed, expired, undecodable and one message");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_in_every_stream_is_as_its_schema_says() {
    let server = Server::start();
    let work = Work(join(&server, "n").await);
    work.tasks().await;
    work.state_and_facts().await;
    for _ in 0..3 {
        let lease = work.claim().await;
        work.end(&lease, Status::Completed).await;
    }
    // What was put in by hand and is late or broken is found to be so by whoever pulls it.
    assert!(work.0.broker.tasks.claim(claim(Duration::ZERO)).await.unwrap().is_empty());
    work.letters().await;
    work.what_waits().await;
    let validated = validate(&server, &KINDS);
    let said = String::from_utf8_lossy(&validated.stdout);
    println!("{said}");
    assert!(validated.status.success(), "{said}\n{}", String::from_utf8_lossy(&validated.stderr));
}

/// The validator's own test: documents that are wrong in one thing each.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_as_its_schema_says_is_found() {
    let server = Server::start();
    let wing = join(&server, "n").await;
    for (subject, body) in [
        ("cb.v1.run.r.r.started", r#"{"writer":"w","at":1,"capability":"x","attempt":0,"node":"n","ack":""}"#),
        (
            "cb.v1.run.r.r.released",
            r#"{"writer":"w","n":1,"at":1,"capability":"x","entry":{"released":{"reason":"tired","not_before":0}}}"#,
        ),
        ("cb.v1.dead.x.failed.r", r#"{"at":"now","reason":"failed","capability":"x","to":"r","from":"n","body":null}"#),
        ("$KV.cb_state.global.a", r#"{"updated_by":"n","updated_at":1,"writer":"w"}"#),
        ("cb.v1.event.shop_paid._", r#"{"type":"shop.paid","time":1,"agent":"n","payload":1,"sum":2}"#),
    ] {
        wing.link.request(subject, None, body.into()).await.unwrap();
    }
    let validated = validate(&server, &["outcome"]);
    let said = String::from_utf8_lossy(&validated.stdout);
    assert_eq!(validated.status.code(), Some(1), "{said}\n{}", String::from_utf8_lossy(&validated.stderr));
    for flaw in [
        "0 is less than the minimum",
        "'tired' is not one of",
        "'now' is not of type",
        "has no value",
        "'sum' was unexpected",
        "there is no outcome",
    ] {
        assert!(said.contains(flaw), "{flaw}: {said}");
    }
}
