//! A node that its work takes down: what it is asked for goes well, fails each time, or aborts the process.
//!
//! `poison_node STORE|nats://HOST:PORT NAME SLOTS`. `poison.work` takes its milliseconds and then does as its input says;
//! `poison.lead` delegates such work and returns how much of it went well. Says `ready` when it serves, and ends by itself
//! when whoever started it has gone.

use std::io::Write;
use std::time::Duration;

use callboard::{Capability, Context, Failure, Node, Result, Service};
use callboard_broker::task::Retry;
use callboard_tests::process::place;
use callboard_tests::process::poison::{How, Work};

const WORK: Capability<Work, u64> = Capability::new("poison.work");
const LEAD: Capability<Vec<Work>, u64> = Capability::new("poison.lead");

fn work(slots: usize) -> Service {
    let work = WORK.by_fn(|_ctx: Context, work: Work| async move {
        tokio::time::sleep(Duration::from_millis(work.ms)).await;
        match work.how {
            How::Well => Ok(1),
            How::Fails => Err(Failure::transient("it always fails")),
            How::Aborts => std::process::abort(),
        }
    });
    work.concurrency(slots)
}

async fn lead(ctx: Context, work: Vec<Work>) -> Result<u64> {
    let mut parts = ctx.group();
    for (n, part) in work.into_iter().enumerate() {
        let soon = Retry { base_ms: 50, ..Retry::default() };
        parts.add(ctx.delegate(WORK, part).key(format!("part-{n}")).retry_with(soon));
    }
    Ok(parts.settle().await.into_iter().filter_map(std::result::Result::ok).sum())
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [at, name, slots] = &args[..] else { return Err("poison_node STORE|nats://HOST:PORT NAME SLOTS".into()) };
    let slots: usize = slots.parse()?;
    let broker = place::join(at, name).await?;
    let node = Node::over(broker).name(name).serve(work(slots)).serve(LEAD.by_fn(lead).concurrency(slots));
    let node = node.start().await?;
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "ready");
    place::until_orphaned().await;
    drop(node);
    Ok(())
}
