//! Callboard from Python, as real processes with nothing but `nats-py`: an operator's script, and the worker example.
#![cfg(unix)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use callboard_broker::Broker;
use callboard_broker::dead_letter::Reason;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::nats::{self, Credentials, Layout, Link, Options, provision};
use callboard_broker::state::{Expect, Key, Write};
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Claim, Finish, Lease, TaskView, Until};
use callboard_tests::contract::bench::{capability, failure, node};
use callboard_tests::nats::{Config, Server};
use callboard_tests::process::Child;
use callboard_tests::{programs, python};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than the 30 s after which the server hands out again what a dead worker held.
const PATIENCE: Duration = Duration::from_secs(90);

async fn join(server: &Server) -> Broker {
    nats::open(Options { servers: vec![server.url()], ..Options::new(node("rust")) }).await.expect("a broker")
}

fn claim(name: &str, wait: Duration) -> Claim {
    Claim {
        capability: capability(name),
        slots: 1,
        bulk: 1,
        node: node("rust"),
        wait,
        declined: Vec::new(),
        serving: None,
    }
}

/// Does the tasks of a capability as they come, for as long as it is polled.
async fn serve(broker: Broker, name: &'static str) {
    loop {
        for lease in broker.tasks.claim(claim(name, Duration::from_secs(2))).await.expect("the server answers") {
            let turn = done(&broker, &lease, name == "diag.fail");
            broker.tasks.finish(vec![turn]).await.remove(0).expect("recorded");
        }
    }
}

fn done(broker: &Broker, lease: &Lease, fails: bool) -> Finish {
    let (now, attempt) = (broker.clock.now(), lease.attempt);
    let outcome = if fails {
        Outcome { attempt, ..Outcome::of(&lease.task, Status::Failed, Some(failure("no luck")), now) }
    } else {
        let output = lease.task.input.clone();
        Outcome { attempt, output, ..Outcome::of(&lease.task, Status::Completed, None, now) }
    };
    Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome, dead: fails.then_some(Reason::Failed) }
}

async fn submit(broker: &Broker, run: &str, name: &str, input: Value) -> TaskId {
    submit_task(broker, task(broker, run, name, input)).await
}

fn task(broker: &Broker, run: &str, name: &str, input: Value) -> Task {
    Task::root(RunId::parse(run).unwrap(), capability(name), input.into(), broker.clock.now())
}

async fn submit_task(broker: &Broker, task: Task) -> TaskId {
    let id = task.id.clone();
    broker.tasks.submit(vec![task]).await.remove(0).unwrap();
    id
}

async fn outcome(broker: &Broker, task: &TaskId) -> Outcome {
    let ended = broker.tasks.wait(vec![task.clone()], Until::All, PATIENCE).await.unwrap().pop();
    ended.unwrap_or_else(|| panic!("task {task} did not end"))
}

async fn view(broker: &Broker, task: &TaskId) -> TaskView {
    broker.tasks.get(vec![task.clone()]).await.unwrap().remove(0).expect("the task is there")
}

