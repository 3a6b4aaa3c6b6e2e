//! Stores that lose answers, are full, refuse, or take a claim away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::broker::error::Result as Answer;
use callboard::broker::events::EventFilter;
use callboard::broker::faulty::{self, Faults};
use callboard::broker::id::TaskId;
use callboard::broker::queue::Limits;
use callboard::broker::sqlite::probe::{Fate, Point, Probe};
use callboard::broker::task::{Entry, Outcome, Record, Status, Task};
use callboard::broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, LEASE, Lease, Park, Recorded, Revoked, Submitted, TaskFilter,
    TaskView, Tasks, Until,
};
use callboard::broker::{BoxFuture, Broker, code, memory, sqlite};
use callboard::diag::{ECHO, Echo, echo};
use callboard::{Capability, Context, Error, Node, Result};
use tokio::sync::watch::Sender;
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    behind_a_line_that_loses_answers_everything_is_done_and_recorded_once,
    an_attempt_whose_claim_was_taken_away_is_dropped_and_records_nothing,
    what_a_node_brings_that_was_replaced_without_hearing_of_it_is_refused_and_counted,
}

/// A parent with steps and children, two levels deep.
async fn tree(ctx: Context, depth: u32) -> Result<u32> {
    let own: u32 = ctx.step("own", async || Ok(1)).await?;
    if depth == 0 {
        return Ok(own);
    }
    let mut children = ctx.group();
    for n in 0..3 {
        children.add(ctx.delegate(COUNT, depth - 1).key(n.to_string()));
    }
    let sum: u32 = children.await?.into_iter().sum();
    let twice: u32 = ctx.step("twice", async || Ok(sum + own)).await?;
    Ok(twice)
}

async fn behind_a_line_that_loses_answers_everything_is_done_and_recorded_once(wing: &Wing) {
    for seed in 1..=6 {
        let inner = wing.open(&format!("store-{seed}"));
        let broker = faulty::wrap(inner.clone(), Faults::everything(seed));
        let node =
            Node::over(broker).name("n").serve(COUNT.by_fn(tree).workers(2).concurrency(4)).start().await.unwrap();
        let run = loop {
            match node.submit(COUNT, 2).run("tree").await {
                Ok(run) => break run,
                Err(error) => assert!(matches!(error, Error::Unknown { .. } | Error::Unavailable { .. }), "{error}"),
            }
        };
        let value = loop {
            match run.outcome().await {
                Ok(value) => break value,
                Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "seed {seed}: {error}"),
            }
        };
        assert_eq!(value, 13, "seed {seed}");
        node.shutdown().await.unwrap();
        let filter = EventFilter { types: vec!["task.completed".into()], run: None };
        let mut ends = BTreeMap::new();
        for event in inner.events.read(filter, 1, 1_000).await.unwrap() {
            *ends.entry(event.task.unwrap()).or_insert(0) += 1;
        }
        assert!(ends.len() == 13 && ends.values().all(|times| *times == 1), "seed {seed}: {ends:?}");
        for id in ends.into_keys() {
            let log = inner.tasks.log(id).await.unwrap();
            let mut steps: Vec<_> = log.into_iter().filter_map(|record| name(record.entry)).collect();
            let all = steps.len();
            steps.sort();
            steps.dedup();
            assert_eq!(steps.len(), all, "seed {seed}: a step was recorded twice");
        }
    }
}

fn name(entry: Entry) -> Option<String> {
    if let Entry::Step { name, .. } = entry { Some(name) } else { None }
}

/// A store that does not hear signs of life. With these it also keeps silent about claims that hold no longer, as to a
/// process that is frozen.
struct Deaf(Arc<dyn Tasks>, Option<Mutex<Vec<Sender<Option<Revoked>>>>>);

