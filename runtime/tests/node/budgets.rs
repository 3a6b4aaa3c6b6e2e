//! What a run may use over all of its tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::agents::llm::{Chain, Model, ModelError, Models, Price, Prices, Response, Usage};
use callboard::agents::testing::Script;
use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::error::{Class, Error};
use callboard::broker::task::Status;
use callboard::replay::Replay;
use callboard::{Capability, Context, Node, Result};

use crate::kit::*;

on_every_wing! {
    a_fan_out_bomb_stops_at_the_budget_and_leaves_nothing_at_work,
    loops_of_ever_new_inputs_stop_at_the_budget,
    what_fits_the_budget_exactly_is_done,
    steps_are_counted_over_the_whole_tree_and_not_counted_twice,
    effects_are_steps_of_the_budget_each_time_that_they_are_begun,
    tokens_and_cost_are_refused_before_they_are_spent,
    what_answers_an_ask_spends_from_the_run_that_asks,
    what_is_told_again_and_again_spends_from_the_run_in_which_it_began,
    a_model_is_not_asked_when_the_one_that_stands_in_for_it_is_too_dear,
    an_answer_that_took_more_than_there_was_is_kept_and_is_the_last,
    an_agent_cannot_write_the_account,
    a_child_is_not_given_what_is_counted_for_the_run,
    a_child_with_less_time_than_its_run_does_not_end_the_run,
    a_node_has_a_budget_for_what_is_submitted_through_it;
    embedded: when_the_wall_time_is_over_the_whole_tree_is_and_says_so,
}

const BOMB: Capability<u32, u32> = Capability::new("budget.bomb");
const NEXT: Capability<u32, u32> = Capability::new("budget.next");
const LEAD: Capability<u32, u32> = Capability::new("budget.lead");

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

async fn effects_are_steps_of_the_budget_each_time_that_they_are_begun(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let count = done.clone();
    let posts = move || {
        let count = count.clone();
        NEXT.by_fn(move |ctx: Context, times: u32| {
            let count = count.clone();
            async move {
                let mut last = 0;
                for n in 0..times {
                    let post = async || Ok(count.fetch_add(1, Ordering::SeqCst));
                    last = match n % 2 {
                        0 => ctx.effect(format!("post {n}"), post).await?,
                        _ => ctx.effect_keyed(format!("post {n}"), async |_| post().await).await?,
                    };
                }
                if ctx.attempt() == 1 {
                    return Err(callboard::Failure::transient("once more"));
                }
                Ok(last)
            }
        })
    };
    let node = wing.node().serve(posts()).start().await.unwrap();
    let steps = |steps| Budget { steps: Some(steps), ..Budget::default() };
    let error = node.submit(NEXT, 1_000).budget(steps(3)).await.unwrap().outcome().await.unwrap_err();
    exhausted(&error, "3 steps");
    assert_eq!(done.swap(0, Ordering::SeqCst), 3);
    // The second attempt has them from the log, and so has a replay: neither needs a step more.
    let run = node.submit(NEXT, 4).budget(steps(4)).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 3);
    let report = Replay::of(node.broker()).serve(posts()).run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{:?}", report.first());
    assert_eq!(done.load(Ordering::SeqCst), 4);
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

