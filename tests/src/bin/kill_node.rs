//! A node that is there to be killed: it does the same run whenever it is started, until that is done.
//!
//! `kill_node STORE LEDGER RUN [WRITE]`: with a number of a write, it aborts itself there. Says `ready` when it can be
//! asked to stop, and at last `done` when the run has its outcome, or `drained`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard::broker::sqlite::probe::{Fate, Probe};
use callboard::broker::sqlite::{self, Options};
use callboard::workflow::Workflow;
use callboard::{Capability, Context, Node, Result, Service, Stateful, StatefulAgent, payload, stateful};
use callboard_tests::process::ledger;

/// Leaves of a lead.
const LEAVES: u64 = 3;

const LEAD: Capability<String, Report> = Capability::new("kill.lead");
const LEAF: Capability<u64, u64> = Capability::new("kill.leaf");
const TALLY: Capability<String, u64> = Capability::new("kill.tally");

#[payload]
#[derive(Clone)]
struct Report {
    text: String,
}

type Ledger = Arc<File>;

/// Takes its milliseconds, after it has said that it began.
fn leaf(ledger: &Ledger) -> Service {
    let ledger = ledger.clone();
    LEAF.by_fn(move |ctx: Context, ms: u64| {
        let ledger = ledger.clone();
        async move {
            ledger::note(&ledger, "handle", ctx.task_id(), ctx.attempt())?;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    })
}

/// Counts in a state that must not be changed twice by one task.
struct Counter(Ledger);

impl Stateful for Counter {
    type State = u64;
}

impl StatefulAgent<String, u64> for Counter {
    async fn handle(&self, ctx: Context, count: &mut u64, _by: String) -> Result<u64> {
        ledger::note(&self.0, "handle", ctx.task_id(), ctx.attempt())?;
        *count += 1;
        Ok(*count)
    }
}

/// A step, children at work at the same time, another step, a child that counts.
async fn lead(ledger: Ledger, ctx: Context, name: String) -> Result<Report> {
    let note = |what: &str| ledger::note(&ledger, what, ctx.task_id(), ctx.attempt());
    note("handle")?;
    let plan: u64 = ctx
        .step("plan", async || {
            note("plan")?;
            Ok(name.len() as u64)
        })
        .await?;
    let mut leaves = ctx.group();
    for n in 1..=LEAVES {
        leaves.add(ctx.delegate(LEAF, 15 + 10 * n).key(format!("leaf-{n}")));
    }
    let slept: u64 = leaves.await?.into_iter().sum();
    let sum: u64 = ctx
        .step("sum", async || {
            note("sum")?;
            Ok(plan + slept)
        })
        .await?;
    ctx.delegate(TALLY, name.clone()).key("tally").await?;
    Ok(Report { text: format!("{name}:{sum}") })
}

fn services(ledger: &Ledger) -> [Service; 3] {
    let of_leads = ledger.clone();
    let lead = LEAD.by_fn(move |ctx, name| lead(of_leads.clone(), ctx, name));
    let tally = stateful(Counter(ledger.clone())).on(TALLY).service();
    [leaf(ledger).workers(2).concurrency(2), lead.concurrency(2), tally]
}

/// Two leads side by side, and one after both.
fn work() -> Workflow<Report> {
    let mut flow = Workflow::new("kill");
    let one = flow.task("one", LEAD, "one".to_owned());
    let two = flow.task("two", LEAD, "two".to_owned());
    let last = flow.task("last", LEAD, "last".to_owned()).after(&one).after(&two);
    flow.output(last)
}

/// Aborts the process at a write of the store, counted over its life.
fn die_at(write: u64) -> Probe {
    let writes = AtomicU64::new(0);
    Probe::new(move |_| if writes.fetch_add(1, Ordering::Relaxed) + 1 == write { Fate::Die } else { Fate::GoOn })
}

fn say(word: &str) {
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "{word}");
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [store, ledger, run, rest @ ..] = &args[..] else { return Err("kill_node STORE LEDGER RUN [WRITE]".into()) };
    let probe = rest.first().map(|write| write.parse().map(die_at)).transpose()?.unwrap_or_default();
    let ledger = Arc::new(ledger::open(Path::new(ledger))?);
    let broker = sqlite::open(store, Options { probe, ..Options::default() })?;
    let node = services(&ledger).into_iter().fold(Node::over(broker).name("n"), |node, service| node.serve(service));
    let node = node.start().await?;
    let run = node.submit(callboard::workflow::WORKFLOW, work().document()).run(run).await?;
    tokio::select! {
        biased;
        stopped = node.clone().until_stopped() => {
            stopped?;
            say("drained");
        }
        outcome = async { say("ready"); run.outcome().await } => {
            outcome?;
            node.shutdown().await?;
            say("done");
        }
    }
    Ok(())
}