impl Tasks for Deaf {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Answer<Submitted>>> {
        self.0.submit(tasks)
    }
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Answer<Vec<Lease>>> {
        Box::pin(async move {
            let mut leases = self.0.claim(claim).await?;
            if let Some(silent) = &self.1 {
                for lease in &mut leases {
                    let told = Sender::new(None);
                    lease.revoked = told.subscribe();
                    silent.lock().unwrap().push(told);
                }
            }
            Ok(leases)
        })
    }
    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Answer<()>>> {
        Box::pin(async move { fences.iter().map(|_| Ok(())).collect() })
    }
    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Answer<Fence>> {
        self.0.append(fence, entries, children)
    }
    fn release(&self, back: GiveBack) -> BoxFuture<'_, Answer<()>> {
        self.0.release(back)
    }
    fn park(&self, park: Park) -> BoxFuture<'_, Answer<()>> {
        self.0.park(park)
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Answer<Recorded>>> {
        self.0.finish(turns)
    }
    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Answer<Recorded>> {
        self.0.conclude(outcome)
    }
    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Answer<Vec<TaskId>>> {
        self.0.cancel(task, by)
    }
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Answer<TaskId>> {
        self.0.retry(task)
    }
    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Answer<Vec<Outcome>>> {
        self.0.wait(tasks, until, wait)
    }
    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Answer<Vec<Option<TaskView>>>> {
        self.0.get(tasks)
    }
    fn log(&self, task: TaskId) -> BoxFuture<'_, Answer<Vec<Record>>> {
        self.0.log(task)
    }
    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Answer<Vec<TaskView>>> {
        self.0.list(filter)
    }
    fn depth(&self) -> BoxFuture<'_, Answer<Vec<(callboard::broker::subject::CapabilityName, Depth)>>> {
        self.0.depth()
    }
}

/// Two nodes over one store, of which the first is taken for dead while it works: it is told, and nothing that it brings
/// is recorded; the second does the task as the next attempt.
async fn an_attempt_whose_claim_was_taken_away_is_dropped_and_records_nothing(wing: &Wing) {
    let stages = Arc::new(AtomicU32::new(0));
    let counted = stages.clone();
    let slow = COUNT.by_fn(move |ctx: Context, n: u32| {
        let stages = counted.clone();
        async move {
            tokio::time::sleep(LEASE * 2).await;
            stages.fetch_add(1, Ordering::SeqCst);
            let _: String = ctx.step("who", async || Ok(format!("attempt {}", ctx.attempt()))).await?;
            Ok(n + ctx.attempt())
        }
    });
    let broker = wing.broker();
    let deaf = Broker { tasks: Arc::new(Deaf(broker.tasks.clone(), None)), ..broker.clone() };
    let first = Node::over(deaf).name("first").serve(slow.clone()).start().await.unwrap();
    let run = first.submit(COUNT, 40).await.unwrap();
    a_moment().await;
    let _second = Node::over(broker).name("second").serve(slow).start().await.unwrap();
    let began = Instant::now();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (42, 2));
    assert!(began.elapsed() < LEASE * 3 + Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(stages.load(Ordering::SeqCst), 1, "the first was dropped when its claim had lapsed");
    let log = first.broker().tasks.log(TaskId::parse(run.id()).unwrap()).await.unwrap();
    let entries: Vec<_> = log.into_iter().map(|record| record.entry.kind()).collect();
    assert_eq!(entries, ["claimed", "step"]);
    let view = first.broker().tasks.get(vec![TaskId::parse(run.id()).unwrap()]).await.unwrap().remove(0).unwrap();
    assert_eq!(view.outcome.unwrap().node.unwrap().as_str(), "second");
}

