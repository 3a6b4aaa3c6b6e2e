//! A broadcast reaches every agent that listens, but never the one that sends it.
//!
//! `cargo run --quiet -p callboard-examples --example broadcast`. What you will see:
//!
//! ```text
//! research stops
//! the outside hears: building on fire
//! writer stops
//! 3 heard it, the alarm itself did not
//! ```

use callboard::{Capability, Context, Node, Result, Topic};
use tokio::sync::mpsc;

const WATCH: Capability<String, ()> = Capability::new("alarm.watch");
const WORK: Capability<(), ()> = Capability::new("desk.work");
const ALARMS: Topic<String> = Topic::new("alarms");

async fn watch(ctx: Context, seen: String) -> Result<()> {
    if seen.contains("fire") {
        ctx.broadcast(ALARMS, seen).await?;
    }
    Ok(())
}

async fn work(_ctx: Context, (): ()) -> Result<()> {
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (heard, mut ears) = mpsc::channel::<String>(8);
    // What an agent does when it hears something, beside what it serves.
    let on_alarm = {
        let heard = heard.clone();
        move |ctx: Context, _alarm: String| {
            let heard = heard.clone();
            async move {
                heard.send(format!("{} stops", ctx.agent())).await?;
                Ok(())
            }
        }
    };
    let node = Node::embedded()
        .serve(WORK.by_fn(work).named("research").hears(ALARMS, on_alarm.clone()))
        .serve(WORK.by_fn(work).named("writer").hears(ALARMS, on_alarm.clone()))
        .serve(WATCH.by_fn(watch).named("alarm").hears(ALARMS, on_alarm))
        .start()
        .await?;
    // A program may listen too.
    let mut alarms = node.listen(ALARMS);
    tokio::spawn(async move {
        if let Some(alarm) = alarms.next().await {
            let _ = heard.send(format!("the outside hears: {alarm}")).await;
        }
    });

    node.ask(WATCH, "building on fire".into()).await?;
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(ears.recv().await.unwrap_or_default());
    }
    said.sort(); // they heard it at the same time, and answer in any order
    said.iter().for_each(|line| println!("{line}"));
    node.shutdown().await?;
    let more = ears.try_recv().is_ok();
    println!("3 heard it, the alarm itself {}", if more { "did too" } else { "did not" });
    Ok(())
}
