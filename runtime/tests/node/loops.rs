//! Delegations and asks that would never end.

use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::error::{Class, Error};
use callboard::{Capability, Context, Result};

use crate::kit::*;

on_both_wings! {
    a_task_that_delegates_its_own_work_is_refused_with_the_way_around,
    an_ask_that_comes_round_to_an_agent_or_a_task_is_refused,
    an_ask_for_what_a_task_further_up_is_at_is_refused,
    tasks_are_as_deep_as_the_limit_and_no_deeper,
    a_child_can_have_less_than_its_parent_and_not_more,
    a_ping_pong_of_ever_new_inputs_ends_by_its_own_limit,
    deep_flows_that_come_to_an_end_are_left_alone,
}

const A: Capability<u32, u32> = Capability::new("loop.a");
const B: Capability<u32, u32> = Capability::new("loop.b");
const C: Capability<u32, u32> = Capability::new("loop.c");

fn failure(error: Error) -> (String, String) {
    assert_eq!(error.class(), Class::Permanent, "{error}");
    (error.code().to_owned(), error.to_string())
}

/// Counts down from one of two to the other.
async fn other(ctx: Context, n: u32) -> Result<u32> {
    let to = if ctx.host().facts().capability.as_str() == "loop.a" { B } else { A };
    if n == 0 { Ok(0) } else { Ok(ctx.delegate(to, n - 1).await? + 1) }
}

async fn a_task_that_delegates_its_own_work_is_refused_with_the_way_around(wing: &Wing) {
    let node = wing
        .node()
        .serve(A.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(B, n).await?)))
        .serve(B.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(C, n).await?)))
        .serve(C.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(A, n).await?)))
        .serve(COUNT.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(COUNT, n).await?)))
        .start()
        .await
        .unwrap();
    let (code, text) = failure(node.submit(A, 1).await.unwrap().outcome().await.unwrap_err());
    assert_eq!(code, code::LOOP);
    assert!(text.contains("loop.a -> loop.b -> loop.c -> loop.a"), "{text}");
    assert_eq!(statuses(&node).await.len(), 3, "the one that would close it is not made");
    let (_, text) = failure(node.submit(COUNT, 1).await.unwrap().outcome().await.unwrap_err());
    assert!(text.contains("test.count -> test.count"), "{text}");
}

async fn an_ask_that_comes_round_to_an_agent_or_a_task_is_refused(wing: &Wing) {
    let node = wing
        .node()
        .serve(A.by_fn(async |ctx: Context, n: u32| Ok(ctx.ask(B, n).await?)))
        .serve(B.by_fn(async |ctx: Context, n: u32| Ok(ctx.ask(A, n).await?)))
        .serve(C.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(A, n).await?)))
        .start()
        .await
        .unwrap();
    let (code, text) = failure(node.ask(A, 1).await.unwrap_err());
    assert_eq!(code, code::LOOP);
    assert!(text.contains("loop.a -> loop.b -> loop.a"), "{text}");
    let (code, text) = failure(node.submit(C, 1).await.unwrap().outcome().await.unwrap_err());
    assert_eq!(code, code::LOOP);
    assert!(text.contains("loop.a -> loop.b -> loop.a"), "{text}");
}

async fn an_ask_for_what_a_task_further_up_is_at_is_refused(wing: &Wing) {
    let node = wing
        .node()
        .serve(A.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(B, n + 1).await?)))
        .serve(B.by_fn(async |ctx: Context, n: u32| Ok(ctx.ask(C, n).await?)))
        .serve(C.by_fn(async |ctx: Context, n: u32| Ok(ctx.ask(A, n - 1).await?)))
        .start()
        .await
        .unwrap();
    let (code, text) = failure(node.submit(A, 1).await.unwrap().outcome().await.unwrap_err());
    assert_eq!(code, code::LOOP);
    assert!(text.contains("loop.a -> loop.b -> loop.c -> loop.a"), "{text}");
}

async fn tasks_are_as_deep_as_the_limit_and_no_deeper(wing: &Wing) {
    async fn down(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.delegate(COUNT, n - 1).await? + 1) }
    }
    let node = wing.node().serve(COUNT.by_fn(down)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 32).await.unwrap().outcome().await.unwrap(), 32);
    let (code, text) = failure(node.submit(COUNT, 33).run("deep").await.unwrap().outcome().await.unwrap_err());
    assert_eq!(code, code::EXHAUSTED);
    assert!(text.contains("the budget of deep is used up: 32 levels of tasks below the root"), "{text}");
    let small = Budget { depth: Some(2), ..Budget::default() };
    assert_eq!(node.submit(COUNT, 2).budget(small).await.unwrap().outcome().await.unwrap(), 2);
    let before = statuses(&node).await.len();
    let (code, _) = failure(node.submit(COUNT, 3).budget(small).await.unwrap().outcome().await.unwrap_err());
    assert_eq!((code.as_str(), statuses(&node).await.len() - before), (code::EXHAUSTED, 3));
}

async fn a_child_can_have_less_than_its_parent_and_not_more(wing: &Wing) {
    async fn down(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.delegate(COUNT, n - 1).await? + 1) }
    }
    async fn given(ctx: Context, depth: u32) -> Result<u32> {
        Ok(ctx.delegate(COUNT, 3).budget(Budget { depth: Some(depth), ..Budget::default() }).await?)
    }
    let node = wing.node().serve(COUNT.by_fn(down)).serve(A.by_fn(given)).start().await.unwrap();
    assert_eq!(node.submit(A, 4).await.unwrap().outcome().await.unwrap(), 3);
    assert_eq!(failure(node.submit(A, 3).await.unwrap().outcome().await.unwrap_err()).0, code::EXHAUSTED);
    let small = Budget { depth: Some(3), ..Budget::default() };
    let run = node.submit(A, 9).budget(small).await.unwrap();
    assert_eq!(failure(run.outcome().await.unwrap_err()).0, code::EXHAUSTED);
}

async fn a_ping_pong_of_ever_new_inputs_ends_by_its_own_limit(wing: &Wing) {
    let node = wing.node().serve(A.by_fn(other)).serve(B.by_fn(other)).start().await.unwrap();
    assert_eq!(node.submit(A, 24).await.unwrap().outcome().await.unwrap(), 24);
    let (code, text) = failure(node.submit(A, 25).await.unwrap().outcome().await.unwrap_err());
    assert_eq!(code, code::LOOP);
    assert!(text.contains("loop.b -> loop.a -> loop.b"), "{text}");
    let more = Budget { ping_pong: Some(16), ..Budget::default() };
    assert_eq!(node.submit(A, 26).budget(more).await.unwrap().outcome().await.unwrap(), 26);
}

/// Fifty flows that are deep, repeat themselves beside one another and come to an end.
async fn deep_flows_that_come_to_an_end_are_left_alone(wing: &Wing) {
    async fn twice(ctx: Context, n: u32) -> Result<u32> {
        let (one, same) = tokio::join!(ctx.delegate(A, n), ctx.delegate(A, n));
        Ok(one? + same?)
    }
    let node = wing.node().serve(A.by_fn(other)).serve(B.by_fn(other)).serve(C.by_fn(twice)).start().await.unwrap();
    for n in 0..50 {
        let deep = n % 25;
        assert_eq!(node.submit(C, deep).await.unwrap().outcome().await.unwrap(), 2 * deep, "{n}");
    }
}
