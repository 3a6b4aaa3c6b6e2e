//! Agents share state without losing an update: a write says what it expects, and a conflict is an answer.
//!
//! `cargo run --quiet -p callboard-examples --example shared_state`. What you will see:
//!
//! ```text
//! 20 agents at once added up to 20
//! the second of two writers hears: ...
//! change 1 set the count to 1
//! ...
//! change 20 set the count to 20
//! after half of the changes it was 10
//! ```

use callboard::broker::state::Moment;
use callboard::{Capability, Change, Context, Error, Grant, Node, Result, StateKey, payload};

#[payload]
#[derive(Clone, Default)]
struct Tally {
    count: u32,
}

const TALLY: StateKey<Tally> = StateKey::global("tally");
const VOTE: Capability<(), u32> = Capability::new("poll.vote");

/// Reads, changes, writes if nobody was quicker, and begins again otherwise.
async fn vote(ctx: Context, (): ()) -> Result<u32> {
    let after = ctx.state(TALLY).update(|tally| tally.count += 1).await?;
    Ok(after.count)
}

#[tokio::main]
async fn main() -> Result<()> {
    // An agent reaches the state of its own run; more than that has to be granted.
    let voters = VOTE.by_fn(vote).workers(4).concurrency(5).may([Grant::Global("tally".into())]);
    let node = Node::embedded().serve(voters).start().await?;

    let votes: Vec<_> = (0..20).map(|_| tokio::spawn(node.ask(VOTE, ()).into_future())).collect();
    for vote in votes {
        vote.await??;
    }
    let tally = node.state(TALLY);
    let entry = tally.get().await?.ok_or(Error::not_found("the tally"))?;
    println!("20 agents at once added up to {}", entry.count);

    // Both have seen the same revision; the first one wins, the second one learns of it.
    let (first, second) = (entry.revision, entry.revision);
    let mut changes = tally.history();
    tally.set_if(first, Tally { count: 99 }).await?;
    match tally.set_if(second, Tally { count: 0 }).await {
        Err(conflict @ Error::Conflict { .. }) => println!("the second of two writers hears: {conflict}"),
        other => println!("it was not refused: {other:?}"),
    }

    for number in 1..=20 {
        if let Some(Ok(Change::Set(entry))) = changes.next().await {
            println!("change {number} set the count to {}", entry.count);
        }
    }

    // Everything as it was at any moment: the nearest snapshot, and what followed it.
    let then = node.broker().states.at(Moment::Sequence(10), String::new()).await?;
    let tally: Tally = then.first().ok_or(Error::not_found("the tally"))?.value.read()?;
    println!("after half of the changes it was {}", tally.count);
    node.shutdown().await?;
    Ok(())
}
