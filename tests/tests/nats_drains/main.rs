//! Nodes are drained and started again in turn, under load: only what was not begun is handed back, nothing is lost and
//! nothing is executed twice, as long as a drain may take longer than the longest task.
//!
//! Three processes serve a queue that never runs empty; ten times one of them, in turn, gets a SIGTERM while it works and
//! is started again when it has ended. The judge reads the log of the broker and the ledgers of the agents. It has two
//! negative controls: a drain that may not take as long as a task, and a node that is killed.
#![cfg(unix)]

mod judge;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use callboard_broker::Broker;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::nats::{self, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_broker::tasks::Until;
use callboard_tests::nats::{Server, recorded};
use callboard_tests::process::{Child, ledger};
use tempfile::TempDir;
use tokio::time::sleep;

use judge::Evidence;

const WORK: &str = "work.sleep";
const NAMES: [&str; 3] = ["alder", "birch", "cedar"];
const SLOTS: usize = 4;
/// Each name is drained at least three times.
const ROUNDS: usize = 10;
/// Tasks take from this to twice this.
const WORK_MS: u64 = 100;
/// So many are always queued or at work: more than all slots.
const LOAD: usize = 3 * SLOTS * NAMES.len();
/// How long a drain may take: longer than any task, also on a machine that is busy.
const LONG_ENOUGH: &str = "60000";
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(90);
const BRIEFLY: Duration = Duration::from_millis(5);

/// A server and its nodes.
struct Site {
    server: Server,
    folder: TempDir,
    shutdown: &'static str,
    nodes: Vec<Option<Child>>,
    incarnations: Vec<usize>,
}

impl Site {
    fn start(shutdown: &'static str, many: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder for ledgers");
        let (nodes, incarnations) = ((0..many).map(|_| None).collect(), vec![0; many]);
        let mut site = Self { server: Server::start(), folder, shutdown, nodes, incarnations };
        (0..many).for_each(|n| site.begin(n));
        site
    }

    fn ledger(&self, n: usize, incarnation: usize) -> PathBuf {
        self.folder.path().join(format!("{}.{incarnation}", NAMES[n]))
    }

    fn begin(&mut self, n: usize) {
        self.incarnations[n] += 1;
        let mut program = Command::new(env!("CARGO_BIN_EXE_nats_node"));
        program.args(["--broker", &self.server.url(), "--name", NAMES[n], "--serve", &format!("{WORK}={SLOTS}")]);
        program.args(["--shutdown", self.shutdown]).arg("--ledger").arg(self.ledger(n, self.incarnations[n]));
        let mut child = Child::start(&mut program);
        assert!(child.says("ready"), "{} does not start", NAMES[n]);
        self.nodes[n] = Some(child);
    }

    /// Waits until this incarnation of a node has begun as much as it has slots for.
    async fn at_work(&self, n: usize) {
        let since = Instant::now();
        while ledger::read(&self.ledger(n, self.incarnations[n])).len() < SLOTS {
            assert!(since.elapsed() < PATIENCE, "{} gets no work", NAMES[n]);
            sleep(BRIEFLY).await;
        }
    }

    /// Drains a node and waits for its end.
    async fn drain(&mut self, n: usize) {
        let mut child = self.nodes[n].take().expect("it is there");
        child.terminate();
        let since = Instant::now();
        while !child.ends_within(Duration::ZERO) {
            assert!(since.elapsed() < PATIENCE, "{} does not end", NAMES[n]);
            sleep(BRIEFLY).await;
        }
        let ended = child.end();
        assert_eq!((ended.code, ended.last.as_str()), (Some(0), "drained"), "{}", ended.stderr);
    }

