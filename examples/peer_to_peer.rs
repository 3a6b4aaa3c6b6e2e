//! Two agents deal with each other directly, by name: nobody above them carries their messages.
//!
//! `cargo run --quiet -p callboard-examples --example peer_to_peer`. What you will see:
//!
//! ```text
//! ann offers bob 60: no
//! ann offers bob 70: no
//! ann offers bob 80: sold
//! bob hears: thank you, it was offer no. 3
//! ann bought it for 80
//! ```

use callboard::{Capability, Context, Failure, Node, Result, Stateful, StatefulAgent, payload, stateful};
use tokio::sync::mpsc;

/// Whom to buy from, and how much it may cost.
#[payload]
struct Errand {
    seller: String,
    budget: u32,
}

const BUY: Capability<Errand, u32> = Capability::new("market.buy");
const OFFER: Capability<u32, bool> = Capability::new("market.offer");
const THANK: Capability<String, ()> = Capability::new("market.thank");

/// Asks the seller again and again, until they agree.
async fn buy(ctx: Context, errand: Errand) -> Result<u32> {
    for offer in (60..=errand.budget).step_by(10) {
        let sold = ctx.ask(OFFER, offer).to_agent(&errand.seller).await?;
        println!("{} offers {} {offer}: {}", ctx.agent(), errand.seller, if sold { "sold" } else { "no" });
        if sold {
            // A notification: it needs no answer, so nobody waits for one.
            ctx.tell(THANK, "thank you".into()).to_agent(&errand.seller).await?;
            return Ok(offer);
        }
    }
    Err(Failure::permanent(format!("{} wants more than {}", errand.seller, errand.budget)))
}

/// One agent that serves two capabilities over one state: how many offers it has had.
struct Seller {
    lowest: u32,
    heard: mpsc::Sender<String>,
}

impl Stateful for Seller {
    type State = u32;
}

impl StatefulAgent<u32, bool> for Seller {
    async fn handle(&self, _ctx: Context, offers: &mut u32, offer: u32) -> Result<bool> {
        *offers += 1;
        Ok(offer >= self.lowest)
    }
}

impl StatefulAgent<String, ()> for Seller {
    async fn handle(&self, ctx: Context, offers: &mut u32, thanks: String) -> Result<()> {
        self.heard.send(format!("{} hears: {thanks}, it was offer no. {offers}", ctx.agent())).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (heard, mut ears) = mpsc::channel(1);
    let seller = stateful(Seller { lowest: 75, heard }).on(OFFER).on(THANK).named("bob");
    let node = Node::embedded().serve(seller).serve(BUY.by_fn(buy).named("ann")).start().await?;

    let price = node.ask(BUY, Errand { seller: "bob".into(), budget: 100 }).await?;
    println!("{}", ears.recv().await.unwrap_or_default());
    println!("ann bought it for {price}");
    node.shutdown().await?;
    Ok(())
}
