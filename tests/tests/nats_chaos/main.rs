//! Real nodes as processes against a real broker, while both are killed, frozen, drained and cut off: nothing is lost,
//! nothing is recorded twice, and what a node held runs elsewhere in time.
//!
//! Each round stores a batch of tasks and does one thing to one node or to the broker, as a seed says. The judge reads
//! what the broker has stored and what the agents have noted in files of their own, and no counter of the product's.
//! `CHAOS_SEED` repeats a schedule; `CHAOS_ROUNDS` asks for more rounds of the usual mixture; `CHAOS_KILLS`,
//! `CHAOS_FREEZES`, `CHAOS_BROKERS`, `CHAOS_DRAINS`, `CHAOS_CUTS` and `CHAOS_DISCONNECTS` ask for so many of each instead.
#![cfg(unix)]

mod fleet;
mod redelivered;
mod verdict;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use callboard_broker::Broker;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::nats::{self, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_broker::tasks::Until;
use callboard_tests::bounds::within;
use callboard_tests::nats::{Server, recorded};
use callboard_tests::random::Random;
use tokio::time::sleep;

use fleet::{BEHIND_PROXY, Fleet, WORK};
use verdict::{Evidence, What, quantile};

/// Tasks in a batch: half before the fault, half while it lasts.
const BATCH: usize = 6;
/// How long a task takes at least, and how much longer at most, in ms.
const WORK_MS: (u64, u64) = (150, 450);
/// The longest that a batch may take, whatever happens.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long nothing is looked at.
const BRIEFLY: Duration = Duration::from_millis(20);
/// How many of the slowest are shown.
const SLOWEST: usize = 3;
/// Rounds of the usual mixture, unless told otherwise.
const ROUNDS: usize = 40;
/// Of 20 rounds of the usual mixture.
const MIXTURE: [(What, usize, &str); 6] = [
    (What::Kill, 12, "CHAOS_KILLS"),
    (What::Freeze, 2, "CHAOS_FREEZES"),
    (What::Broker, 2, "CHAOS_BROKERS"),
    (What::Drain, 2, "CHAOS_DRAINS"),
    (What::Cut, 1, "CHAOS_CUTS"),
    (What::Disconnect, 1, "CHAOS_DISCONNECTS"),
];

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What is done in each round, in an order that the seed says.
fn schedule(random: &mut Random) -> Vec<What> {
    let given = MIXTURE.iter().any(|(.., variable)| number(variable).is_some());
    let rounds = number("CHAOS_ROUNDS").unwrap_or(ROUNDS);
    let mut all = Vec::new();
    for (what, share, variable) in MIXTURE {
        let many = if given { number(variable).unwrap_or(0) } else { (rounds * share).div_ceil(20) };
        all.extend(std::iter::repeat_n(what, many));
    }
    for n in (1..all.len()).rev() {
        all.swap(n, random.below(n as u64 + 1) as usize);
    }
    if !given {
        all.truncate(rounds);
    }
    all
}

/// Who submits: a client that does no work.
async fn client(url: String) -> Broker {
    let name = NodeName::parse("client").unwrap();
    nats::open(Options { servers: vec![url], works: false, ..Options::new(name) }).await.unwrap()
}

/// Stores a task for each of these times; those that were accepted.
async fn submit(client: Broker, work: Vec<u64>) -> Vec<TaskId> {
    let now = client.clock.now();
    let task = |ms| Task::root(RunId::fresh(), CapabilityName::parse(WORK).unwrap(), Payload::of(ms), now);
    let tasks: Vec<Task> = work.into_iter().map(task).collect();
    let answers = client.tasks.submit(tasks.clone()).await;
    let mut accepted = Vec::new();
    for (task, answer) in tasks.into_iter().zip(answers) {
        match answer {
            Ok(_) => accepted.push(task.id),
            Err(error) => println!("not accepted: {error}"),
        }
    }
    accepted
}

/// Waits until these have ended; patient with a broker that is down.
async fn ended(client: Broker, ids: Vec<TaskId>) {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        let ended = client.tasks.wait(ids.clone(), Until::All, Duration::from_secs(2)).await;
        if ended.is_ok_and(|ended| ended.len() == ids.len()) {
            return;
        }
    }
}

/// Does something to somebody. The broker's turn takes as long as it is down, the others' go on beside what follows.
async fn strike(what: What, fleet: &mut Fleet, random: &mut Random) {
    let well = fleet.well();
    let someone = well[random.below(well.len() as u64) as usize];
    match what {
        What::Kill => fleet.kill(someone, random.below(1_500)),
        What::Freeze => fleet.freeze(someone, 3_000 + random.below(3_000)),
        What::Drain => fleet.drain(someone),
        What::Broker => fleet.restart_broker(200 + random.below(1_800)).await,
        What::Cut => fleet.cut(Some(200 + random.below(4_000))),
        What::Disconnect => fleet.cut(None),
    }
}