async fn what_answers_an_ask_spends_from_the_run_that_asks(wing: &Wing) {
    /// Asks in turn; the last of the three charges.
    async fn first(ctx: Context, calls: u32) -> Result<u32> {
        for call in 0..calls {
            ctx.ask(NEXT, call).await?;
            ctx.keep(&(call + 1));
        }
        Ok(calls)
    }
    async fn second(ctx: Context, call: u32) -> Result<u32> {
        Ok(ctx.ask(COUNT, call).await?)
    }
    async fn last(ctx: Context, call: u32) -> Result<u32> {
        ctx.charge(100, 7).await?;
        Ok(call)
    }
    let node =
        wing.node().serve(BOMB.by_fn(first)).serve(NEXT.by_fn(second)).serve(COUNT.by_fn(last)).start().await.unwrap();
    let run = async |budget| node.submit(BOMB, 4).budget(budget).await.unwrap().outcome().await;
    assert_eq!(run(Budget { tokens: Some(400), hops: Some(5), ..Budget::default() }).await.unwrap(), 4);
    let error = run(Budget { cost_micros: Some(20), ..Budget::default() }).await.unwrap_err();
    exhausted(&error, "20 micros of cost");
    assert_eq!(error.partial::<u32>(), Some(2));
    let accounts = async || {
        let states = node.broker().states.list("run".into()).await.unwrap();
        states.iter().filter(|entry| entry.key.as_str().contains("callboard-budget")).count()
    };
    assert_eq!(accounts().await, 2);
    assert_eq!(node.ask(NEXT, 1).await.unwrap(), 1);
    assert_eq!(run(Budget::default()).await.unwrap(), 4);
    assert_eq!(accounts().await, 2, "without a budget, or a run, it is charged to nobody");
}

/// Asks a model so often.
async fn asks(ctx: Context, calls: u32) -> Result<u32> {
    let model = ctx.model("budget.bomb").expect("it has one");
    for call in 0..calls {
        model.complete(format!("question {call}")).await?;
        ctx.keep(&(call + 1));
    }
    Ok(calls)
}

/// However long the way is over which it came.
async fn what_is_told_again_and_again_spends_from_the_run_in_which_it_began(wing: &Wing) {
    let spent = Arc::new(AtomicU32::new(0));
    let count = spent.clone();
    let again = move |ctx: Context, n: u32| {
        let count = count.clone();
        async move {
            ctx.taint("document x");
            ctx.charge(10, 0).await?;
            count.fetch_add(1, Ordering::SeqCst);
            // It hangs on none of those that told.
            ctx.ask(SHOUT, format!("{n}")).await?;
            // Without a budget it would go on for ever, and no time would pass.
            if n < 300 {
                ctx.tell(NEXT, n + 1).await?;
            }
            Ok(n)
        }
    };
    let node = wing.node().serve(NEXT.by_fn(again)).serve(SHOUT.by_fn(shout)).start().await.unwrap();
    let tokens = Budget { tokens: Some(1_000), ..Budget::default() };
    let _ended = node.submit(NEXT, 0).budget(tokens).await.unwrap().outcome().await;
    until("all is spent", async || {
        let now = spent.load(Ordering::SeqCst);
        assert!(now <= 100, "{now} times");
        now == 100
    })
    .await;
    // The next one would have come by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(spent.load(Ordering::SeqCst), 100);
    node.shutdown().await.unwrap();
}

/// A limit of cost was passed again and again by the model that stood in: the first one had no price, so nothing was
/// reserved, and the ledger took nothing of what did not fit into it.
async fn a_model_is_not_asked_when_the_one_that_stands_in_for_it_is_too_dear(wing: &Wing) {
    let free = Script::by(|_| Err(ModelError::away("gone"))).named("local/free");
    let dear = Script::by(|_| Ok(Response::text("here"))).named("openai/dear");
    let chain = Chain::new(Arc::new(free.clone()), vec![Arc::new(dear.clone())]);
    let price = Price { input: 1.0, output: 10.0 };
    let models = Models::none().by_default(Arc::new(chain)).prices(Prices([(dear.name().clone(), price)].into()));
    let node = wing.node().models(models).serve(BOMB.by_fn(asks)).start().await.unwrap();
    let run = async |cost| {
        let budget = Budget { cost_micros: Some(cost), ..Budget::default() };
        node.submit(BOMB, 1).budget(budget).await.unwrap().outcome().await
    };
    exhausted(&run(1_000).await.unwrap_err(), "1000 micros of cost");
    assert_eq!((free.asked().len(), dear.asked().len()), (0, 0));
    assert_eq!(run(20_000).await.unwrap(), 1);
}

