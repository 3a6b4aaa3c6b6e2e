//! A node that is there to be upgraded: its orders are posted step by step to a server that counts.
//!
//! `version_node STORE|nats://HOST:PORT NAME VERSION pinned|migrates`. An order of `shop.order` is
//! `{"url", "steps", "ms"}`: for each step one effect that is never silently repeated, and a parcel (`shop.parcel`) of so
//! many milliseconds. Says `ready` when it serves, `drained` when SIGTERM has ended it, and ends by itself when whoever
//! started it has gone.

use std::io::Write;
use std::os::unix::process::parent_id;
use std::time::Duration;

use callboard::agents::http::{Post, post};
use callboard::{Capability, Context, Node, Service, json, payload};
use callboard_broker::id::NodeName;
use callboard_broker::{Broker, nats, sqlite};

/// How often it is looked whether anybody is left to stop this process.
const LOOK: Duration = Duration::from_secs(1);
/// How long somebody else may own the store, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);
/// Orders and parcels at a time.
const SLOTS: usize = 4;
/// What a drain may take: longer than any step or parcel, also on a machine that is busy.
const DRAIN: Duration = Duration::from_secs(60);
const USAGE: &str = "version_node STORE|nats://HOST:PORT NAME VERSION pinned|migrates";

/// An order.
#[payload]
#[derive(Clone, Debug)]
struct Order {
    /// Where each step is posted to.
    url: String,
    /// How many there are.
    steps: u32,
    /// How long each parcel takes.
    ms: u64,
}

const ORDER: Capability<Order, u32> = Capability::new("shop.order");
const PARCEL: Capability<u64, u64> = Capability::new("shop.parcel");

fn order(version: &'static str) -> Service {
    ORDER.by_fn(move |ctx: Context, order: Order| async move {
        for n in 1..=order.steps {
            let body = json!({ "task": ctx.task_id(), "n": n, "version": version });
            let once = async || Ok(post(Post { url: order.url.clone(), key: None, body }).await?.status);
            ctx.effect(format!("post {n}"), once).await?;
            ctx.delegate(PARCEL, order.ms).key(format!("parcel {n}")).await?;
        }
        Ok(order.steps)
    })
}

async fn parcel(_ctx: Context, ms: u64) -> callboard::Result<u64> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(ms)
}

/// The store, once whoever owned it has let it go.
async fn own(place: &str) -> callboard_broker::error::Result<Broker> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match sqlite::open(place, sqlite::Options::default()) {
            Err(_) if tokio::time::Instant::now() < until => tokio::time::sleep(AGAIN).await,
            opened => return opened,
        }
    }
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
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [place, name, version, rule] = &args[..] else { return Err(USAGE.into()) };
    let broker = if place.starts_with("nats://") {
        nats::open(nats::Options { servers: vec![place.clone()], ..nats::Options::new(NodeName::parse(name)?) }).await?
    } else {
        own(place).await?
    };
    let orders = order(version.clone().leak()).version(version);
    let orders = match rule.as_str() {
        "pinned" => orders,
        "migrates" => orders.migrates(),
        _ => return Err(USAGE.into()),
    };
    let each = |service: Service| service.concurrency(SLOTS).shutdown(DRAIN);
    let node = Node::over(broker).name(name).serve(each(orders)).serve(each(PARCEL.by_fn(parcel))).start().await?;
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
