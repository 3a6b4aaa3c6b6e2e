//! Asking: an answer by the deadline, or an error that says which of the ways to fail it was.
//!
//! `cargo run --quiet -p callboard-examples --example request_reply`. What you will see:
//!
//! ```text
//! 12 / 4 = 3, by math.divide
//! 1 / 0: the agent said no: nothing can be divided by zero
//! nobody serves math.multiply
//! the queue was full: 2 answered, 3 told to come back later
//! a slow one: no answer in time
//! ```

use std::time::Duration;

use callboard::{Capability, Context, Error, Failure, Node, Result, payload};
use tokio::task::JoinSet;

#[payload]
struct Division {
    dividend: i64,
    divisor: i64,
}

const DIVIDE: Capability<Division, i64> = Capability::new("math.divide").about("Divides whole numbers.");
const MULTIPLY: Capability<(i64, i64), i64> = Capability::new("math.multiply");
const NAP: Capability<u64, String> = Capability::new("diag.nap");

async fn divide(_ctx: Context, of: Division) -> Result<i64> {
    of.dividend.checked_div(of.divisor).ok_or_else(|| Failure::permanent("nothing can be divided by zero"))
}

async fn nap(_ctx: Context, ms: u64) -> Result<String> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(format!("slept for {ms} ms"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let one_at_a_time = NAP.by_fn(nap).queue(2);
    let node = Node::embedded().serve(DIVIDE.by_fn(divide)).serve(one_at_a_time).start().await?;

    // `full` tells who answered and how long it took.
    let reply = node.ask(DIVIDE, Division { dividend: 12, divisor: 4 }).full().await?;
    println!("12 / 4 = {}, by {}", reply.value, reply.agent);

    match node.ask(DIVIDE, Division { dividend: 1, divisor: 0 }).await {
        Err(Error::Failed { failure, .. }) => println!("1 / 0: the agent said no: {}", failure.message),
        other => println!("1 / 0: {other:?}"),
    }

    match node.ask(MULTIPLY, (6, 7)).await {
        Err(Error::NoRecipient { to }) => println!("nobody serves {to}"),
        other => println!("6 * 7: {other:?}"),
    }

    // Two may wait and run together; the others hear so at once, and when to try again.
    let mut asks = JoinSet::new();
    for _ in 0..5 {
        let ask = node.ask(NAP, 100);
        asks.spawn(async move { ask.await });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(asked) = asks.join_next().await {
        match asked? {
            Ok(_) => answered += 1,
            Err(Error::Busy { .. }) => refused += 1,
            Err(other) => return Err(other.into()),
        }
    }
    println!("the queue was full: {answered} answered, {refused} told to come back later");

    match node.ask(NAP, 60_000).deadline(Duration::from_millis(50)).await {
        Err(Error::Deadline { .. }) => println!("a slow one: no answer in time"),
        other => println!("a slow one: {other:?}"),
    }

    node.shutdown().await?;
    Ok(())
}
