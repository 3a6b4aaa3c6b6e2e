//! Work over a bad line: everything is tried again until it is known, and in the end nothing was lost or done twice.
//!
//! Each storm runs once for each of [`SEEDS`]; the seed of a failure is on stderr. The line is
//! [`callboard_broker::faulty`], time flows as fast as everybody waits, and the questions at the end are asked
//! over the good line behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::events::EventFilter;
use callboard_broker::faulty::{self, Faults};
use callboard_broker::messages::Address;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::task::{Release, Status, Task};
use callboard_broker::tasks::{Lease, Until};
use callboard_broker::{BoxFuture, Broker};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bench::{Bench, Setup, Wing, claim, give_back, message, step};
use super::invariants;

/// Each storm blows with these.
pub const SEEDS: std::ops::Range<u64> = 1..13;

/// Any wing behind a bad line.
pub struct Behind<W> {
    /// The wing.
    pub wing: W,
    /// The line; each store that is opened gets the next seed.
    pub line: Faults,
    /// How many were opened.
    opened: AtomicU64,
}

impl<W> Behind<W> {
    /// A wing behind a line.
    pub fn new(wing: W, line: Faults) -> Self {
        Self { wing, line, opened: AtomicU64::new(0) }
    }

    fn behind(&self, broker: Broker) -> Broker {
        let seed = self.line.seed + self.opened.fetch_add(1, Ordering::Relaxed);
        eprintln!("the line's seed is {seed}");
        faulty::wrap(broker, Faults { seed, ..self.line.clone() })
    }
}

impl<W: Wing> Wing for Behind<W> {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move { self.behind(self.wing.open(setup).await) })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async move { Some(self.behind(self.wing.reopen(broker, setup).await?)) })
    }
}

/// A store, and the same store over a bad line.
async fn storm(b: Bench, seed: u64) -> (Arc<Bench>, Broker) {
    eprintln!("the line's seed is {seed}");
    let b = b.with(|_| {}).await;
    let line = faulty::wrap(b.broker.clone(), Faults::everything(seed));
    (Arc::new(b), line)
}

fn again(b: Arc<Bench>) -> Bench {
    Arc::into_inner(b).expect("everybody has gone home")
}

