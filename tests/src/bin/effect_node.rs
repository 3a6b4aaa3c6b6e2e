//! A node whose effects are counted from outside while it is killed: it serves `diag.effect`.
//!
//! `effect_node STORE|nats://HOST:PORT NAME`. Says `ready` when it serves, and ends by itself when whoever started it has
//! gone.

use std::io::Write;

use callboard::{Node, diag};
use callboard_tests::process::place;

/// Tasks at a time.
const SLOTS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [at, name] = &args[..] else { return Err("effect_node STORE|nats://HOST:PORT NAME".into()) };
    let broker = place::join(at, name).await?;
    let node = Node::over(broker).name(name).serve(diag::effect().concurrency(SLOTS)).start().await?;
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "ready");
    place::until_orphaned().await;
    drop(node);
    Ok(())
}
