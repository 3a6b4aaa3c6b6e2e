//! A node that is asked for ten times what it can do, and what that does to it.
//!
//! `overload_node memory|STORE|nats://HOST:PORT SECONDS`: first offers as much as is taken for a third of that time, by
//! which it knows its capacity; then ten times as much for that time. All the while it answers what operators ask. Prints
//! what it counted as JSON, once all that was accepted has ended.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use callboard::{Capability, Context, Error, Node, Service, json};
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::nats::Layout;
use callboard_broker::payload::Payload;
use callboard_broker::queue::Limits;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_broker::{Broker, memory, nats, sqlite};
use tokio::time::{Instant, sleep};

/// What a task takes, and how many are done at a time.
const WORK: Duration = Duration::from_millis(5);
const SLOTS: usize = 8;
/// Unfinished tasks that are accepted.
const QUEUE: usize = 500;
/// What the memory wing keeps of what is over.
const KEPT: usize = 2_000;
/// How much more than it can do it is asked for.
const TIMES: f64 = 10.0;
/// Tasks that are offered together.
const BATCH: usize = 50;
/// How often it is asked what operators ask.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long a broker may not answer, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

const CAPABILITY: Capability<u64, u64> = Capability::new("overload.work");

async fn open(place: &str) -> callboard_broker::error::Result<Broker> {
    let tasks = Limits { tasks: QUEUE, ..Limits::default() };
    match place {
        "memory" => Ok(memory::open(memory::Options {
            queue: tasks,
            finished: KEPT,
            events: KEPT,
            changes: KEPT,
            ..memory::Options::default()
        })),
        url if url.starts_with("nats://") => {
            let layout = Layout { max_tasks: QUEUE as u64, ..Layout::default() };
            let servers = vec![url.to_owned()];
            nats::open(nats::Options { servers, layout, ..nats::Options::new(NodeName::parse("n")?) }).await
        }
        store => sqlite::open(store, sqlite::Options { tasks, ..sqlite::Options::default() }),
    }
}

/// Counts what it has done.
fn work(done: &Arc<AtomicU64>) -> Service {
    let done = done.clone();
    let work = CAPABILITY.by_fn(move |_ctx: Context, n: u64| {
        let done = done.clone();
        async move {
            sleep(WORK).await;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(n)
        }
    });
    work.concurrency(SLOTS)
}

/// What became of what was offered.
#[derive(Default)]
struct Offered {
    accepted: u64,
    refused: u64,
    /// Those of which the broker said nothing in time: it may have accepted them.
    unclear: u64,
    /// Refusals that may not be tried again, in words.
    odd: BTreeSet<String>,
    slowest: Duration,
}

impl Offered {
    /// Offers some more; whether all were accepted.
    async fn offer(&mut self, broker: &Broker, many: usize) -> bool {
        let capability = CapabilityName::parse("overload.work").expect("a name");
        let task = || Task::root(RunId::fresh(), capability.clone(), Payload::of(1), broker.clock.now());
        let (began, refused) = (Instant::now(), self.refused);
        for stored in broker.tasks.submit((0..many).map(|_| task()).collect()).await {
            match stored {
                Ok(_) => self.accepted += 1,
                Err(Error::Busy { .. }) => self.refused += 1,
                Err(Error::Unavailable { .. } | Error::Unknown { .. }) => self.unclear += 1,
                Err(odd) => drop(self.odd.insert(odd.to_string())),
            }
        }
        self.slowest = self.slowest.max(began.elapsed());
        self.refused == refused
    }
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}

/// Asks what operators ask until told to end: how often, and the longest that an answer took.
async fn ask(node: Node, ends: Arc<AtomicBool>) -> (u64, Duration) {
    let (mut answers, mut slowest) = (0, Duration::ZERO);
    while !ends.load(Ordering::Relaxed) {
        for verb in ["tree", "info"] {
            let asked = Instant::now();
            let answered = node.control(verb, json!(null)).await;
            answers += u64::from(answered.is_ok());
            slowest = slowest.max(asked.elapsed());
        }
        sleep(ASK_EVERY).await;
    }
    (answers, slowest)
}

/// Whether all that was accepted has ended. A broker that does not say is asked again, for so long.
async fn is_done(broker: &Broker, until: Instant) -> callboard_broker::error::Result<bool> {
    match broker.tasks.depth().await {
        Err(Error::Unavailable { .. }) if Instant::now() < until => Ok(false),
        said => Ok(said?.iter().all(|(_, depth)| depth.pending + depth.in_progress == 0)),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [place, seconds] = &args[..] else { return Err("overload_node memory|STORE|nats://HOST:PORT SECONDS".into()) };
    let lasts = Duration::from_secs(seconds.parse()?);
    let (broker, done) = (open(place).await?, Arc::new(AtomicU64::new(0)));
    let node = Node::over(broker.clone()).name("n").serve(work(&done)).start().await?;
    let ends = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask(node.clone(), ends.clone()));

    let (mut warm, began, mut half) = (Offered::default(), Instant::now(), None);
    while began.elapsed() < lasts / 3 {
        if half.is_none() && began.elapsed() > lasts / 6 {
            half = Some((Instant::now(), done.load(Ordering::Relaxed)));
        }
        if !warm.offer(&broker, BATCH).await {
            sleep(WORK).await;
        }
    }
    let (since, before) = half.unwrap_or((began, 0));
    let capacity = (done.load(Ordering::Relaxed) - before) as f64 / since.elapsed().as_secs_f64();
    let warm_bytes = resident();

    let (mut over, began, mut offered) = (Offered::default(), Instant::now(), 0_u64);
    while began.elapsed() < lasts {
        let due = (began.elapsed().as_secs_f64() * capacity * TIMES) as u64;
        match usize::try_from(due.saturating_sub(offered)).unwrap_or(0).min(4 * BATCH) {
            0 => sleep(WORK / 5).await,
            many => {
                over.offer(&broker, many).await;
                offered += many as u64;
            }
        }
    }
    let (took, over_bytes) = (began.elapsed(), resident());
    let ended = Instant::now();
    while !is_done(&broker, ended + PATIENCE).await? {
        sleep(ASK_EVERY).await;
    }
    ends.store(true, Ordering::Relaxed);
    let (answers, slowest) = asking.await?;
    let said = json!({
        "capacity": capacity, "offered": offered, "took_s": took.as_secs_f64(),
        "accepted": over.accepted, "refused": over.refused, "unclear": warm.unclear + over.unclear, "odd": over.odd.union(&warm.odd).collect::<Vec<_>>(),
        "accepted_in_all": warm.accepted + over.accepted, "done": done.load(Ordering::Relaxed),
        "dead": broker.dead.list(0, 10).await?.len(), "warm_bytes": warm_bytes, "over_bytes": over_bytes,
        "answers": answers, "slowest_answer_ms": slowest.as_millis() as u64,
        "slowest_offer_ms": over.slowest.as_millis() as u64,
    });
    writeln!(std::io::stdout(), "{said}")?;
    node.shutdown().await?;
    Ok(())
}
