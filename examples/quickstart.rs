//! An agent is a function, a capability is a constant that both sides share, and a node runs the one behind the other.
//!
//! `cargo run --quiet -p callboard-examples --example quickstart`. What you will see:
//!
//! ```text
//! HELLO, WORLD
//! done by text.shout on attempt 1
//! ```

use callboard::{Capability, Context, Node, Result};

const SHOUT: Capability<String, String> = Capability::new("text.shout");

async fn shout(_ctx: Context, text: String) -> Result<String> {
    Ok(text.to_uppercase())
}

#[tokio::main]
async fn main() -> Result<()> {
    let node = Node::embedded().serve(SHOUT.by_fn(shout)).start().await?;

    // A message: an answer now, or an error.
    println!("{}", node.ask(SHOUT, "hello, world".into()).await?);

    // A task: stored first, then done at least once, its outcome recorded once.
    let run = node.submit(SHOUT, "hello again".into()).await?;
    let reply = run.reply().await?;
    println!("done by {} on attempt {}", reply.agent, reply.attempt);

    node.shutdown().await?;
    Ok(())
}
