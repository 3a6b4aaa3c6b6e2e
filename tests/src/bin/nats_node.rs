//! A node on NATS that is there to be killed, frozen, cut off and drained: it serves work that takes as long as it is told.
//!
//! `nats_node --broker URL --name NAME --serve CAPABILITY=SLOTS --ledger FILE [--shutdown MS]`: the input of a task is its
//! milliseconds, and what is at work when it is told to stop has the milliseconds of `--shutdown`.
//! Each execution is noted in the ledger before it begins. Says `ready` when it serves, `drained` when SIGTERM has ended
//! it, and ends by itself when whoever started it has gone.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callboard::{Capability, Context, Node, Service};
use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Options};
use callboard_tests::process::ledger;

/// How often it is looked whether anybody is left to kill this process.
const LOOK: Duration = Duration::from_secs(1);
const USAGE: &str = "nats_node --broker URL --name NAME --serve CAPABILITY=SLOTS --ledger FILE [--shutdown MS]";

type Failure = Box<dyn std::error::Error>;

/// Sleeps its milliseconds, after it has said that it began.
fn sleeper(capability: &'static str, slots: usize, ledger: &Arc<File>) -> Service {
    let (capability, ledger) = (Capability::<u64, u64>::new(capability), ledger.clone());
    let service = capability.by_fn(move |ctx: Context, ms: u64| {
        let ledger = ledger.clone();
        async move {
            ledger::note(&ledger, "handle", ctx.task_id(), ctx.attempt())?;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    });
    service.concurrency(slots)
}

async fn orphaned() {
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(LOOK).await;
    }
}

fn say(word: &str) {
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "{word}");
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let flags: HashMap<&str, &str> = words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let flag = |name: &str| flags.get(name).copied().ok_or_else(|| Failure::from(USAGE));
    let (capability, slots) = flag("--serve")?.split_once('=').ok_or(USAGE)?;
    let ledger = Arc::new(ledger::open(Path::new(flag("--ledger")?))?);
    let name = flag("--name")?;
    let options = Options { servers: vec![flag("--broker")?.to_owned()], ..Options::new(NodeName::parse(name)?) };
    let service = sleeper(capability.to_owned().leak(), slots.parse()?, &ledger);
    let service = match flags.get("--shutdown") {
        Some(ms) => service.shutdown(Duration::from_millis(ms.parse()?)),
        None => service,
    };
    let node = Node::over(nats::open(options).await?).name(name).serve(service).start().await?;
    // From here on it can be told to stop.
    let stopped = node.until_stopped();
    say("ready");
    tokio::select! {
        stopped = stopped => stopped?,
        () = orphaned() => return Ok(()),
    }
    say("drained");
    Ok(())
}