/// It goes on when the other has long taken over: the step that it records and the outcome after that are refused.
async fn what_a_node_brings_that_was_replaced_without_hearing_of_it_is_refused_and_counted(wing: &Wing) {
    let slow = COUNT.by_fn(|ctx: Context, n: u32| async move {
        tokio::time::sleep(LEASE * 2).await;
        let _: String = ctx.step("who", async || Ok(format!("attempt {}", ctx.attempt()))).await?;
        Ok(n + ctx.attempt())
    });
    let broker = wing.broker();
    let silent = Broker { tasks: Arc::new(Deaf(broker.tasks.clone(), Some(Mutex::default()))), ..broker.clone() };
    let first = Node::over(silent).name("first").serve(slow.clone()).start().await.unwrap();
    let run = first.submit(COUNT, 40).await.unwrap();
    a_moment().await;
    let second = Node::over(broker).name("second").serve(slow).start().await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (42, 2));
    assert_eq!((first.metrics().refused, second.metrics().refused), (2, 0));
    assert_eq!(first.control("info", callboard::Value::Null).await.unwrap()["refused"], 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_recorded_though_the_disk_was_full_for_a_minute() {
    let full_until = Arc::new(AtomicU64::new(0));
    let (clock, until) = (callboard::broker::clock::Clock::following_tokio(), full_until.clone());
    let now = clock.clone();
    let probe = Probe::new(move |point| match point {
        Point::Commit if now.now() < until.load(Ordering::SeqCst) => Fate::DiskFull,
        _ => Fate::GoOn,
    });
    let folder = tempfile::tempdir().unwrap();
    let options = sqlite::Options { clock: clock.clone(), probe, ..sqlite::Options::default() };
    let broker = sqlite::open(folder.path().join("store"), options).unwrap();
    let ran = Arc::new(AtomicU32::new(0));
    let counted = ran.clone();
    let service = WAIT.by_fn(move |ctx, ms: u64| {
        counted.fetch_add(1, Ordering::SeqCst);
        wait(ctx, ms)
    });
    let node = Node::over(broker).serve(service).start().await.unwrap();
    let run = node.submit(WAIT, 5_000).await.unwrap();
    a_moment().await;
    full_until.store(clock.now() + 65_000, Ordering::SeqCst);
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt, ran.load(Ordering::SeqCst)), (5_000, 1, 1));
    assert!(clock.now() >= full_until.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_no_store_takes_is_a_failure_and_not_an_endless_loop() {
    const KEYS: Capability<u32, BTreeMap<(u8, u8), u8>> = Capability::new("test.keys");
    const LARGE: Capability<u32, String> = Capability::new("test.large");
    let wing = Wing::sqlite();
    let keys = KEYS.by_fn(|_ctx, _: u32| async { Ok(BTreeMap::from([((1, 2), 3)])) });
    let large = LARGE.by_fn(|_ctx, n: u32| async move { Ok("x".repeat(n as usize)) });
    let node = wing.node().serve(keys).serve(large).start().await.unwrap();
    let began = Instant::now();
    let Err(Error::Failed { failure, .. }) = node.submit(KEYS, 1).await.unwrap().outcome().await else {
        panic!("JSON has no such keys")
    };
    assert_eq!(failure.code, code::DECODE, "{}", failure.message);
    let Err(Error::Failed { failure, .. }) = node.submit(LARGE, 9 << 20).await.unwrap().outcome().await else {
        panic!("it is too large")
    };
    assert!(failure.message.contains("over the limit"), "{}", failure.message);
    assert_eq!(node.submit(LARGE, 1 << 20).await.unwrap().outcome().await.unwrap().len(), 1 << 20);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(statuses(&node).await, [Status::Failed, Status::Failed, Status::Completed]);
}

/// A queue of tasks that is full refuses at once; a parent that meets it tries again later and loses nothing.
#[tokio::test(start_paused = true)]
async fn a_full_queue_of_tasks_is_busy_for_clients_and_a_wait_for_parents() {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        ctx.delegate_all(ECHO, (0..n).map(|n| Echo { delay_ms: 20, ..echoing(&n.to_string()) })).await?;
        Ok(n)
    }
    let queue = Limits { tasks: 6, ..Limits::default() };
    let clock = callboard::broker::clock::Clock::following_tokio();
    let broker = memory::open(memory::Options { queue, clock, ..memory::Options::default() });
    let node = Node::over(broker).serve(COUNT.by_fn(parent)).serve(echo().concurrency(2)).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..6 {
        runs.push(node.submit(ECHO, Echo { delay_ms: 2_000 + n, ..echoing("x") }).await.unwrap());
    }
    let began = Instant::now();
    let Err(Error::Busy { retry_after, .. }) = node.submit(ECHO, echoing("one more")).await else {
        panic!("it is full")
    };
    assert!(retry_after > Duration::ZERO && began.elapsed() < Duration::from_millis(10));
    for run in runs {
        run.outcome().await.unwrap();
    }
    let run = node.submit(COUNT, 12).retry(20).await.unwrap();
    let reply = run.reply().await.unwrap();
    assert!(reply.value == 12 && reply.attempt > 1, "it met a full queue: attempt {}", reply.attempt);
    let done = statuses(&node).await;
    assert!(done.len() == 6 + 1 + 12 && done.iter().all(|status| *status == Status::Completed), "{done:?}");
}
