//! A program that is a node: ten lines around your own agent, with the flags of `callboard node start`.
//!
//! `cargo run --quiet -p callboard-examples --example own_node -- --name c --broker nats://127.0.0.1:4222`. It serves
//! until it is told to stop (Ctrl-C, SIGTERM or `callboard node drain c`), then finishes what it has. Without `--broker`
//! it works alone. What you will see elsewhere:
//!
//! ```text
//! $ callboard --broker nats://127.0.0.1:4222 agent ask shout.text '"otters float"'
//! OTTERS FLOAT
//! ```

use callboard::exit::Ended;
use callboard::{Capability, Context, Error, Node, Result};

const SHOUT: Capability<String, String> = Capability::new("shout.text").about("Says it in capital letters.");

async fn shout(_ctx: Context, text: String) -> Result<String> {
    Ok(text.to_uppercase())
}

async fn serve() -> Result<(), Error> {
    Node::from_args()?.serve(SHOUT.by_fn(shout).workers(4)).start().await?.until_stopped().await
}

// The exit codes are those of `callboard node start`.
#[tokio::main]
async fn main() -> Ended {
    serve().await.into()
}
