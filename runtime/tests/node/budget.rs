//! Retries of a run under a full outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard::resilience::budget::{RESERVE, TASKS_EACH};
use callboard::{Capability, Context, Failure, Result};

use crate::kit::*;

const ALL: Capability<u32, u32> = Capability::new("test.all");
const AWAY: Capability<u32, u32> = Capability::new("test.away");
/// Tasks of the run.
const TASKS: u32 = 200;

on_both_wings! {
    the_attempts_of_a_run_are_bounded_when_all_that_it_needs_is_away,
}

async fn the_attempts_of_a_run_are_bounded_when_all_that_it_needs_is_away(wing: &Wing) {
    let tried = Arc::new(AtomicU32::new(0));
    let count = tried.clone();
    let away = AWAY.by_fn(move |_ctx: Context, _: u32| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Err::<u32, _>(Failure::transient("away")) }
    });
    async fn all(ctx: Context, n: u32) -> Result<u32> {
        let settled = ctx.delegate_all(AWAY, 0..n).settle().await;
        Ok(settled.iter().filter(|result| result.is_err()).count() as u32)
    }
    let node = wing.node().serve(ALL.by_fn(all)).serve(away.concurrency(32)).start().await.unwrap();
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
