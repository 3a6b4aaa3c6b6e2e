//! What a conversation of 100 calls leaves on the disk, against the bytes of its final transcript.
//!
//! An agent talks to a tool 100 times; after each call its transcript is one message of about 8 kB longer, 800 kB in the
//! end (200,000 tokens): with `CALLBOARD_CALLS=100`. Without it there are 40 calls, because what a debug build works is
//! their square, and an empty store is allowed for, which weighs more against them.
//!
//! It is recorded in three ways: as the result of a step each time, as shared state each time, and by handing the whole of
//! it to each call. Measured is what the store takes after everything was closed. On NATS the log of facts is part of it,
//! as long as no block of it is full: the server compresses full ones. So what stays with the run is shown beside it. The
//! figures are printed: `cargo nextest run -p callboard-tests --test conversation --no-capture`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use callboard::{Capability, Context, Node, NodeBuilder, Service, StateKey, payload};
use callboard_tests::nats::Server;
use callboard_tests::programs;
use callboard_tests::random::Random;

/// The calls of a whole conversation, and of one that is tried with every change.
const WHOLE: usize = 100;
const QUICK: usize = 40;
const MESSAGE: usize = 8_000;
/// What a store takes without a conversation, which counts in a whole one: bytes.
const EMPTY: usize = 160 << 10;

static CALLS: LazyLock<usize> =
    LazyLock::new(|| std::env::var("CALLBOARD_CALLS").map_or(QUICK, |calls| calls.parse().unwrap()));

/// The bytes that a conversation may take.
fn allowed(most: f64, transcript: usize) -> f64 {
    let empty = if *CALLS >= WHOLE { 0 } else { EMPTY };
    most * transcript as f64 + empty as f64
}

/// One message of a transcript.
#[payload]
#[derive(Clone, Debug, PartialEq)]
struct Message {
    role: String,
    id: String,
    content: String,
}

type Transcript = Vec<Message>;

const STEPS: Capability<u64, usize> = Capability::new("talk.steps");
const STATE: Capability<u64, usize> = Capability::new("talk.state");
const CALLED: Capability<u64, usize> = Capability::new("talk.calls");
const TOOL: Capability<Transcript, Message> = Capability::new("talk.tool");
const TALK: StateKey<Transcript> = StateKey::run("talk");

/// All that the tool can say: the sources and pages of this repository, one after the other.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let root = programs::root();
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["agents", "broker", "docs", "runtime", "tests"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                folders.push(path)
            } else if ["rs", "md"].contains(&&*end) {
                files.push(path)
            }
        }
    }
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
});

/// Message `n` of a conversation: what a tool says that reads one file after the other.
fn message(seed: u64, n: usize) -> Message {
    let mut random = Random::new(seed);
    let from = random.below((TEXT.len() - (*CALLS + 1) * MESSAGE) as u64) as usize + n * MESSAGE;
    let said = String::from_utf8_lossy(&TEXT.as_bytes()[from..from + MESSAGE]);
    Message { role: "tool".into(), id: format!("call-{seed}-{n}"), content: said.into_owned() }
}

fn agents() -> [Service; 4] {
    let steps = STEPS.by_fn(|ctx: Context, seed: u64| async move {
        let mut talk = Transcript::new();
        for n in 0..*CALLS {
            talk = ctx
                .step(format!("turn {n}"), async || {
                    let mut talk = talk;
                    talk.push(message(seed, n));
                    Ok(talk)
                })
                .await?;
        }
        Ok(talk.len())
    });
    let state = STATE.by_fn(|ctx: Context, seed: u64| async move {
        let mut talk = Transcript::new();
        for n in 0..*CALLS {
            talk.push(message(seed, n));
            ctx.state(TALK).set(talk.clone()).await?;
        }
        Ok(talk.len())
    });
    let calls = CALLED.by_fn(|ctx: Context, seed: u64| async move {
        let mut talk = vec![message(seed, 0)];
        while talk.len() < *CALLS {
            let next = ctx.delegate(TOOL, talk.clone()).await?;
            talk.push(next);
        }
        Ok(talk.len())
    });
    let tool = TOOL.by_fn(|_ctx: Context, talk: Transcript| async move {
        let seed = talk[0].id.split('-').nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(0);
        Ok(message(seed, talk.len()))
    });
    [steps, state, calls, tool]
}

/// The bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}

fn transcript(seed: u64) -> usize {
    let talk: Transcript = (0..*CALLS).map(|n| message(seed, n)).collect();
    callboard::json!(talk).to_string().len()
}

async fn talk(node: NodeBuilder, how: Capability<u64, usize>, seed: u64) {
    let node = agents().into_iter().fold(node, NodeBuilder::serve).start().await.unwrap();
    let run = node.submit(how, seed).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), *CALLS);
    node.shutdown().await.unwrap();
}

/// Has what is committed in the file itself: whoever closes last does that, and nobody waits for it.
fn settle(store: &Path) {
    let conn = rusqlite::Connection::open(store).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_it_takes_less_than_its_transcript_or_little_more() {
    // A call is a task with a log and facts of its own.
    for (seed, how, most) in [(1, STEPS, 1.0), (2, STATE, 1.0), (3, CALLED, 1.05)] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        talk(Node::embedded().store(&store), how, seed).await;
        settle(&store);
        let (disk, all) = (bytes(folder.path()), transcript(seed));
        println!("sqlite {}: {disk} bytes for a transcript of {all}: {:.2}", how.name(), disk as f64 / all as f64);
        assert!(disk as f64 <= allowed(most, all), "{} takes {disk} bytes for {all}", how.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_nats_it_takes_less_than_its_transcript_or_little_more() {
    // A call is a task with four facts, each of which names all that the server derives facts from.
    for (seed, how, most) in [(4, STEPS, 1.0), (5, STATE, 1.0), (6, CALLED, 1.3)] {
        let server = Server::start();
        // What an empty broker takes is no matter of the conversation.
        Node::on(server.url()).name("before").start().await.unwrap().shutdown().await.unwrap();
        server.terminate();
        let told = || bytes(&server.store().join("jetstream/$G/streams/CB_EVENTS"));
        let (before, told_before) = (bytes(&server.store()), told());
        server.restart();
        talk(Node::on(server.url()).name("n"), how, seed).await;
        server.terminate();
        let (disk, all) = (bytes(&server.store()).saturating_sub(before), transcript(seed));
        let facts = told().saturating_sub(told_before);
        let (log, part) = (disk.saturating_sub(facts), |bytes: u64| bytes as f64 / all as f64);
        println!("nats {}: {disk} bytes for a transcript of {all}: {:.2}", how.name(), part(disk));
        println!("  without the facts, {log} bytes: {:.2}", part(log));
        assert!(facts > 0 && log as f64 <= allowed(1.0, all), "the log of {} takes {log} bytes for {all}", how.name());
        assert!(disk as f64 <= allowed(most, all), "{} takes {disk} bytes for {all}", how.name());
    }
}