    fn evidence(&self, accepted: BTreeSet<String>) -> Evidence {
        let mut executions = Vec::new();
        for (n, last) in self.incarnations.iter().enumerate() {
            for incarnation in 1..=*last {
                let node = format!("{} {incarnation}", NAMES[n]);
                let lines = ledger::read(&self.ledger(n, incarnation));
                executions.extend(lines.into_iter().map(|line| (node.clone(), line)));
            }
        }
        Evidence { accepted, records: recorded::records(&self.server), executions }
    }
}

async fn client(url: String) -> Broker {
    let name = NodeName::parse("client").expect("a name");
    nats::open(Options { servers: vec![url], works: false, ..Options::new(name) }).await.expect("the server is there")
}

async fn submit(client: &Broker, work: Vec<u64>) -> Vec<TaskId> {
    let now = client.clock.now();
    let task = |ms| Task::root(RunId::fresh(), CapabilityName::parse(WORK).expect("a name"), Payload::of(ms), now);
    let tasks: Vec<Task> = work.into_iter().map(task).collect();
    let ids = tasks.iter().map(|task| task.id.clone()).collect();
    for stored in client.tasks.submit(tasks).await {
        stored.expect("it is accepted");
    }
    ids
}

async fn until_ended(client: &Broker, ids: &BTreeSet<TaskId>) {
    let since = Instant::now();
    let ids: Vec<TaskId> = ids.iter().cloned().collect();
    for some in ids.chunks(500) {
        loop {
            let ended = client.tasks.wait(some.to_vec(), Until::All, Duration::from_secs(2)).await;
            if ended.is_ok_and(|ended| ended.len() == some.len()) {
                break;
            }
            assert!(since.elapsed() < PATIENCE, "not everything ends");
        }
    }
}

/// Keeps the queue full until it is dropped or told to stop; returns what was accepted.
async fn load(client: Broker, stop: tokio::sync::watch::Receiver<bool>) -> BTreeSet<TaskId> {
    let (mut accepted, mut open) = (BTreeSet::new(), Vec::new());
    while !*stop.borrow() {
        let more = (open.len()..LOAD).map(|n| WORK_MS + (n as u64 * 37) % WORK_MS).collect();
        let more = submit(&client, more).await;
        accepted.extend(more.iter().cloned());
        open.extend(more);
        let ended = client.tasks.wait(open.clone(), Until::Any, Duration::from_secs(2)).await.unwrap_or_default();
        open.retain(|id| !ended.iter().any(|outcome| outcome.task == *id));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_rolling_drains_under_load_lose_nothing_and_run_nothing_twice() {
    let mut site = Site::start(LONG_ENOUGH, NAMES.len());
    let broker = client(site.server.url()).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let loading = tokio::spawn(load(broker.clone(), stopped));
    for round in 0..ROUNDS {
        let n = round % NAMES.len();
        site.at_work(n).await;
        site.drain(n).await;
        site.begin(n);
    }
    stop.send_replace(true);
    let accepted = loading.await.expect("the load goes on");
    until_ended(&broker, &accepted).await;
    let evidence = site.evidence(accepted.iter().map(ToString::to_string).collect());
    let (tasks, back) = (evidence.accepted.len(), evidence.drained());
    println!("{ROUNDS} drains, {tasks} tasks, {} executions, {back} handed back", evidence.executions.len());
    assert_eq!(evidence.wrong(), [""; 0]);
    assert_eq!(evidence.executions.len(), tasks, "each was executed");
    assert!(tasks >= ROUNDS * SLOTS, "there was a load: {tasks} tasks");
    assert_eq!(recorded::queued(&mut site.server.wire()), 0);
}

/// What the judge says when one of two nodes goes while it is at work on tasks of this length.
async fn gone(shutdown: &'static str, work_ms: u64, go: impl AsyncFnOnce(&mut Site)) -> Evidence {
    let mut site = Site::start(shutdown, 2);
    let broker = client(site.server.url()).await;
    let accepted: BTreeSet<TaskId> = submit(&broker, vec![work_ms; 2 * SLOTS]).await.into_iter().collect();
    site.at_work(0).await;
    go(&mut site).await;
    until_ended(&broker, &accepted).await;
    site.evidence(accepted.iter().map(ToString::to_string).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_may_not_take_as_long_as_a_task_is_found() {
    let evidence = gone("50", 5_000, async |site| site.drain(0).await).await;
    assert_eq!(evidence.lost_or_twice(), [""; 0]);
    assert!(!evidence.extra().is_empty(), "what was cut off ran again");
    assert!(!evidence.given_up_at_work().is_empty() && evidence.drained() > 0, "{:?}", evidence.records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_is_found() {
    let evidence = gone(LONG_ENOUGH, 2_000, async |site| drop(site.nodes[0].take())).await;
    assert_eq!(evidence.lost_or_twice(), [""; 0]);
    assert!(!evidence.extra().is_empty(), "what it held ran again");
    assert!(!evidence.given_up_at_work().is_empty(), "{:?}", evidence.records);
}
