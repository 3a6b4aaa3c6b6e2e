//! The agents of a simulation: they do what their plan says, and note down what they did to the world.

use std::time::Duration;

use callboard::human::Question;
use callboard::service::Grant;
use callboard::{Capability, Context, Error, Failure, Result, Service, StateKey};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::plan::{Act, Plan};
use crate::contract::invariants::Done;

/// Does a [`Plan`].
pub const WORK: Capability<String, u64> = Capability::new("sim.work");
/// Answers asks.
pub const ECHO: Capability<u64, u64> = Capability::new("sim.echo");
/// What [`Act::Count`] counts.
pub const COUNTER: StateKey<u64> = StateKey::global("sim.counter");

/// Both of them.
pub fn services(ledger: &Ledger) -> [Service; 2] {
    let ledger = ledger.clone();
    let work = WORK.by_fn(move |ctx: Context, plan: String| {
        let ledger = ledger.clone();
        async move {
            let plan: Plan = serde_json::from_str(&plan).map_err(|e| Failure::permanent(e.to_string()))?;
            for (place, act) in plan.acts.iter().enumerate() {
                perform(&ctx, &ledger, &format!("{}.{place}", plan.n), act).await?;
            }
            Ok(plan.n)
        }
    });
    let echo = ECHO.by_fn(|_: Context, n: u64| async move {
        sleep(Duration::from_millis(n)).await;
        Ok(n)
    });
    [work.concurrency(4).may([Grant::AnyCapability, Grant::Global("sim".into())]), echo]
}

async fn perform(ctx: &Context, ledger: &Ledger, name: &str, act: &Act) -> Result<()> {
    match act {
        Act::Nap(ms) => sleep(Duration::from_millis(*ms)).await,
        Act::Step => {
            let _: u64 = ctx.step(format!("step {name}"), async || Ok(1)).await?;
        }
        Act::Pay(ms) => {
            let _: u64 = ctx.effect(name, async || pay(ledger, name, *ms, None).await).await?;
        }
        Act::PayKeyed(ms) => {
            let _: u64 = ctx.effect_keyed(name, async |key| pay(ledger, name, *ms, Some(key)).await).await?;
        }
        Act::Hand(plans) => hand(ctx, plans).await?,
        Act::Person => {
            let _: u64 = ctx.human(Question::new(format!("what about {name}?"))).key(name).await?;
        }
        Act::Count => {
            let add = |n: &mut u64| {
                ledger.notes().counts.0 += 1;
                *n += 1;
            };
            ctx.state(COUNTER).update(add).await?;
            ledger.notes().counts.1 += 1;
        }
        Act::Ask => drop(ctx.ask(ECHO, 50).deadline(Duration::from_secs(2)).await),
        Act::Fail(times) if ctx.attempt() <= *times => return Err(Failure::transient("as planned")),
        // Not `panic!`, which would fill the output of every seed.
        Act::Panic(times) if ctx.attempt() <= *times => std::panic::resume_unwind(Box::new("as planned")),
        Act::Fail(_) | Act::Panic(_) => {}
        Act::GiveUp => return Err(Failure::permanent("as planned")),
    }
    Ok(())
}

/// The world changes half-way through, so that a process can die before and after it.
async fn pay(ledger: &Ledger, name: &str, ms: u64, key: Option<String>) -> Result<u64> {
    sleep(Duration::from_millis(ms / 2)).await;
    ledger.did(Done { name: name.to_owned(), key });
    sleep(Duration::from_millis(ms / 2)).await;
    Ok(1)
}

/// A child that came to nothing is no reason to fail; not to know what became of it is.
async fn hand(ctx: &Context, plans: &[Plan]) -> Result<()> {
    let mut group = ctx.group();
    for plan in plans {
        let text = serde_json::to_string(plan).map_err(|e| Failure::permanent(e.to_string()))?;
        group.add(ctx.delegate(WORK, text).key(plan.n.to_string()));
    }
    for child in group.settle().await {
        match child {
            Ok(_) | Err(Error::Failed { .. } | Error::Expired | Error::Cancelled { .. }) => {}
            Err(unknown) => return Err(unknown.into()),
        }
    }
    Ok(())
}