/// One round: half a batch, a fault, the other half, until all of it is done. Returns what was accepted.
async fn round(what: What, fleet: &mut Fleet, client: &Broker, random: &mut Random) -> Vec<TaskId> {
    // The fault must leave somebody to go on.
    let at_the_proxy = matches!(what, What::Cut | What::Disconnect);
    while fleet.well().len() < 2 || at_the_proxy && !fleet.well().contains(&BEHIND_PROXY) {
        sleep(BRIEFLY).await;
        fleet.tend();
    }
    let mut work = || (0..BATCH / 2).map(|_| WORK_MS.0 + random.below(WORK_MS.1)).collect();
    let (first, second) = (work(), work());
    let mut accepted = submit(client.clone(), first).await;
    sleep(Duration::from_millis(20 + random.below(130))).await;
    let more = tokio::spawn(submit(client.clone(), second));
    strike(what, fleet, random).await;
    accepted.extend(more.await.unwrap());
    let mut waiting = tokio::spawn(ended(client.clone(), accepted.clone()));
    while !waiting.is_finished() {
        // Whether it is over by now is asked again above.
        let _ = tokio::time::timeout(BRIEFLY, &mut waiting).await;
        fleet.tend();
    }
    accepted
}

fn distribution(name: &str, figures: &[(u64, String)]) {
    let [half, most, all] = [0.5, 0.99, 1.0].map(|share| quantile(figures, share));
    println!("{name}: {} tasks, p50 {half} ms, p99 {most} ms, max {all} ms", figures.len());
    figures.iter().rev().take(SLOWEST).for_each(|(_, told)| println!("    {told}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_recorded_twice_and_takeovers_are_quick() {
    let (began, mut random) = (Instant::now(), Random::from_env("CHAOS_SEED", 1));
    let schedule = schedule(&mut random);
    let mut fleet = Fleet::start();
    let client = client(fleet.server.url()).await;
    let mut accepted = BTreeSet::new();
    for what in &schedule {
        accepted.extend(round(*what, &mut fleet, &client, &mut random).await.iter().map(ToString::to_string));
    }
    fleet.recover().await;
    let submitted = schedule.len() * (BATCH / 2) * 2;
    let evidence = Evidence {
        records: recorded::records(&fleet.server),
        executions: fleet.executions(),
        faults: std::mem::take(&mut fleet.faults),
        accepted,
    };
    let count = |what| schedule.iter().filter(|one| **one == what).count();
    let each: Vec<String> = MIXTURE.iter().map(|(what, ..)| format!("{} {what:?}", count(*what))).collect();
    println!("rounds {} in {} s: {}", schedule.len(), began.elapsed().as_secs(), each.join(", "));
    let (lost, twice, failed) = (evidence.lost(), evidence.twice(), evidence.failed());
    println!(
        "submitted {submitted}, accepted {}, lost {}, recorded twice {}, failed {}",
        evidence.accepted.len(),
        lost.len(),
        twice.len(),
        failed.len()
    );
    let ((extra, unexplained), stale, mistaken) = (evidence.extra(), evidence.stale(), evidence.mistaken());
    println!("extra executions {extra}, of them without a cause {}", unexplained.len());
    println!("records of who was replaced {}, takeovers from healthy nodes {}", stale.len(), mistaken.len());
    println!("left in the queue {}", recorded::queued(&mut fleet.server.wire()));
    let (kills, freezes) = (evidence.takeovers(What::Kill), evidence.takeovers(What::Freeze));
    distribution("running elsewhere after a kill", &kills);
    distribution("running elsewhere after a freeze", &freezes);
    distribution("from stored to running", &evidence.starts());
    let found: Vec<String> = [lost, twice, failed, stale, mistaken, unexplained].concat();
    assert!(found.is_empty(), "{}\n{}", found.join("\n"), evidence.about(&found));
    let slow = |figures: &[(u64, String)], limit| -> Vec<String> {
        figures.iter().filter(|(ms, _)| *ms >= limit).map(|(_, told)| told.clone()).collect()
    };
    let slow = [slow(&kills, 1_000), slow(&freezes, 3_000)].concat();
    if !slow.is_empty() {
        println!("too slow:\n{}", evidence.about(&slow));
    }
    assert!(evidence.accepted.len() * 100 >= submitted * 95, "at least 95 % are accepted");
    let late = |figures: &[(u64, String)]| Duration::from_millis(quantile(figures, 0.99));
    within("99 % are quick after a kill", late(&kills), Duration::from_secs(1));
    within("99 % are quick after a freeze", late(&freezes), Duration::from_secs(3));
}

/// The negative control: two writers of an outcome that do not say which record they follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_naive_outcome_write_is_found() {
    let server = Server::start();
    let client = client(server.url()).await;
    let [task] = &submit(client, vec![1]).await[..] else { panic!("it is accepted") };
    let subject = format!("cb.v1.run.{}.{task}.completed", task.run());
    for writer in ["one", "two"] {
        let body = serde_json::json!({ "task": task, "output": writer }).to_string();
        server.wire().request(&subject, body.as_bytes()).unwrap();
    }
    let accepted = BTreeSet::from([task.to_string()]);
    let evidence = Evidence { records: recorded::records(&server), accepted, ..Evidence::default() };
    assert_eq!(evidence.twice(), [task.to_string()]);
    assert_eq!(evidence.lost(), [""; 0]);
}
