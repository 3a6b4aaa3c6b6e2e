//! Runs that ended are removed whole or not at all, also when whoever removes them dies in the middle.
//!
//! The removal is cut off after each of its steps in turn, by letting go of its future; what the server has then is looked
//! at, and the next removal has to leave nothing behind.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

use callboard_broker::error::Error;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::nats::purge::{purge, purge_older};
use callboard_broker::nats::{Options, Wing, connect, names};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Claim, Finish};
use callboard_tests::nats::Server;
use callboard_tests::programs;
use serde_json::{Value, json};

const WORK: &str = "test.purge";
/// Larger than what stands in a message.
const LARGE: usize = 300 << 10;
/// Subjects of one large body: its description and its pieces.
const OBJECT: usize = 2;
/// How long the server may take to carry out what it was asked.
const PATIENCE: Duration = Duration::from_secs(60);
const FOREVER: u64 = u64::MAX;

async fn join(server: &Server) -> Wing {
    let options = Options::new(NodeName::parse("n").unwrap());
    connect(Options { servers: vec![server.url()], ..options }).await.unwrap()
}

fn capability() -> CapabilityName {
    CapabilityName::parse(WORK).unwrap()
}

/// Stores the root of a run, with a large input, and a value in the run's state.
async fn begun(wing: &Wing) -> RunId {
    let run = RunId::fresh();
    let input = format!("{run}{}", "x".repeat(LARGE));
    let task = Task::root(run.clone(), capability(), Payload::of(input), wing.broker.clock.now());
    wing.broker.tasks.submit(vec![task]).await.remove(0).unwrap();
    let key = Key::parse(&format!("run.{run}.notes")).unwrap();
    let write = Write { key, expect: Expect::Any, value: Some(Payload::of("kept")), by: "n".into(), task: None };
    wing.broker.states.put(vec![write]).await.remove(0).unwrap();
    run
}

/// Claims and ends the one task that is queued.
async fn end_it(wing: &Wing) {
    let (node, wait) = (wing.link.node.clone(), PATIENCE);
    let claim = Claim { capability: capability(), node, slots: 1, bulk: 1, declined: Vec::new(), wait, serving: None };
    let lease = wing.broker.tasks.claim(claim).await.unwrap().pop().expect("a task is there");
    let now = wing.broker.clock.now();
    let outcome = Outcome { output: Payload::of("done"), ..Outcome::of(&lease.task, Status::Completed, None, now) };
    let turn = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
    wing.broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
}

async fn ended(wing: &Wing) -> RunId {
    let run = begun(wing).await;
    end_it(wing).await;
    run
}

/// What the server has of a run.
#[derive(Debug, PartialEq)]
struct Left {
    records: usize,
    state: usize,
}

async fn subjects(wing: &Wing, stream: &str, filter: &str) -> usize {
    let ask = json!({ "subjects_filter": filter }).to_string();
    let said = wing.link.client.request(format!("$JS.API.STREAM.INFO.{stream}"), ask.into()).await.unwrap();
    let said: Value = serde_json::from_slice(&said.payload).unwrap();
    said["state"]["subjects"].as_object().map_or(0, serde_json::Map::len)
}

async fn left(wing: &Wing, run: &RunId) -> Left {
    let records = subjects(wing, names::RUNS, &names::run(run)).await;
    Left { records, state: subjects(wing, names::STATE, &names::state_of_run(run)).await }
}

const NOTHING: Left = Left { records: 0, state: 0 };

async fn blobs(wing: &Wing) -> usize {
    subjects(wing, names::BLOBS, "$O.cb_blobs.>").await
}

