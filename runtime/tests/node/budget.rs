//! Retries of a run under a full outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::resilience::budget::{RESERVE, TASKS_EACH};
use callboard::{Capability, Context, Failure, Node, Result, Service};

use crate::kit::*;

const ALL: Capability<u32, u32> = Capability::new("test.all");
const AWAY: Capability<u32, u32> = Capability::new("test.away");
/// Tasks of the run.
const TASKS: u32 = 200;

on_every_wing! {
    the_attempts_of_a_run_are_bounded_when_all_that_it_needs_is_away;
    embedded: each_node_that_works_on_a_run_has_a_reserve_of_its_own_and_no_more,
}

/// Counts how often it was tried, and is away.
fn away(tried: &Arc<AtomicU32>) -> Service {
    let count = tried.clone();
    AWAY.by_fn(move |_ctx: Context, _: u32| {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Err::<u32, _>(Failure::transient("away"))
        }
    })
}

async fn all(ctx: Context, n: u32) -> Result<u32> {
    let settled = ctx.delegate_all(AWAY, 0..n).settle().await;
    Ok(settled.iter().filter(|result| result.is_err()).count() as u32)
}

async fn the_attempts_of_a_run_are_bounded_when_all_that_it_needs_is_away(wing: &Wing) {
    let tried = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(ALL.by_fn(all)).serve(away(&tried).concurrency(32)).start().await.unwrap();
    assert_eq!(node.submit(ALL, TASKS).await.unwrap().outcome().await.unwrap(), TASKS);
    let tried = tried.load(Ordering::SeqCst);
    let most = TASKS + RESERVE + (TASKS + 1) / TASKS_EACH;
    assert!(tried <= most, "{tried} attempts, at most {most} are allowed and {} without a budget", 3 * TASKS);
    assert!(tried > TASKS + RESERVE, "{tried}: the budget is there to be used");
    let reasons = dead(&node)
        .await
        .into_iter()
        .filter(|dead| dead.error.as_ref().is_some_and(|error| error.contains("retry budget")))
        .count();
    assert!(reasons > 0, "what was given up for want of a budget says so");
}

async fn each_node_that_works_on_a_run_has_a_reserve_of_its_own_and_no_more(wing: &Wing) {
    let (tried, broker) = (Arc::new(AtomicU32::new(0)), wing.broker());
    let node = |name: &str| Node::over(broker.clone()).name(name).serve(away(&tried).concurrency(16));
    let one = node("one").serve(ALL.by_fn(all)).start().await.unwrap();
    let _two = node("two").start().await.unwrap();
    assert_eq!(one.submit(ALL, TASKS).await.unwrap().outcome().await.unwrap(), TASKS);
    let (tried, earned) = (tried.load(Ordering::SeqCst), (TASKS + 1) / TASKS_EACH);
    let most = TASKS + 2 * RESERVE + earned;
    assert!(most < 3 * TASKS && tried <= most, "{tried} attempts, at most {most} are allowed on two nodes");
    assert!(tried > TASKS + RESERVE + earned, "{tried}: no node knows what the other has spent");
}