/// Asks until there is an answer.
async fn insist<T, F: Future<Output = Result<T>>>(act: impl Fn() -> F) -> T {
    loop {
        match act().await {
            Ok(answer) => return answer,
            Err(Error::Unknown { .. } | Error::Unavailable { .. } | Error::Busy { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Every task that was submitted ends exactly once, with its own result, whatever was lost on the way.
pub async fn every_task_ends_once_with_its_own_result(mut b: Bench) {
    const TASKS: u64 = 40;
    for seed in SEEDS {
        let (bench, line) = storm(b, seed).await;
        let far = bench.now() + 1_000 * 24 * 3_600_000;
        let ids: Vec<_> = (0..TASKS).map(|n| bench.task(&format!("t{n}")).id).collect();
        let mut everybody = JoinSet::new();
        for (client, worker) in (0..3).map(|n| (n, line.clone())) {
            let tasks: Vec<_> = (0..TASKS).filter(|n| n % 3 == client).map(|n| bench.task(&format!("t{n}"))).collect();
            everybody.spawn(async move {
                for task in tasks {
                    let task = Task { deadline: far, ..task };
                    insist(|| async { worker.tasks.submit(vec![task.clone()]).await.remove(0) }).await;
                }
            });
        }
        let workers: JoinSet<()> = (0..4).map(|_| work(bench.clone(), line.clone())).collect();
        everybody.join_all().await;
        let done = insist(|| line.tasks.wait(ids.clone(), Until::All, Duration::from_secs(24 * 3_600))).await;
        assert_eq!(done.len() as u64, TASKS);
        drop(workers);

        let (tasks, events) = (bench.tasks().await, bench.events().await);
        assert_eq!(tasks.len() as u64, TASKS);
        for view in &tasks {
            assert_eq!(view.status, Status::Completed);
            assert_eq!(view.outcome.as_ref().unwrap().output, view.task.input, "its own result");
            assert!(bench.log(&view.task.id).await.iter().filter(|words| *words == "step half").count() <= 1);
        }
        invariants::accounted(&tasks).unwrap();
        invariants::told(&tasks, &events).unwrap();
        invariants::gapless(&events).unwrap();
        tokio::task::yield_now().await;
        b = again(bench);
    }
}

/// A worker that does its best: half of the work is a recorded step, which is done once; some attempts fail.
async fn work(b: Arc<Bench>, line: Broker) {
    loop {
        let leases = line.tasks.claim(claim(2, Duration::from_secs(5))).await.unwrap_or_default();
        for lease in leases {
            attempt(&b, &line, lease).await;
        }
    }
}

async fn attempt(b: &Bench, line: &Broker, mut lease: Lease) {
    let half = lease.log.iter().any(|record| record.entry == step("half"));
    if !half {
        match line.tasks.append(lease.fence.clone(), vec![step("half")], Vec::new()).await {
            Ok(fence) => lease.fence = fence,
            // It may have been written: this attempt does not know what it has seen, so it leaves the rest to the next.
            Err(Error::Unknown { .. } | Error::Replaced) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
    if lease.attempt == 1 && lease.task.id.as_str().ends_with('3') {
        let back = || line.tasks.release(give_back(&lease.fence, Release::Retry));
        return match back().await {
            Ok(()) | Err(Error::Unknown { .. } | Error::Replaced) => {}
            Err(other) => panic!("{other:?}"),
        };
    }
    let turn = b.completed(&lease, lease.task.input.value().unwrap());
    loop {
        match line.tasks.finish(vec![turn.clone()]).await.remove(0) {
            Err(Error::Unknown { .. }) => {}
            Ok(_) | Err(Error::Replaced) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// No acknowledged count is lost and none is counted twice; one whose answer was lost is looked up.
pub async fn every_acknowledged_count_is_there_once(mut b: Bench) {
    let key = Key::parse("global.count").unwrap();
    for seed in SEEDS {
        let (bench, line) = storm(b, seed).await;
        let counters: JoinSet<Vec<String>> = (0..4).map(|n| count(line.clone(), key.clone(), n)).collect();
        let mut counted: Vec<String> = counters.join_all().await.into_iter().flatten().collect();
        let history = bench.broker.states.history(key.clone()).await.unwrap();
        invariants::chained(&history).unwrap();
        let mut there: Vec<String> = history.iter().map(|change| change.by.clone()).collect();
        counted.sort();
        there.sort();
        assert_eq!(counted, there, "what was counted, by who counted it");
        let counts: Vec<u64> = history.iter().map(|change| change.value.as_ref().unwrap().read().unwrap()).collect();
        assert!(counts.iter().copied().eq(1..=counts.len() as u64), "{counts:?}");
        b = again(bench);
    }
}

/// Counts up 15 times; the marks under which it did.
async fn count(line: Broker, key: Key, n: u32) -> Vec<String> {
    let mut marks = Vec::new();
    for round in 0..15 {
        let mark = format!("counter-{n}-{round}");
        loop {
            let there = insist(|| line.states.get(vec![key.clone()])).await.remove(0);
            let (count, version) = there.map_or((0, 0), |e| (e.value.read::<u64>().unwrap(), e.version));
            let (expect, value) = (Expect::Version(version), Some(Payload::of(count + 1)));
            let write = Write { key: key.clone(), expect, value, by: mark.clone(), task: None };
            match line.states.put(vec![write]).await.remove(0).unwrap() {
                Put::Applied(_) => break,
                Put::Conflict(_) => {}
                Put::Unknown => {
                    let history = insist(|| line.states.history(key.clone())).await;
                    if history.iter().any(|change| change.by == mark) {
                        break;
                    }
                }
            }
        }
        marks.push(mark);
    }
    marks
}

/// Every ask ends by its deadline, in its own answer or in none.
pub async fn every_ask_ends_by_its_deadline_in_its_own_answer_or_none(mut b: Bench) {
    const ASKS: u64 = 200;
    for seed in SEEDS {
        let (bench, line) = storm(b, seed).await;
        let inbox = line.messages.serve(Address::Agent("clerk".into()), 1_000);
        let clerk = tokio::spawn(async move {
            loop {
                let incoming = inbox.next().await;
                let asked: u64 = incoming.message.body.read().unwrap();
                incoming.reply.unwrap().send(Ok(Payload::of(asked + 1_000)));
            }
        });
        let asks: JoinSet<bool> = (0..ASKS)
            .map(|n| {
                let line = line.clone();
                async move {
                    let deadline = Instant::now() + Duration::from_secs(1);
                    let answer = line.messages.ask(message("clerk", n, Duration::from_secs(1))).await;
                    assert!(Instant::now() <= deadline + Duration::from_millis(100));
                    match answer {
                        Ok(answer) => assert_eq!(answer.read::<u64>().unwrap(), n + 1_000),
                        Err(Error::Deadline { .. }) => return false,
                        Err(other) => panic!("{other:?}"),
                    }
                    true
                }
            })
            .collect();
        let answered = asks.join_all().await.into_iter().filter(|answered| *answered).count() as u64;
        clerk.abort();
        let counts = line.messages.counts();
        assert_eq!(counts.answered, answered);
        assert!(answered > ASKS / 2 && answered < ASKS, "some were lost and most were not: {answered}");
        assert!(counts.late > 0, "late and second answers are counted");
        b = again(bench);
    }
}

/// Facts whose answer was lost may be there or not; those that were acknowledged are there once, at their number.
pub async fn every_acknowledged_fact_is_there_at_its_number(mut b: Bench) {
    for seed in SEEDS {
        let (bench, line) = storm(b, seed).await;
        let writers: JoinSet<BTreeMap<u64, u64>> = (0..4).map(|n| publish(line.clone(), n)).collect();
        let acknowledged: BTreeMap<u64, u64> = writers.join_all().await.into_iter().flatten().collect();
        let events = bench.events().await;
        invariants::gapless(&events).unwrap();
        for (seq, fact) in acknowledged {
            assert_eq!(events[seq as usize - 1].payload.read::<u64>().unwrap(), fact);
        }
        let mut stream = insist(|| line.events.follow(EventFilter::default(), 1)).await;
        for event in events {
            assert_eq!(stream.next().await.unwrap(), event);
        }
        drop(stream);
        b = again(bench);
    }
}

async fn publish(line: Broker, n: u64) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::new();
    for round in 0..25 {
        let fact = n * 1_000 + round;
        let new = callboard_broker::event::NewEvent {
            kind: "shop.paid".into(),
            agent: format!("till {n}"),
            run: None,
            task: None,
            payload: Payload::of(fact),
        };
        match line.events.publish(vec![new]).await.remove(0) {
            Ok(seq) => assert!(acknowledged.insert(seq, fact).is_none()),
            Err(Error::Unknown { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    acknowledged
}
