//! Runs of earlier releases, replayed by this one; and run logs that are damaged.
//!
//! `golden/run-<release>.json` is a run with every kind of record, as `callboard workflow export` writes it. It is replayed
//! for as long as there are later releases: agents that are as they were come to what was recorded. A release makes its own
//! with `scripts/golden`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callboard::broker::id::RunId;
use callboard::broker::payload::Payload;
use callboard::broker::{Broker, memory, sqlite};
use callboard::human::Question;
use callboard::inbox::Inbox;
use callboard::replay::{Replay, RunLog};
use callboard::{Capability, Context, Failure, Node, NodeBuilder, Service, json};
use callboard_tests::nats::Server;
use callboard_tests::random::Random;

const LEAD: Capability<String, String> = Capability::new("golden.lead");
const COUNT: Capability<u32, u32> = Capability::new("golden.count");
const BROKEN: Capability<u32, u32> = Capability::new("golden.broken");

/// Agents that leave every kind of record, the same in every release.
fn agents() -> [Service; 3] {
    let lead = LEAD.by_fn(|ctx: Context, topic: String| async move {
        let plan: Vec<u32> = ctx.step("plan", async || Ok(vec![1, 2])).await?;
        let prompt = format!("say something of {topic}");
        let said: String = ctx.step_from("model", &prompt, async || Ok("x".repeat(6_000))).await?;
        let attempt = ctx.attempt();
        let pay = async || if attempt < 2 { Err(Failure::transient("refused").not_done()) } else { Ok(7_u32) };
        let paid: u32 = ctx.effect("pay", pay).await?;
        let mailed: String = ctx.effect_keyed("mail", async |key: String| Ok(key)).await?;
        let mut sum = 0;
        for n in plan {
            sum += ctx.delegate(COUNT, n).await?;
        }
        let nothing = ctx.delegate(BROKEN, 1).retry(1).or_skip(0).await?;
        let more: u32 = ctx.human(Question::new("how many more?")).await?;
        Ok(format!("{topic}: {} {paid} {} {sum} {nothing} {more}", said.len(), mailed.ends_with("/mail")))
    });
    let count = COUNT.by_fn(|_ctx: Context, n: u32| async move { Ok(n * 10) });
    let broken = BROKEN.by_fn(|_ctx: Context, _: u32| async move { Err(Failure::permanent("broken")) });
    [lead, count, broken]
}

/// Does the run, on whichever wing.
async fn recorded(node: NodeBuilder) -> RunLog {
    let node = agents().into_iter().fold(node, NodeBuilder::serve).start().await.unwrap();
    let run = node.submit(LEAD, "otters".into()).run("golden").await.unwrap();
    let inbox = Inbox::of(node.broker());
    loop {
        if let Some(asked) = inbox.open(None).await.unwrap().pop() {
            inbox.answer(asked.task.id, json!(5), "ann").await.unwrap();
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(run.outcome().await.unwrap(), "otters: 6000 7 true 30 0 5");
    RunLog::of(node.broker(), &RunId::parse("golden").unwrap()).await.unwrap()
}

/// What a log says, without times, places and who was when.
fn said(log: &RunLog) -> Vec<String> {
    let line = |logged: &callboard::replay::Logged| {
        let (view, outcome) = (&logged.view, logged.view.outcome.as_ref().unwrap());
        // When a task that waits for a person is parked, and on which claim it goes on, is a matter of time.
        let records = logged
            .log
            .iter()
            .filter(|record| record.entry.key().is_some())
            .map(|record| format!("{} {:?}", record.entry.kind(), record.entry.value()));
        let records: Vec<String> = records.collect();
        let error = outcome.error.as_ref().map(|error| (&error.code, &error.message));
        let ended = (&outcome.output, error, &outcome.degraded, outcome.attempt);
        format!("{} {:?} {} {ended:?} {records:?}", view.task.id, view.task.key, view.task.capability)
    };
    log.tasks.iter().map(line).collect()
}

async fn replays(broker: &Broker) -> u64 {
    let replay = agents().into_iter().fold(Replay::of(broker), Replay::serve);
    let report = replay.run("golden").await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    report.records()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn runs() -> Vec<(String, String)> {
    let files = std::fs::read_dir(golden()).unwrap().map(|file| file.unwrap().path());
    let runs = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    runs.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

#[tokio::test]
async fn a_run_of_every_release_replays_identical() {
    let runs = runs();
    assert!(!runs.is_empty());
    for (name, text) in runs {
        let log = RunLog::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let records = replays(&log.broker()).await;
        assert!(records >= 8, "{name}: {records}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wing_records_the_same() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let store = sqlite::open(folder.path().join("store.db"), sqlite::Options::default()).unwrap();
    let memory = memory::open(memory::Options::default());
    let logs = [
        recorded(Node::over(memory).name("n")).await,
        recorded(Node::over(store).name("n")).await,
        recorded(Node::on(server.url()).name("n")).await,
    ];
    let (_, text) = runs().pop().unwrap();
    let kept = said(&RunLog::read(&text).unwrap());
    for log in logs {
        assert_eq!(said(&log), kept);
        let read = RunLog::read(&log.write().unwrap()).unwrap();
        assert_eq!(read, log, "what was written is read back");
        replays(&read.broker()).await;
    }
}

#[test]
fn a_run_log_that_was_changed_is_never_believed() {
    let mut random = Random::from_env("CALLBOARD_FLIP_SEED", 7);
    let (_, text) = runs().pop().unwrap();
    let written = RunLog::read(&text).unwrap();
    let flips = std::env::var("CALLBOARD_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let (mut refused, mut harmless) = (0, 0);
    for n in 0..flips {
        let mut bytes = text.clone().into_bytes();
        let at = random.below(bytes.len() as u64) as usize;
        match n % 3 {
            0 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << random.below(8),
        }
        let read = String::from_utf8(bytes).ok().and_then(|text| RunLog::read(&text).ok());
        match read {
            None => refused += 1,
            // White space, and the case of a digit of no number.
            Some(read) if read == written => harmless += 1,
            Some(_) => panic!("change {n} at {at} was believed"),
        }
    }
    println!("of {flips} changes {refused} were refused and {harmless} changed nothing");
    assert!(refused > flips / 2);
    let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(RunLog::read(&newer).unwrap_err().to_string().contains("newer release"));
    let other = Payload::from_json(text).unwrap();
    assert!(RunLog::read(other.json().unwrap()).is_ok());
}

/// Writes the golden run of this release: `scripts/golden`.
#[tokio::test]
#[ignore = "writes a golden file"]
async fn write_golden_run() {
    let log = recorded(Node::embedded().name("n")).await;
    let file = golden().join(format!("run-{}.json", env!("CARGO_PKG_VERSION")));
    std::fs::write(file, log.write().unwrap() + "\n").unwrap();
}
