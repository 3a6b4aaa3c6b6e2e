//! Everything that happens is recorded as an event: watch it while it happens, or replay it later and get the same.
//!
//! `cargo run --quiet -p callboard-examples --example event_replay`. What you will see:
//!
//! ```text
//! task.created     o-17  demo
//! task.started     o-17  demo
//! shop.paid        o-17  shop.order  250 cents
//! task.completed   o-17  shop.order
//! context.updated  o-17  shop.order
//! task.created     o-18  demo
//! ...
//! no number was left out
//! replayed from the start, 400 cents were paid
//! ```

use callboard::broker::events::EventFilter;
use callboard::{Capability, Context, Event, EventKind, Node, Result, payload};

#[payload]
struct Paid {
    cents: u32,
}

const ORDER: Capability<u32, String> = Capability::new("shop.order");
/// A fact of our own, beside those that are recorded anyway.
const PAID: EventKind<Paid> = EventKind::new("shop.paid");

async fn order(ctx: Context, cents: u32) -> Result<String> {
    ctx.emit(PAID, Paid { cents }).await?;
    Ok(format!("thank you for {cents} cents"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let node = Node::embedded().name("demo").serve(ORDER.by_fn(order)).start().await?;

    let mut live = node.events().await?;
    node.submit(ORDER, 250).run("o-17").await?.outcome().await?;
    node.submit(ORDER, 150).run("o-18").await?.outcome().await?;
    let (mut of_runs, mut numbers) = (0, Vec::new());
    while of_runs < 10 {
        let Some(event) = live.next().await.transpose()? else { break };
        numbers.push(event.seq);
        if event.run.is_some() {
            println!("{}", line(&event)?);
            of_runs += 1;
        }
    }
    let gapless = numbers.is_sorted_by(|a, b| a + 1 == *b);
    println!("{}", if gapless { "no number was left out" } else { "numbers are missing" });

    // From the first one on, of one kind only: the state of the till, rebuilt from what happened.
    let payments = EventFilter { types: vec![PAID.name().into()], ..EventFilter::default() };
    let (mut replay, mut till) = (node.replay(payments, 1), 0);
    for _ in 0..2 {
        let Some(event) = replay.next().await.transpose()? else { break };
        till += event.get(PAID).transpose()?.map_or(0, |paid| paid.cents);
    }
    println!("replayed from the start, {till} cents were paid");
    node.shutdown().await?;
    Ok(())
}

fn line(event: &Event) -> Result<String> {
    let run = event.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let cents = event.get(PAID).transpose()?.map(|paid| format!("  {} cents", paid.cents)).unwrap_or_default();
    Ok(format!("{:15}  {run}  {}{cents}", event.kind, event.agent))
}
