//! A node whose agents go round: each hands on what it gets, for ever if nobody stops it.
//!
//! `loop_node nats://HOST:PORT NAME FILE CAPABILITY=NEXT=HOW...`, with HOW one of `ask` and `delegate` (what it got,
//! unchanged) and a number (so many tasks of ever new inputs, whatever becomes of them). It serves `diag.relay` too. How
//! long a refusal took is appended to FILE, in microseconds. Says `ready` when it serves, and ends by itself when whoever
//! started it has gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::{Capability, Context, Failure, Node, Service, diag};
use callboard_broker::error::Error;

/// How often it is looked whether anybody is left to kill this process.
const LOOK: Duration = Duration::from_secs(1);
/// Relays at a time: those that ask keep their slots, so there are enough for all flows in their whole depth.
const RELAYS: usize = 2_000;
const USAGE: &str = "loop_node nats://HOST:PORT NAME FILE CAPABILITY=NEXT=HOW...";

type Numbers = Capability<u64, u64>;

/// Hands its input on unchanged.
fn hand_on(at: Numbers, to: Numbers, asks: bool, refusals: Arc<File>) -> Service {
    at.by_fn(move |ctx: Context, n: u64| {
        let refusals = refusals.clone();
        async move {
            let began = Instant::now();
            let answer = if asks { ctx.ask(to, n).await } else { ctx.delegate(to, n).await };
            if matches!(answer, Err(Error::Loop { .. })) {
                writeln!(&*refusals, "{}", began.elapsed().as_micros())?;
            }
            Ok::<u64, Failure>(answer?)
        }
    })
}

/// Hands on `wide` times what is new each time, and goes on for ever whatever becomes of it.
fn endless(at: Numbers, to: Numbers, wide: u64) -> Service {
    let service = at.by_fn(move |ctx: Context, n: u64| async move {
        let mut group = ctx.group();
        for k in 0..wide {
            group.add(ctx.delegate(to, n.wrapping_mul(wide).wrapping_add(k + 1)));
        }
        let _ignored = group.settle().await;
        std::future::pending::<Result<u64, Failure>>().await
    });
    service.workers(4)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, name, file, routes @ ..] = &args[..] else { return Err(USAGE.into()) };
    let refusals = Arc::new(OpenOptions::new().create(true).append(true).open(file)?);
    let mut node = Node::on(url).name(name).serve(diag::relay().concurrency(RELAYS));
    for route in routes {
        let [at, to, how] = route.split('=').collect::<Vec<_>>()[..] else { return Err(USAGE.into()) };
        let named = |name: &str| Numbers::new(name.to_owned().leak());
        let (at, to) = (named(at), named(to));
        node = node.serve(match how {
            "ask" => hand_on(at, to, true, refusals.clone()),
            "delegate" => hand_on(at, to, false, refusals.clone()),
            wide => endless(at, to, wide.parse()?),
        });
    }
    let node = node.start().await?;
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "ready");
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(LOOK).await;
    }
    drop(node);
    Ok(())
}