/// Whether a run can be seen, and then that all of it can.
async fn seen(wing: &Wing, run: &RunId) -> bool {
    let view = wing.broker.tasks.get(vec![TaskId::root(run)]).await.unwrap().remove(0);
    let Some(view) = view else { return false };
    let input: String = view.task.input.read().unwrap();
    assert_eq!(input.len(), run.as_str().len() + LARGE, "its large input is there");
    assert_eq!(view.status, Status::Completed);
    assert_eq!(left(wing, run).await.state, 1, "so is its state");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ended_goes_with_all_that_is_kept_of_it_and_nothing_else_goes() {
    let server = Server::start();
    let wing = join(&server).await;
    let (gone, stays) = (ended(&wing).await, ended(&wing).await);
    let before = blobs(&wing).await;
    let purged = purge(&wing.link, &gone).await.unwrap();
    assert!(purged.records >= 3 && purged.changes == 1 && purged.documents == 1, "{purged:?}");
    assert_eq!(left(&wing, &gone).await, NOTHING);
    assert_eq!(before - blobs(&wing).await, OBJECT, "its document, and no other's");
    assert!(!seen(&wing, &gone).await && seen(&wing, &stays).await);
    assert!(matches!(purge(&wing.link, &gone).await, Err(Error::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_goes_on_stays_and_so_does_one_that_is_young() {
    let server = Server::start();
    let wing = join(&server).await;
    let old = [ended(&wing).await, ended(&wing).await, ended(&wing).await];
    // All of them are stored by now, and what comes after the next millisecond is younger.
    let young_from = wing.broker.clock.now() + 1;
    while wing.broker.clock.now() <= young_from {
        tokio::task::yield_now().await;
    }
    let young = ended(&wing).await;
    let open = begun(&wing).await;

    let first = purge_older(&wing.link, young_from, 2).await.unwrap();
    assert_eq!(
        first.iter().map(|one| &one.run).collect::<Vec<_>>(),
        [&old[0], &old[1]],
        "the oldest, and no more than asked"
    );
    let then = purge_older(&wing.link, young_from, 1_000).await.unwrap();
    assert_eq!(then.iter().map(|one| &one.run).collect::<Vec<_>>(), [&old[2]]);
    assert!(seen(&wing, &young).await, "it is young");

    let Err(error @ Error::Config(_)) = purge(&wing.link, &open).await else { panic!("it has not ended") };
    assert_eq!(error.code(), "CB0411", "{error}");
    let all: Vec<RunId> =
        purge_older(&wing.link, FOREVER, 1_000).await.unwrap().into_iter().map(|one| one.run).collect();
    assert_eq!(all, [young]);
    end_it(&wing).await;
    assert!(seen(&wing, &open).await, "nothing of it was missing");
}

/// Lets a future go on so many times, and then lets go of it; whether it was done by then.
async fn cut_off<T>(future: impl Future<Output = T>, after: usize) -> bool {
    let (mut future, mut polls) = (pin!(future), 0);
    std::future::poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if polls >= after => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_is_cut_off_anywhere_leaves_a_run_whole_or_gone_and_is_finished_by_the_next() {
    let server = Server::start();
    let wing = join(&server).await;
    let mut states = BTreeSet::new();
    for after in 1.. {
        let before = blobs(&wing).await;
        let run = ended(&wing).await;
        // The message in the queue had a copy of its own, which goes by age.
        let most = before + 2 * OBJECT;
        let done = cut_off(purge(&wing.link, &run), after).await;
        // What was sent in the last moment may be carried out at any time from now on.
        let whole = seen(&wing, &run).await;
        states.insert(whole);
        let next = purge_older(&wing.link, FOREVER, 10).await.unwrap();
        assert!(next.len() <= usize::from(whole), "cut off after {after}: {next:?}");
        let since = Instant::now();
        while left(&wing, &run).await != NOTHING {
            assert!(since.elapsed() < PATIENCE, "cut off after {after}: something stays");
            purge_older(&wing.link, FOREVER, 10).await.unwrap();
        }
        assert_eq!(blobs(&wing).await, most - OBJECT, "cut off after {after}");
        if done {
            break;
        }
    }
    // It was cut off before the log went, and after that.
    assert!(states.contains(&true) && states.contains(&false), "{states:?}");
}

/// What is between the log and the rest is too short to be met each time, so it is staged: what is to go is written down,
/// the log is gone, and whoever did that has died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_beside_a_log_that_went_is_removed_by_the_next_and_a_log_that_is_there_stays() {
    let server = Server::start();
    let wing = join(&server).await;
    let run = ended(&wing).await;
    let before = blobs(&wing).await;
    let ask = async |subject: String, body: Value| -> Value {
        let said = wing.link.client.request(subject, body.to_string().into()).await.unwrap();
        serde_json::from_slice(&said.payload).unwrap()
    };
    let submitted = json!({ "last_by_subj": names::record(&TaskId::root(&run), "submitted") });
    let document = ask(format!("$JS.API.DIRECT.GET.{}", names::RUNS), submitted).await["$blob"].take();
    assert!(document.is_string(), "the log refers to its large document");
    let plan = json!({ "run": run, "up_to": 1_000_000, "documents": [document] });
    assert!(ask(names::purging(), plan).await["seq"].is_u64());
    assert_eq!(purge_older(&wing.link, 0, 10).await.unwrap(), []);
    assert!(seen(&wing, &run).await, "nothing goes by what is written there alone");

    let purge = json!({ "filter": names::run(&run) });
    assert_eq!(ask(format!("$JS.API.STREAM.PURGE.{}", names::RUNS), purge).await["success"], true);
    assert!(!seen(&wing, &run).await && left(&wing, &run).await == Left { records: 0, state: 1 });
    assert_eq!(purge_older(&wing.link, 0, 10).await.unwrap(), []);
    assert_eq!(left(&wing, &run).await, NOTHING);
    assert_eq!(before - blobs(&wing).await, OBJECT);
}

#[test]
fn it_asks_first_and_says_what_it_did() {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wing = runtime.block_on(join(&server));
    let runs = runtime.block_on(async { [ended(&wing).await, ended(&wing).await] });
    let purge = |words: &[&str], broker: Option<String>| {
        let mut command = Command::new(programs::callboard());
        command.args(["workflow", "purge"]).args(words).env("COLUMNS", "120");
        if let Some(url) = broker {
            command.env("CALLBOARD_BROKER", url);
        }
        let out = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ");
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let broker = || Some(server.url());
    let (code, _, told) = purge(&["--older-than", "30d"], broker());
    assert!(code == Some(2) && told.contains("error[CB0412]") && told.contains("--older-than 30d --yes"), "{told}");
    let (code, said, told) = purge(&["--older-than", "30d", "--yes"], broker());
    assert_eq!((code, said.as_str()), (Some(0), "deleted nothing"), "{told}");
    let (code, said, told) = purge(&[runs[0].as_str(), "--yes"], broker());
    assert!(code == Some(0) && said.starts_with(&format!("deleted {}: ", runs[0])), "{said} {told}");
    let (code, said, told) = purge(&["--older-than", "0s", "--yes"], broker());
    assert!(code == Some(0) && said.contains(runs[1].as_str()) && !said.contains(runs[0].as_str()), "{said} {told}");
    let (code, _, told) = purge(&["--older-than", "30d", "--yes", "--store", "memory"], None);
    assert!(code == Some(2) && told.contains("only those on a broker"), "{told}");
    drop(wing);
}
