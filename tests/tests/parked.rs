//! Many parents wait for people, for as long as it takes: they hold no slot, the process grows by next to nothing, and
//! whoever is answered goes on.
//!
//! `PARKED` asks for another number of them. In a binary of its own, so that nothing else moves its memory.

use std::time::Duration;

use callboard::broker::id::{NodeName, TaskId};
use callboard::broker::tasks::Until;
use callboard::broker::{Broker, nats, sqlite};
use callboard::human::Question;
use callboard::inbox::Inbox;
use callboard::{Capability, Context, Node, json};
use callboard_tests::nats::Server;

const LEAD: Capability<u64, u64> = Capability::new("test.lead");
const SLOTS: usize = 8;
/// Submitted at a time.
const SOME: u64 = 100;
/// What a store keeps of its pages, and a process of what it has freed, whatever they do.
const CACHE: u64 = 16 << 20;
/// Answered in the end.
const ANSWERED: usize = 50;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory of this process in bytes, `None` where the system does not tell.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: not after {PATIENCE:?}"));
}

/// So many more parents that ask and wait.
async fn park(node: &Node, many: u64) -> Vec<TaskId> {
    let mut all = Vec::new();
    while (all.len() as u64) < many {
        let mut some = Vec::new();
        for n in 0..SOME {
            let run = node.submit(LEAD, n).await.expect("there is room");
            some.push(TaskId::parse(run.id()).expect("an id"));
        }
        until("all are laid aside", async || {
            let views = node.broker().tasks.get(some.clone()).await.unwrap_or_default();
            views.len() == some.len() && views.iter().all(|view| view.as_ref().is_some_and(|view| view.parked))
        })
        .await;
        all.extend(some);
    }
    all
}

/// `at_most`: bytes that a parent that waits, and the question for which it does, may cost this process when there are so
/// `many` more.
async fn wait(wing: &str, broker: Broker, many: u64, at_most: u64) {
    let many = std::env::var("PARKED").ok().and_then(|text| text.parse().ok()).unwrap_or(many);
    let lead = LEAD.by_fn(|ctx: Context, n: u64| async move {
        let more: u64 = ctx.human(Question::new("how many more?")).await?;
        Ok(n + more)
    });
    let node = Node::over(broker).serve(lead.concurrency(SLOTS)).start().await.expect("it starts");
    let first = park(&node, many).await;
    let before = resident();
    park(&node, many).await;
    match (before, resident()) {
        (Some(before), Some(after)) => {
            let each = after.saturating_sub(before) / many;
            println!("{wing}: {many} more parents that wait cost {each} bytes each");
            let more = after.saturating_sub(before).saturating_sub(CACHE);
            assert!(more / many < at_most, "{wing}: {each} bytes each, at most {at_most} beside {CACHE}");
        }
        _ => println!("NOT RUN: no /proc/self/statm here"),
    }
    let figures = node.agents().into_iter().find(|(pool, _)| pool == "test.lead").expect("it is served").1;
    assert_eq!(figures["running"], json!(0), "they hold slots: {figures}");

    let inbox = Inbox::of(node.broker());
    let parents: Vec<TaskId> = first.into_iter().take(ANSWERED).collect();
    for question in inbox.open(None).await.expect("the questions") {
        if question.task.parent.as_ref().is_some_and(|parent| parents.contains(parent)) {
            inbox.answer(question.task.id, json!(1_000), "ann").await.expect("it is open");
        }
    }
    let ended = node.broker().tasks.wait(parents.clone(), Until::All, PATIENCE).await.unwrap();
    let mut results: Vec<u64> = ended.iter().map(|outcome| outcome.output.read().expect("a number")).collect();
    results.sort_unstable();
    assert_eq!(results, (0..ANSWERED as u64).map(|n| n + 1_000).collect::<Vec<_>>());
    node.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_that_wait_for_people_cost_next_to_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = sqlite::Options { sync: sqlite::Sync::Never, ..sqlite::Options::default() };
    // The owner of a store knows of all that is not finished when it is due and what it waits for, but not what it says:
    // two tasks with all that they say take four times as much. There are enough of them that the cache hides neither.
    let store = sqlite::open(folder.path().join("store.db"), options).expect("a store");
    wait("sqlite", store, 4_000, 1_280).await;
    let server = Server::start();
    let options = nats::Options { servers: vec![server.url()], ..nats::Options::new(NodeName::parse("n").unwrap()) };
    wait("nats", nats::open(options).await.expect("a broker"), 1_000, 1_024).await;
}
