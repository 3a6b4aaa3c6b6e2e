//! A node with a stateful agent, there to be killed or frozen while it is at work.
//!
//! `till_node STORE|nats://HOST:PORT NAME`. Says `at_work` when a request has begun and `done` when its handler has ended,
//! and ends by itself when whoever started it has gone.

use std::io::Write;

use callboard::Node;
use callboard_tests::process::place;
use callboard_tests::process::till::till;

fn say(word: &str) {
    // Nobody listening is nobody's loss.
    let _ = writeln!(std::io::stdout(), "{word}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [at, name] = &args[..] else { return Err("till_node STORE|nats://HOST:PORT NAME".into()) };
    let broker = place::join(at, name).await?;
    let node = Node::over(broker).name(name).serve(till(true, say)).start().await?;
    place::until_orphaned().await;
    drop(node);
    Ok(())
}
