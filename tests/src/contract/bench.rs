//! What a check works with: a broker of the wing under test, its clock, and short ways to say common things.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::clock::{Clock, Millis};
use callboard_broker::error::{Class, Remote, Result};
use callboard_broker::event::Event;
use callboard_broker::events::EventFilter;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::messages::{Address, Message};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Status, Task};
use callboard_broker::tasks::{Claim, Fence, Finish, GiveBack, Lease, Recorded, TaskFilter, TaskView};
use callboard_broker::{BoxFuture, Broker};
use serde_json::{Value, json};

/// What a check wants of the store that it gets.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The clock.
    pub clock: Clock,
    /// How many unfinished tasks fit.
    pub max_tasks: usize,
    /// Changes between two snapshots.
    pub snapshot_every: u64,
}

/// A wing under test.
pub trait Wing: Send + Sync + 'static {
    /// Opens a new, empty store.
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker>;

    /// Opens the store that `open` made again, as after a crash: what was not acknowledged may be gone. `None`: this
    /// wing forgets at exit.
    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>>;

    /// How often it has to be asked something until what is under way has got as far as it gets.
    fn rounds(&self) -> usize {
        8
    }
}

/// A store of the wing under test.
pub struct Bench {
    wing: Arc<dyn Wing>,
    setup: Setup,
    /// The store.
    pub broker: Broker,
}

/// A server may acknowledge a message a moment before those who pull are told of it.
pub const SOON: Duration = Duration::from_secs(5);
/// How long a check may take in real time before it counts as hung.
const HUNG: Duration = Duration::from_secs(120);

/// Runs a check with time standing still but for [`Bench::pass`].
pub fn in_still_time<F: Future<Output = ()> + Send + 'static>(wing: Arc<dyn Wing>, check: fn(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        // While something blocks, tokio does not advance a paused clock by itself. This keeps a wing with threads of its
        // own from seeing time jump whenever the check waits for one of them; and it ends a check that hangs.
        let (done, until_done) = std::sync::mpsc::sync_channel::<()>(1);
        tokio::task::spawn_blocking(move || until_done.recv_timeout(HUNG));
        let bench = Bench::open(wing, Clock::following_tokio()).await;
        let year = Duration::from_secs(366 * 24 * 3600);
        let checked = tokio::time::timeout(year, tokio::spawn(check(bench))).await.expect("the check hangs");
        drop(done);
        resume(checked);
    });
}

/// Runs a check in time that flows as fast as everybody waits.
pub fn in_flowing_time<F: Future<Output = ()> + Send + 'static>(wing: Arc<dyn Wing>, check: fn(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let bench = Bench::open(wing, Clock::following_tokio()).await;
        resume(tokio::spawn(check(bench)).await);
    });
}

/// Runs a check on several threads in real time.
pub fn in_real_time<F: Future<Output = ()> + Send + 'static>(wing: Arc<dyn Wing>, check: fn(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async move {
        let bench = Bench::open(wing, Clock::system()).await;
        let checked = tokio::time::timeout(HUNG, tokio::spawn(check(bench))).await.expect("the check hangs");
        resume(checked);
    });
}

fn resume(checked: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = checked {
        std::panic::resume_unwind(failed.into_panic());
    }
}

impl Bench {
    async fn open(wing: Arc<dyn Wing>, clock: Clock) -> Self {
        let setup = Setup { clock, max_tasks: 100_000, snapshot_every: 100 };
        let broker = wing.open(setup.clone()).await;
        Self { wing, setup, broker }
    }

    /// Another store, with limits of the check's choice.
    pub async fn with(self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.setup;
        change(&mut setup);
        drop(self.broker);
        let broker = self.wing.open(setup.clone()).await;
        Self { wing: self.wing, setup, broker }
    }

    /// The same store after a crash, if the wing outlives one.
    pub async fn crash(self) -> Option<Self> {
        let broker = self.wing.reopen(self.broker, self.setup.clone()).await?;
        Some(Self { wing: self.wing, setup: self.setup, broker })
    }

    /// Lets time pass, and whatever was due be done.
    pub async fn pass(&self, time: Duration) {
        self.settle().await;
        tokio::time::advance(time).await;
        self.settle().await;
    }

