//! Where a program under test keeps its work: a store that it owns, or a broker.

use std::os::unix::process::parent_id;
use std::time::Duration;

use callboard::broker::Broker;
use callboard::broker::error::Result;
use callboard::broker::id::NodeName;
use callboard_broker::{nats, sqlite};
use tokio::time::{Instant, sleep};

/// How long somebody else may own the store, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked whether anybody is left to kill this process.
const LOOK: Duration = Duration::from_secs(1);

/// Joins the broker at `nats://HOST:PORT`, or owns the store at a path, once whoever owns it for one write has let it go.
///
/// # Errors
/// Of the broker or the store.
pub async fn join(place: &str, name: &str) -> Result<Broker> {
    if place.starts_with("nats://") {
        let node = NodeName::parse(name)?;
        return nats::open(nats::Options { servers: vec![place.to_owned()], ..nats::Options::new(node) }).await;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match sqlite::open(place, sqlite::Options::default()) {
            Err(_) if Instant::now() < until => sleep(AGAIN).await,
            opened => return opened,
        }
    }
}

/// Resolves when whoever started this process has gone.
pub async fn until_orphaned() {
    let parent = parent_id();
    while parent_id() == parent {
        sleep(LOOK).await;
    }
}
