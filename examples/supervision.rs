//! An agent crashes and heals: its supervisor makes a fresh one, its neighbour and its queue never notice.
//!
//! `cargo run --quiet -p callboard-examples --example supervision`. What you will see:
//!
//! ```text
//! tea costs 3, says agent no. 1
//! one request panicked: ...
//! tea costs 3, says agent no. 1
//! the agent gave up: ...
//! tea costs 3, says agent no. 2
//! shop            rest_for_one  0 of 3 restarts
//!   heart         permanent     running, start 1
//! ...
//!       prices    one_for_one   1 of 3 restarts
//!         #1      permanent     running, start 2
//!       taxes     one_for_one   0 of 3 restarts
//!         #1      permanent     running, start 1
//! ...
//! stopped in reverse order
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use callboard::tree::{ChildInfo, Happening};
use callboard::{Agent, Capability, Context, Failure, Node, Result, Supervisor, json};

const PRICE: Capability<String, String> = Capability::new("price.of");
const TAX: Capability<u32, u32> = Capability::new("tax.of");

/// One connection to the price list, so to say; a crash must not leave a broken one behind.
struct Prices {
    number: u32,
}

impl Agent<String, String> for Prices {
    async fn handle(&self, _ctx: Context, item: String) -> Result<String> {
        assert!(!item.is_empty(), "what is nothing worth?");
        if item == "gold" {
            // Answers its asker, then has itself replaced.
            return Err(Failure::fatal("the price list is broken"));
        }
        Ok(format!("{item} costs {}, says agent no. {}", item.len(), self.number))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // The panic below is meant; its report would hide what this is about.
    std::panic::set_hook(Box::new(|_| {}));
    static MADE: AtomicU32 = AtomicU32::new(0);
    let fresh = || async { Ok(Prices { number: 1 + MADE.fetch_add(1, Ordering::SeqCst) }) };
    let desk = Supervisor::new("desk")
        .child(PRICE.by_fresh(fresh).named("prices"))
        .child(TAX.by_fn(|_ctx, price: u32| async move { Ok(price / 5) }).named("taxes"));
    let node = Node::embedded().name("shop").serve(desk).start().await?;

    let mut happens = node.tree_events();
    println!("{}", node.ask(PRICE, "tea".into()).await?);
    if let Err(error) = node.ask(PRICE, String::new()).await {
        println!("one request panicked: {error}");
    }
    println!("{}", node.ask(PRICE, "tea".into()).await?);
    if let Err(error) = node.ask(PRICE, "gold".into()).await {
        println!("the agent gave up: {error}");
    }
    while let Some(event) = happens.next().await {
        if event.what == (Happening::Started { attempt: 2 }) {
            break;
        }
    }
    println!("{}", node.ask(PRICE, "tea".into()).await?);

    print(&node.tree().root, 0);
    node.shutdown().await?;
    println!("stopped in reverse order");
    Ok(())
}

fn print(child: &ChildInfo, depth: usize) {
    let name = format!("{:1$}{2}", "", 2 * depth, child.id());
    match &child.supervisor {
        Some(of) => {
            let strategy = json!(of.strategy);
            let strategy = strategy.as_str().unwrap_or_default();
            println!("{name:15} {strategy:13} {} of {} restarts", of.restarts, of.max_restarts);
        }
        None => {
            let (restart, state) = (json!(child.restart), json!(child.state));
            let (restart, state) = (restart.as_str().unwrap_or_default(), state["state"].as_str().unwrap_or_default());
            println!("{name:15} {restart:13} {state}, start {}", child.starts);
        }
    }
    child.children().iter().for_each(|child| print(child, depth + 1));
}