async fn an_answer_that_took_more_than_there_was_is_kept_and_is_the_last(wing: &Wing) {
    let greedy = Script::by(|_| {
        let usage = Usage { input_tokens: 5_000, output_tokens: 5_000, estimated: false };
        Ok(Response { usage, ..Response::text("here") })
    });
    let models = Models::none().by_default(Arc::new(greedy.clone()));
    let node = wing.node().models(models).serve(BOMB.by_fn(asks)).start().await.unwrap();
    let budget = Budget { tokens: Some(3_000), ..Budget::default() };
    assert_eq!(node.submit(BOMB, 1).budget(budget).await.unwrap().outcome().await.unwrap(), 1);
    let error = node.submit(BOMB, 3).budget(budget).await.unwrap().outcome().await.unwrap_err();
    exhausted(&error, "3000 tokens");
    // The first of the three is known from before and takes nothing.
    assert_eq!((error.partial::<u32>(), greedy.asked().len()), (Some(2), 2));
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

async fn when_the_wall_time_is_over_the_whole_tree_is_and_says_so(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        ctx.keep(&n);
        // What it makes of the end of its child does not count.
        let _ignored = ctx.delegate(NEXT, n).await;
        std::future::pending().await
    }
    let endless = NEXT.by_fn(|_ctx: Context, _: u32| std::future::pending::<Result<u32>>());
    let node = wing.node().serve(BOMB.by_fn(parent)).serve(endless).start().await.unwrap();
    // The second is parked meanwhile.
    for (wall_ms, said) in [(1_500, "1500 milliseconds"), (60_000, "60 seconds")] {
        let began = tokio::time::Instant::now();
        let budget = Budget { wall_ms: Some(wall_ms), ..Budget::default() };
        let error = node.submit(BOMB, 3).budget(budget).await.unwrap().outcome().await.unwrap_err();
        exhausted(&error, &format!("{said} of wall time"));
        assert_eq!(error.partial::<u32>(), Some(3));
        settled(&node).await;
        let late = began.elapsed().saturating_sub(Duration::from_millis(wall_ms));
        assert!(late < Duration::from_millis(200), "{late:?}");
    }
    let statuses = statuses(&node).await;
    assert!(!statuses.contains(&Status::Completed) && statuses.len() == 4, "{statuses:?}");
}

async fn a_child_with_less_time_than_its_run_does_not_end_the_run(wing: &Wing) {
    async fn lead(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(NEXT, n).deadline(Duration::from_millis(300)).await?)
    }
    async fn top(ctx: Context, n: u32) -> Result<u32> {
        // Not tried again: what became of the first attempt is what this is about.
        let error = ctx.delegate(LEAD, n).retry(1).await.unwrap_err();
        assert_ne!(error.code(), code::EXHAUSTED, "{error}");
        Ok(n)
    }
    let endless = NEXT.by_fn(|_ctx: Context, _: u32| std::future::pending::<Result<u32>>());
    let node = wing.node().serve(BOMB.by_fn(top)).serve(LEAD.by_fn(lead)).serve(endless).start().await.unwrap();
    let budget = Budget { wall_ms: Some(20 * 60_000), ..Budget::default() };
    assert_eq!(node.submit(BOMB, 3).budget(budget).await.unwrap().outcome().await.unwrap(), 3);
}

async fn a_node_has_a_budget_for_what_is_submitted_through_it(wing: &Wing) {
    async fn two(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(NEXT, n).await? + ctx.delegate(NEXT, n + 1).await?)
    }
    let one = NEXT.by_fn(|_ctx: Context, n: u32| async move { Ok(n) });
    let node = wing.node().budget("tasks=1,steps=9".parse().unwrap()).serve(BOMB.by_fn(two)).serve(one);
    let node = node.start().await.unwrap();
    exhausted(&node.submit(BOMB, 1).await.unwrap().outcome().await.unwrap_err(), "1 tasks");
    let more = Budget { tasks: Some(2), ..Budget::default() };
    assert_eq!(node.submit(BOMB, 1).budget(more).await.unwrap().outcome().await.unwrap(), 3);
}
