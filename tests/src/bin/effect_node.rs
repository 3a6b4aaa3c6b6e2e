//! A node whose effects are counted from outside while it is killed: it serves `diag.effect`.
//!
//! `effect_node STORE|nats://HOST:PORT NAME`. Says `ready` when it serves, and ends by itself when whoever started it has
//! gone.

use std::io::Write;
use std::os::unix::process::parent_id;
use std::time::Duration;

use callboard::{Node, diag};
use callboard_broker::id::NodeName;
use callboard_broker::{Broker, nats, sqlite};

/// How often it is looked whether anybody is left to kill this process.
const LOOK: Duration = Duration::from_secs(1);
/// How long somebody else may own the store, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);
/// Tasks at a time.
const SLOTS: usize = 8;

/// The store, once whoever owns it for one write has let it go.
async fn own(place: &str) -> callboard_broker::error::Result<Broker> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match sqlite::open(place, sqlite::Options::default()) {
            Err(_) if tokio::time::Instant::now() < until => tokio::time::sleep(AGAIN).await,
            opened => return opened,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [place, name] = &args[..] else { return Err("effect_node STORE|nats://HOST:PORT NAME".into()) };
    let broker = if place.starts_with("nats://") {
        nats::open(nats::Options { servers: vec![place.clone()], ..nats::Options::new(NodeName::parse(name)?) }).await?
    } else {
        own(place).await?
    };
    let node = Node::over(broker).name(name).serve(diag::effect().concurrency(SLOTS)).start().await?;
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "ready");
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(LOOK).await;
    }
    drop(node);
    Ok(())
}