/// All that stands in the streams is as the schemas say, whoever wrote it.
fn validate(server: &Server) {
    let script = python::script("tests/python/validate.py");
    let ran = Command::new(python::interpreter()).arg(script).arg(server.url()).output().expect("Python runs");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_nothing_but_a_client_of_the_server() {
    let server = Server::start();
    let broker = join(&server).await;
    // Whoever serves a capability makes its queues.
    assert!(broker.tasks.claim(claim("diag.idle", Duration::ZERO)).await.unwrap().is_empty());
    let key = Key::parse("global.counter").unwrap();
    for value in 0..150 {
        let write = Write {
            key: key.clone(),
            expect: Expect::Any,
            value: Some(json!(value).into()),
            by: "lead".into(),
            task: None,
        };
        broker.states.put(vec![write]).await.remove(0).unwrap();
    }
    let served = ["diag.echo", "diag.fail"].map(|name| tokio::spawn(serve(broker.clone(), name)));
    for name in ["diag.echo", "diag.fail"] {
        broker.tasks.claim(claim(name, Duration::ZERO)).await.unwrap();
    }
    let script = python::script("tests/python/operate.py");
    let ran = tokio::process::Command::new(python::interpreter()).arg(script).arg(server.url()).output().await;
    let ran = ran.expect("Python runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.lines().count(), 7, "{said}");
    served.iter().for_each(tokio::task::JoinHandle::abort);
    validate(&server);
}

#[test]
fn a_node_is_seen_asked_scaled_and_drained_without_our_programs() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(programs::callboard());
    command.args(["node", "start", "--name", "a", "--serve", "diag.echo=2", "--broker", &server.url()]);
    let mut node = Child::start(command.env("HOME", folder.path()));
    let (mut wire, begun) = (server.wire(), Instant::now());
    // Before it is there nobody answers.
    while wire.request("cb.v1.ctl.a.info", b"").is_err() {
        assert!(begun.elapsed() < PATIENCE, "the node does not answer");
    }
    let script = python::script("tests/python/steer.py");
    let ran = Command::new(python::interpreter()).arg(script).arg(server.url()).output().expect("Python runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(node.ends_within(PATIENCE), "it was told to drain");
    let ended = node.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A worker whose handler waits while the file `hold` is there, and fails for the text `bad`.
struct Bench {
    server: Server,
    broker: Broker,
    folder: TempDir,
}

const HANDLER: &str = r#"
import asyncio, os, pathlib, sys
from worker import Permanent, serve

async def handle(given):
    print("working", flush=True)
    while pathlib.Path(sys.path[0], "hold").exists():
        await asyncio.sleep(0.02)
    if given["text"] == "bad":
        raise Permanent("a bad text")
    if given["text"] == "flaky" and not pathlib.Path(sys.path[0], "seen").exists():
        pathlib.Path(sys.path[0], "seen").touch()
        raise RuntimeError("not yet")
    return {"text": given["text"].upper()}

serve(os.environ["CAPABILITY"], handle)
"#;

impl Bench {
    async fn start() -> Self {
        let server = Server::start();
        let broker = join(&server).await;
        Self::on(server, broker)
    }

    fn on(server: Server, broker: Broker) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("upper.py"), HANDLER).expect("a file");
        Self { server, broker, folder }
    }

    fn hold(&self, hold: bool) {
        let file = self.folder.path().join("hold");
        if hold { fs::write(file, "").expect("a file") } else { fs::remove_file(file).expect("it is there") }
    }

    fn worker(&self, name: &str, grace: &str) -> Child {
        self.worker_of(&self.server.url(), "text.upper", &["--node", name, "--grace", grace])
    }

    fn worker_of(&self, url: &str, capability: &str, more: &[&str]) -> Child {
        let examples = python::script("examples/python_worker/worker.py").parent().expect("a folder").to_owned();
        let mut command = Command::new(python::interpreter());
        command
            .arg(self.folder.path().join("upper.py"))
            .env("PYTHONPATH", examples)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("CAPABILITY", capability).args(["--server", url]).args(more);
        let mut worker = Child::start(&mut command);
        if !worker.says("ready") {
            panic!("{:?}", worker.end());
        }
        worker
    }

    async fn submit(&self, run: &str, text: &str) -> TaskId {
        submit(&self.broker, run, "text.upper", json!({ "text": text })).await
    }
}

fn words(outcome: &Outcome) -> (Status, u32, Option<&str>) {
    (outcome.status, outcome.attempt, outcome.node.as_ref().map(callboard_broker::id::NodeName::as_str))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_held_is_finished_by_another() {
    let bench = Bench::start().await;
    bench.hold(true);
    let mut first = bench.worker("py-1", "20");
    let task = bench.submit("t1", "otter").await;
    assert!(first.says("working"));
    let held = view(&bench.broker, &task).await;
    assert_eq!((held.status, held.node.as_ref().map(|node| node.as_str())), (Status::InProgress, Some("py-1")));
    first.kill();
    bench.hold(false);
    let second = bench.worker("py-2", "20");
    let ended = outcome(&bench.broker, &task).await;
    assert_eq!(words(&ended), (Status::Completed, 2, Some("py-2")));
    assert_eq!(ended.output, json!({ "text": "OTTER" }).into());
    second.terminate();
    let ended = second.end();
    assert_eq!((ended.code, ended.last.as_str()), (Some(0), "drained"), "{ended:?}");
    validate(&bench.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_go_hands_back_what_it_cannot_finish() {
    let bench = Bench::start().await;
    bench.hold(true);
    let mut worker = bench.worker("py-1", "0.1");
    let task = bench.submit("t1", "otter").await;
    assert!(worker.says("working"));
    worker.terminate();
    let ended = worker.end();
    assert_eq!((ended.code, ended.last.as_str()), (Some(0), "drained"), "{ended:?}");
    // At once and at no cost: a worker in another language goes on with the first attempt.
    let lease = bench.broker.tasks.claim(claim("text.upper", Duration::from_secs(10))).await.unwrap().remove(0);
    assert_eq!((&lease.task.id, lease.attempt), (&task, 1));
    let turn = done(&bench.broker, &lease, false);
    bench.broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
    // With enough time it finishes first.
    let mut worker = bench.worker("py-2", "20");
    let task = bench.submit("t2", "otter").await;
    assert!(worker.says("working"));
    worker.terminate();
    bench.hold(false);
    assert_eq!(words(&outcome(&bench.broker, &task).await), (Status::Completed, 1, Some("py-2")));
    assert_eq!(worker.end().code, Some(0));
    validate(&bench.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_keeps_to_the_rules_of_tasks() {
    let bench = Bench::start().await;
    let mut worker = bench.worker("py-1", "20");
    let bad = bench.submit("bad", "bad").await;
    assert_eq!(words(&outcome(&bench.broker, &bad).await), (Status::Failed, 1, Some("py-1")));
    let letters = bench.broker.dead.list(0, 10).await.unwrap();
    assert_eq!(letters.iter().map(|l| (l.task.as_ref(), l.reason)).collect::<Vec<_>>(), [(Some(&bad), Reason::Failed)]);
    let flaky = Task {
        retry: callboard_broker::task::Retry { base_ms: 1, ..Default::default() },
        ..task(&bench.broker, "flaky", "text.upper", json!({ "text": "flaky" }))
    };
    let flaky = submit_task(&bench.broker, flaky).await;
    assert_eq!(words(&outcome(&bench.broker, &flaky).await), (Status::Completed, 2, Some("py-1")));
    // What is too large for a message goes by reference, both ways.
    let large = bench.submit("large", &"x".repeat(300_000)).await;
    assert_eq!(outcome(&bench.broker, &large).await.output, json!({ "text": "X".repeat(300_000) }).into());
    let late = Task { deadline: 1, ..task(&bench.broker, "late", "text.upper", json!({ "text": "x" })) };
    let late = submit_task(&bench.broker, late).await;
    assert_eq!(outcome(&bench.broker, &late).await.status, Status::Expired);
    // A cancel reaches the handler, which can record nothing any more.
    bench.hold(true);
    let gone = bench.submit("gone", "otter").await;
    assert!(worker.says("begun gone attempt 1"));
    let cancelled = bench.broker.tasks.cancel(gone.clone(), "ops".into()).await.unwrap();
    assert_eq!(cancelled, std::slice::from_ref(&gone));
    assert!(worker.says("lost gone: cancelled"));
    bench.hold(false);
    let next = bench.submit("next", "otter").await;
    assert_eq!(words(&outcome(&bench.broker, &next).await), (Status::Completed, 1, Some("py-1")));
    assert_eq!(outcome(&bench.broker, &gone).await.status, Status::Cancelled);
    worker.terminate();
    assert_eq!(worker.end().code, Some(0));
    validate(&bench.server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_needs_no_more_than_a_node_may() {
    let deployed = |file: &str| Config::file(&programs::root().join("deploy/nats").join(file));
    let accounts = deployed("limits.conf").and_file(&programs::root().join("deploy/nats/accounts.conf"));
    let users = ["a", "b", "client", "observer", "operator", "deploy", "system"];
    let server = Server::with(users.iter().fold(accounts, |config, user| {
        config.variable(&format!("CB_PASSWORD_{}", user.to_uppercase()), format!("secret-{user}"))
    }));
    let options = |user: &str| Options {
        servers: vec![server.url()],
        credentials: Credentials::Password { user: user.into(), password: format!("secret-{user}") },
        works: user == "b",
        ..Options::new(node(user))
    };
    let deploy = Link::connect(&options("deploy")).await.unwrap();
    provision::provision(&deploy, &Layout::default()).await.unwrap();
    let broker = nats::open(options("b")).await.expect("a broker");
    let (url, bench) = (server.url_as("a", "secret-a"), Bench::on(server, broker));
    let mut worker = bench.worker_of(&url, "diag.echo", &["--node", "a"]);
    for (run, text) in [("t1", "otter".to_owned()), ("t2", "x".repeat(300_000))] {
        let task = submit(&bench.broker, run, "diag.echo", json!({ "text": text })).await;
        let ended = outcome(&bench.broker, &task).await;
        assert_eq!(words(&ended), (Status::Completed, 1, Some("a")));
        assert_eq!(ended.output, json!({ "text": text.to_uppercase() }).into());
    }
    let bad = submit(&bench.broker, "bad", "diag.echo", json!({ "text": "bad" })).await;
    assert_eq!(outcome(&bench.broker, &bad).await.status, Status::Failed);
    bench.hold(true);
    let gone = submit(&bench.broker, "gone", "diag.echo", json!({ "text": "otter" })).await;
    assert!(worker.says("begun gone attempt 1"));
    bench.broker.tasks.cancel(gone, "ops".into()).await.unwrap();
    assert!(worker.says("lost gone: cancelled"));
    worker.terminate();
    assert_eq!(worker.end().code, Some(0));
}
