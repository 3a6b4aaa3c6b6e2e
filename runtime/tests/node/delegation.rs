//! Tasks that delegate to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::{Context, Error, Failure, Result};

use crate::kit::*;

on_both_wings! {
    delegation_deeper_than_the_pool_is_wide_does_not_deadlock,
    a_second_attempt_finds_its_children_and_steps_done,
    the_same_key_with_another_input_is_refused_as_diverged,
}

/// A pool of one, nested five deep: each parent must leave its slot to its child.
async fn delegation_deeper_than_the_pool_is_wide_does_not_deadlock(wing: &Wing) {
    async fn count(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.delegate(COUNT, n - 1).await? + 1) }
    }
    let node = wing.node().serve(COUNT.by_fn(count)).start().await.unwrap();
    let run = node.submit(COUNT, 20).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(10), run.outcome()).await;
    assert_eq!(outcome.expect("no deadlock").unwrap(), 20);
}

async fn a_second_attempt_finds_its_children_and_steps_done(wing: &Wing) {
    let (ran, stepped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = |counter: &Arc<AtomicU32>| {
        let counter = counter.clone();
        move || counter.fetch_add(1, Ordering::SeqCst) + 1
    };
    let (leaf, step) = (count(&ran), count(&stepped));
    let leaf = WAIT.by_fn(move |_ctx, n: u64| {
        leaf();
        async move { Ok(n) }
    });
    let parent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let step = step.clone();
        async move {
            let child = ctx.delegate(WAIT, u64::from(n)).await?;
            let step: u32 = ctx.step("once", async || Ok(step())).await?;
            if ctx.attempt() == 1 {
                return Err(Failure::transient("after the child was done"));
            }
            Ok(u32::try_from(child).unwrap() + step)
        }
    });
    let node = wing.node().serve(parent).serve(leaf).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 10).await.unwrap().outcome().await.unwrap(), 11);
    assert_eq!((ran.load(Ordering::SeqCst), stepped.load(Ordering::SeqCst)), (1, 1));
}

async fn the_same_key_with_another_input_is_refused_as_diverged(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        let _ = ctx.delegate(WAIT, 1).key("child").await?;
        match ctx.delegate(WAIT, 2).key("child").await {
            Err(Error::Diverged { .. }) => Ok(n),
            other => Err(Failure::permanent(format!("{other:?}"))),
        }
    }
    let node = wing.node().serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 7).await.unwrap().outcome().await.unwrap(), 7);
}