    /// Lets everything that is under way get as far as it gets without time passing.
    pub async fn settle(&self) {
        for _ in 0..self.wing.rounds() {
            // Any call makes a wing do what is due; its answer comes after what was asked before.
            self.broker.tasks.depth().await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// Now.
    pub fn now(&self) -> Millis {
        self.setup.clock.now()
    }

    /// The root task of run `run` for capability `x`.
    pub fn task(&self, run: &str) -> Task {
        Task::root(RunId::parse(run).unwrap(), capability("x"), json!({ "run": run }).into(), self.now())
    }

    /// Submits a root task for capability `x`.
    pub async fn submit(&self, run: &str) -> TaskId {
        self.submit_task(self.task(run)).await
    }

    /// Submits a task that has to be new.
    pub async fn submit_task(&self, task: Task) -> TaskId {
        let id = task.id.clone();
        let submitted = self.broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        assert_eq!(submitted, callboard_broker::tasks::Submitted::New);
        id
    }

    /// Claims up to `slots` tasks for capability `x` without waiting.
    pub async fn claim(&self, slots: usize) -> Vec<Lease> {
        self.broker.tasks.claim(claim(slots, Duration::ZERO)).await.unwrap()
    }

    /// Claims one task that has to be there.
    pub async fn claim_one(&self) -> Lease {
        self.claim_all(1).await.remove(0)
    }

    /// Claims so many tasks, which have to be there.
    pub async fn claim_all(&self, many: usize) -> Vec<Lease> {
        let mut leases = Vec::new();
        while leases.len() < many {
            let more = self.broker.tasks.claim(claim(many - leases.len(), SOON)).await.unwrap();
            assert!(!more.is_empty(), "{many} tasks were to be there, and {} are", leases.len());
            leases.extend(more);
        }
        leases
    }

    /// Submits and claims a root task.
    pub async fn begin(&self, run: &str) -> Lease {
        let id = self.submit(run).await;
        let lease = self.claim_one().await;
        assert_eq!(lease.task.id, id);
        lease
    }

    /// Records an outcome.
    pub async fn finish(&self, turn: Finish) -> Result<Recorded> {
        self.broker.tasks.finish(vec![turn]).await.remove(0)
    }

    /// Completes a task with `output`.
    pub async fn complete(&self, lease: &Lease, output: Value) {
        assert_eq!(self.finish(self.completed(lease, output)).await.unwrap(), Recorded::New);
    }

    /// The turn that completes a task.
    pub fn completed(&self, lease: &Lease, output: Value) -> Finish {
        let outcome = Outcome {
            output: output.into(),
            attempt: lease.attempt,
            ..Outcome::of(&lease.task, Status::Completed, None, self.now())
        };
        Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome, dead: None }
    }

    /// The turn that fails a task.
    pub fn failed(&self, lease: &Lease, why: &str) -> Finish {
        let outcome = Outcome {
            attempt: lease.attempt,
            ..Outcome::of(&lease.task, Status::Failed, Some(failure(why)), self.now())
        };
        Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome, dead: None }
    }

    /// A task that has to be there, with where it stands.
    pub async fn view(&self, task: &TaskId) -> TaskView {
        self.broker.tasks.get(vec![task.clone()]).await.unwrap().remove(0).expect("the task is there")
    }

    /// The log of a task, as words: `claimed 2`, `released retry`, `step a`, `delegated k`.
    pub async fn log(&self, task: &TaskId) -> Vec<String> {
        let log = self.broker.tasks.log(task.clone()).await.unwrap();
        assert!(log.iter().zip(1..).all(|(record, n)| record.n == n), "records are numbered without gaps: {log:?}");
        log.iter().map(|record| words(&record.entry)).collect()
    }

    /// All events, page by page.
    pub async fn events(&self) -> Vec<Event> {
        self.events_that(EventFilter::default()).await
    }

    /// All events that pass a filter, page by page.
    pub async fn events_that(&self, filter: EventFilter) -> Vec<Event> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let from = all.last().map_or(1, |event| event.seq + 1);
            let page = self.broker.events.read(filter.clone(), from, 1_000).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// The types of all events of a task, in order.
    pub async fn story(&self, task: &TaskId) -> Vec<String> {
        let events = self.events().await;
        events.into_iter().filter(|event| event.task.as_ref() == Some(task)).map(|event| event.kind).collect()
    }

    /// All tasks, page by page.
    pub async fn tasks(&self) -> Vec<TaskView> {
        let mut all: Vec<TaskView> = Vec::new();
        loop {
            let filter = TaskFilter { after: all.last().map(|view| view.seq), ..TaskFilter::default() };
            let page = self.broker.tasks.list(filter).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }
}

/// A capability.
pub fn capability(name: &str) -> CapabilityName {
    CapabilityName::parse(name).unwrap()
}

/// A node.
pub fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// A claim of node `n` for capability `x`.
pub fn claim(slots: usize, wait: Duration) -> Claim {
    Claim {
        capability: capability("x"),
        slots,
        bulk: slots,
        node: node("n"),
        wait,
        declined: Vec::new(),
        serving: None,
    }
}

/// A release at no delay.
pub fn give_back(fence: &Fence, reason: callboard_broker::task::Release) -> GiveBack {
    GiveBack {
        fence: fence.clone(),
        reason,
        error: None,
        delay: Duration::ZERO,
        agent: Some("worker".into()),
        begun: true,
    }
}

/// A step of a log.
pub fn step(name: &str) -> Entry {
    Entry::Step { name: name.into(), value: Payload::of(name.to_owned()), input: None }
}

/// The record that delegates a child.
pub fn delegated(child: &Task) -> Entry {
    Entry::Delegated {
        key: child.key.clone().unwrap(),
        child: child.id.clone(),
        capability: child.capability.clone(),
        input_hash: child.input.content_hash().unwrap(),
    }
}

/// What an agent says when it gives up.
pub fn failure(why: &str) -> Remote {
    Remote {
        class: Class::Permanent,
        code: callboard_broker::code::FAILED.into(),
        message: why.into(),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    }
}

/// A message to the agent `to`, with `limit` to be answered or taken.
pub fn message(to: &str, body: impl Into<Value>, limit: Duration) -> Message {
    Message {
        to: Address::Agent(to.into()),
        capability: capability("x"),
        from: "asker".into(),
        body: body.into().into(),
        deadline: tokio::time::Instant::now() + limit,
        run: None,
        hops: Vec::new(),
        traceparent: None,
    }
}

fn words(entry: &Entry) -> String {
    match entry {
        Entry::Claimed { attempt, .. } => format!("claimed {attempt}"),
        Entry::Released { reason, .. } => format!("released {reason:?}").to_lowercase(),
        Entry::Step { name, .. } => format!("step {name}"),
        Entry::Delegated { key, .. } => format!("delegated {key}"),
        Entry::Parked { on } => format!("parked {}", on.len()),
        Entry::Intent { name, .. } => format!("intent {name}"),
        Entry::Effect { name, .. } => format!("effect {name}"),
        Entry::Undone { name } => format!("undone {name}"),
        Entry::Died { beside, .. } => format!("died beside {beside}"),
    }
}
