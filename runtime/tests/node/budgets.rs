//! What a run may use over all of its tasks.

use std::time::Duration;

use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::error::{Class, Error};
use callboard::broker::task::Status;
use callboard::{Capability, Context, Node, Result};

use crate::kit::*;

on_both_wings! {
    a_fan_out_bomb_stops_at_the_budget_and_leaves_nothing_at_work,
    loops_of_ever_new_inputs_stop_at_the_budget,
    what_fits_the_budget_exactly_is_done,
    steps_are_counted_over_the_whole_tree_and_not_counted_twice,
    tokens_and_cost_are_refused_before_they_are_spent,
    an_agent_cannot_write_the_account,
    a_child_is_not_given_what_is_counted_for_the_run,
}

const BOMB: Capability<u32, u32> = Capability::new("budget.bomb");
const NEXT: Capability<u32, u32> = Capability::new("budget.next");

fn tasks(limit: u64) -> Budget {
    Budget { tasks: Some(limit), depth: Some(1_000), ping_pong: Some(1_000), ..Budget::default() }
}

fn exhausted(error: &Error, what: &str) {
    assert_eq!((error.class(), error.code()), (Class::Permanent, code::EXHAUSTED), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

/// Until nothing is at work or waits any more.
async fn settled(node: &Node) -> Vec<Status> {
    loop {
        let statuses = statuses(node).await;
        if statuses.iter().all(|status| status.is_final()) {
            return statuses;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Delegates three more of its kind, without end, and does not care what becomes of them.
async fn bomb(ctx: Context, n: u32) -> Result<u32> {
    ctx.keep(&n);
    let more = |k: u32| ctx.delegate(BOMB, n.wrapping_mul(3).wrapping_add(k));
    let _ignored = tokio::join!(more(1), more(2), more(3));
    std::future::pending().await
}

async fn a_fan_out_bomb_stops_at_the_budget_and_leaves_nothing_at_work(wing: &Wing) {
    let node = wing.node().serve(BOMB.by_fn(bomb)).start().await.unwrap();
    for limit in [0, 1, 7, 40] {
        let before = statuses(&node).await.len();
        let run = node.submit(BOMB, 0).budget(tasks(limit)).await.unwrap();
        let error = run.outcome().await.unwrap_err();
        exhausted(&error, &format!("the budget of {} is used up: {limit} tasks", run.id()));
        assert_eq!(error.partial::<u32>(), Some(0), "the root keeps what it had");
        let now = settled(&node).await;
        let made = now.len() - before;
        // What was spent when the budget ran out elsewhere need not have been made.
        assert!((1..=1 + usize::try_from(limit).unwrap()).contains(&made), "{made} of {limit} and the root");
    }
}

async fn loops_of_ever_new_inputs_stop_at_the_budget(wing: &Wing) {
    async fn hand_on(ctx: Context, n: u32) -> Result<u32> {
        let to = if ctx.host().facts().capability.as_str() == "budget.bomb" { NEXT } else { BOMB };
        Ok(ctx.delegate(to, n + 1).await?)
    }
    async fn own(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(COUNT, n + 1).await?)
    }
    let node = wing
        .node()
        .serve(BOMB.by_fn(hand_on))
        .serve(NEXT.by_fn(hand_on))
        .serve(COUNT.by_fn(own))
        .start()
        .await
        .unwrap();
    for first in [BOMB, COUNT] {
        let before = statuses(&node).await.len();
        let error = node.submit(first, 0).budget(tasks(20)).await.unwrap().outcome().await.unwrap_err();
        exhausted(&error, "20 tasks");
        assert_eq!(settled(&node).await.len() - before, 21);
    }
}

async fn what_fits_the_budget_exactly_is_done(wing: &Wing) {
    async fn tree(ctx: Context, depth: u32) -> Result<u32> {
        if depth == 0 {
            return Ok(1);
        }
        let (one, two) = tokio::join!(ctx.delegate(BOMB, depth - 1), ctx.delegate(BOMB, depth - 1));
        Ok(one? + two? + 1)
    }
    let node = wing.node().serve(BOMB.by_fn(tree)).start().await.unwrap();
    assert_eq!(node.submit(BOMB, 4).budget(tasks(30)).await.unwrap().outcome().await.unwrap(), 31);
    let error = node.submit(BOMB, 4).budget(tasks(29)).await.unwrap().outcome().await.unwrap_err();
    exhausted(&error, "29 tasks");
}

async fn steps_are_counted_over_the_whole_tree_and_not_counted_twice(wing: &Wing) {
    async fn steps(ctx: Context, n: u32) -> Result<u32> {
        let one: u32 = ctx.step("one", async || Ok(1)).await?;
        let below = if n == 0 { 0 } else { ctx.delegate(NEXT, n - 1).await? };
        if ctx.attempt() == 1 {
            return Err(callboard::Failure::transient("once more"));
        }
        Ok(below + one)
    }
    let node = wing.node().serve(NEXT.by_fn(steps)).start().await.unwrap();
    let budget = |steps| Budget { steps: Some(steps), ..Budget::default() };
    assert_eq!(node.submit(NEXT, 3).budget(budget(4)).await.unwrap().outcome().await.unwrap(), 4);
    let error = node.submit(NEXT, 3).budget(budget(3)).await.unwrap().outcome().await.unwrap_err();
    exhausted(&error, "3 steps");
}

async fn tokens_and_cost_are_refused_before_they_are_spent(wing: &Wing) {
    async fn model(ctx: Context, calls: u32) -> Result<u32> {
        for call in 0..calls {
            ctx.charge(100, 7).await?;
            ctx.keep(&(call + 1));
        }
        Ok(calls)
    }
    let node = wing.node().serve(BOMB.by_fn(model)).start().await.unwrap();
    let run = async |budget| node.submit(BOMB, 4).budget(budget).await.unwrap().outcome().await;
    assert_eq!(run(Budget { tokens: Some(400), cost_micros: Some(28), ..Budget::default() }).await.unwrap(), 4);
    let error = run(Budget { tokens: Some(399), ..Budget::default() }).await.unwrap_err();
    exhausted(&error, "399 tokens");
    assert_eq!(error.partial::<u32>(), Some(3));
    exhausted(&run(Budget { cost_micros: Some(20), ..Budget::default() }).await.unwrap_err(), "20 micros of cost");
    assert_eq!(run(Budget::default()).await.unwrap(), 4);
}

async fn an_agent_cannot_write_the_account(wing: &Wing) {
    async fn thief(ctx: Context, _n: u32) -> Result<u32> {
        ctx.charge(1, 0).await?;
        let states = ctx.host().states();
        let run = ctx.host().facts().run.clone().expect("a task has a run");
        let account = states.list(format!("run.{run}")).await?.pop().expect("it is there to be read");
        let write = callboard::broker::state::Write {
            key: account.key,
            expect: callboard::broker::state::Expect::Any,
            value: None,
            by: String::new(),
            task: None,
        };
        let answer = states.put(vec![write]).await.remove(0);
        Ok(u32::from(matches!(answer, Err(Error::Denied { .. }))))
    }
    let node = wing.node().serve(BOMB.by_fn(thief)).start().await.unwrap();
    let budget = Budget { tokens: Some(5), ..Budget::default() };
    assert_eq!(node.submit(BOMB, 1).budget(budget).await.unwrap().outcome().await.unwrap(), 1);
}

async fn a_child_is_not_given_what_is_counted_for_the_run(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(NEXT, n).budget(tasks(5)).await?)
    }
    let node = wing.node().serve(BOMB.by_fn(parent)).start().await.unwrap();
    let error = node.submit(BOMB, 1).await.unwrap().outcome().await.unwrap_err();
    assert!(error.code() == code::DECODE && error.to_string().contains("a whole run"), "{error}");
    assert_eq!(statuses(&node).await.len(), 1, "no child was made");
}
