//! Delegations and asks that would never end.

use std::future::IntoFuture;

use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::error::{Class, Error};
use callboard::{Capability, Context, Node, Result, Stateful, StatefulAgent, stateful};

use crate::kit::*;

on_every_wing! {
    a_task_that_delegates_its_own_work_is_refused_with_the_way_around,
    an_ask_that_comes_round_to_an_agent_or_a_task_is_refused,
    an_ask_for_what_a_task_further_up_is_at_is_refused,
    tasks_are_as_deep_as_the_limit_and_no_deeper,
    asks_hang_on_one_another_as_the_run_allows_and_no_further,
    a_child_can_have_less_than_its_parent_and_not_more,
    a_ping_pong_of_ever_new_inputs_ends_by_its_own_limit,
    deep_flows_that_come_to_an_end_are_left_alone,
    the_same_call_with_the_same_answer_again_and_again_is_refused,
    a_notification_to_the_state_at_which_its_sender_works_is_no_loop,
    a_state_that_would_wait_for_itself_is_refused_with_the_way_around;
    embedded: an_ask_that_comes_back_to_an_agent_with_no_slot_left_is_lent_one,
    a_state_that_would_have_to_move_away_from_who_waits_for_it_is_refused_too,
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

async fn asks_hang_on_one_another_as_the_run_allows_and_no_further(wing: &Wing) {
    async fn down(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.ask(A, n - 1).await? + 1) }
    }
    let below = C.by_fn(async |ctx: Context, n: u32| Ok(ctx.delegate(A, n).await?));
    let node = wing.node().serve(A.by_fn(down).concurrency(40)).serve(below).start().await.unwrap();
    let hops = |hops| Budget { hops: Some(hops), ..Budget::default() };
    let run = async |first, n, budget| node.submit(first, n).budget(budget).await.unwrap().outcome().await;
    for (budget, most) in [(hops(0), 0), (hops(3), 3), (hops(99), 32), (Budget::default(), 32)] {
        assert_eq!(run(A, most, budget).await.unwrap(), most);
        let (code, text) = failure(run(A, most + 1, budget).await.unwrap_err());
        assert_eq!(code, code::EXHAUSTED);
        assert!(text.contains(&format!("over the limit of {most} asks that hang on one another")), "{text}");
    }
    assert_eq!(run(C, 3, hops(3)).await.unwrap(), 3, "a child inherits it");
    assert_eq!(failure(run(C, 4, hops(3)).await.unwrap_err()).0, code::EXHAUSTED);
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

async fn the_same_call_with_the_same_answer_again_and_again_is_refused(wing: &Wing) {
    /// Asks or delegates until it is refused; how often that went well.
    async fn stuck(ctx: Context, n: u32) -> Result<u32> {
        for round in 0.. {
            let answer = match n {
                0 => ctx.ask(B, 1).await,
                1 => ctx.delegate(B, 1).await,
                // Meant, each of them: they have keys.
                2 => ctx.delegate(B, 1).key(format!("{round}")).await,
                // There is headway as long as the answer changes.
                _ => ctx.ask(C, 1).await,
            };
            match answer {
                Ok(_) if round < 70 => {}
                Ok(_) => return Ok(round),
                Err(error @ Error::Loop { .. }) => {
                    assert!(error.to_string().contains("loop.b -> loop.b"), "{error}");
                    return Ok(round);
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!()
    }
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counting = C.by_fn(move |_ctx: Context, _: u32| {
        let n = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move { Ok(n) }
    });
    let same = B.by_fn(async |_ctx: Context, n: u32| Ok(n));
    let node = wing.node().serve(A.by_fn(stuck)).serve(same).serve(counting).start().await.unwrap();
    for (n, rounds) in [(0, 50), (1, 50), (2, 70), (3, 70)] {
        assert_eq!(node.submit(A, n).await.unwrap().outcome().await.unwrap(), rounds, "{n}");
    }
    let less = Budget { repeats: Some(4), ..Budget::default() };
    for n in [0, 1] {
        assert_eq!(node.submit(A, n).budget(less).await.unwrap().outcome().await.unwrap(), 4);
    }
}

async fn an_ask_that_comes_back_to_an_agent_with_no_slot_left_is_lent_one(wing: &Wing) {
    let ask = async |ctx: Context, n: u32| -> Result<u32> {
        let to = if ctx.host().facts().capability.as_str() == "loop.a" { B } else { A };
        Ok(if n == 0 { 0 } else { ctx.ask(to, n - 1).await? + 1 })
    };
    let itself = async |ctx: Context, n: u32| Ok(if n == 0 { 0 } else { ctx.ask(COUNT, n - 1).await? + 1 });
    let node = wing.node().serve(A.by_fn(ask)).serve(B.by_fn(ask)).serve(COUNT.by_fn(itself)).start().await.unwrap();
    let began = tokio::time::Instant::now();
    // Others wait in the queues meanwhile, and are not lent any.
    let (there_and_back, alone) = tokio::join!(node.ask(A, 7), node.ask(COUNT, 20));
    assert_eq!((there_and_back.unwrap(), alone.unwrap()), (7, 20));
    let mut many = tokio::task::JoinSet::new();
    for _ in 0..20 {
        many.spawn(node.ask(A, 4).into_future());
    }
    for one in many.join_all().await {
        assert_eq!(one.unwrap(), 4);
    }
    assert_eq!(node.submit(A, 9).await.unwrap().outcome().await.unwrap(), 9);
    assert_eq!(node.submit(COUNT, 9).await.unwrap().outcome().await.unwrap(), 9);
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}

/// Asks another agent, which asks it for the state that it is told.
struct Desk;

impl Stateful for Desk {
    type State = u32;
}

impl StatefulAgent<(String, Vec<String>), u32> for Desk {
    async fn handle(&self, ctx: Context, visits: &mut u32, (_, then): (String, Vec<String>)) -> Result<u32> {
        *visits += 1;
        let below = if then.is_empty() { 0 } else { ctx.ask(NEXT, then).await? };
        Ok(below + 1)
    }
}

const DESK: Capability<(String, Vec<String>), u32> = Capability::new("loop.desk");
const NEXT: Capability<Vec<String>, u32> = Capability::new("loop.next");

fn way(keys: &str) -> Vec<String> {
    keys.split(' ').map(str::to_owned).collect()
}

/// Tells itself what is left to do, and counts; 0 only looks.
struct Again;

impl Stateful for Again {
    type State = u32;
}

impl StatefulAgent<u32, u32> for Again {
    async fn handle(&self, ctx: Context, count: &mut u32, left: u32) -> Result<u32> {
        *count += left.min(1);
        if left > 1 {
            ctx.tell(AGAIN, left - 1).await?;
            // It is still at work when that arrives.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(*count)
    }
}

const AGAIN: Capability<u32, u32> = Capability::new("loop.again");

/// Nobody waits for it, so it has its turn when its sender has had his.
async fn a_notification_to_the_state_at_which_its_sender_works_is_no_loop(wing: &Wing) {
    let node = wing.node().serve(stateful(Again).on(AGAIN).service().concurrency(4)).start().await.unwrap();
    assert_eq!(node.submit(AGAIN, 100).await.unwrap().outcome().await.unwrap(), 1);
    let began = tokio::time::Instant::now();
    while node.ask(AGAIN, 0).await.unwrap() < 100 {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "the others were refused");
        a_moment().await;
    }
}

/// Hands on to the same agent, for the states that it is told.
struct Ward;

impl Stateful for Ward {
    type State = u32;
}

impl StatefulAgent<(String, Vec<String>), u32> for Ward {
    async fn handle(&self, ctx: Context, visits: &mut u32, (_, mut then): (String, Vec<String>)) -> Result<u32> {
        *visits += 1;
        if then.is_empty() {
            return Ok(1);
        }
        let next = (then.remove(0), then);
        Ok(ctx.delegate(WARD, next).await? + 1)
    }
}

const WARD: Capability<(String, Vec<String>), u32> = Capability::new("loop.ward");

/// A state moves to where its next request is, and cannot while who has it waits for that request.
async fn a_state_that_would_have_to_move_away_from_who_waits_for_it_is_refused_too(wing: &Wing) {
    let broker = wing.broker();
    let ward = || stateful(Ward).on_key(WARD, |(key, _)| key.clone()).service().concurrency(8);
    let node = |name: &'static str| Node::over(broker.clone()).name(name).serve(ward()).start();
    let (one, two) = (node("one").await.unwrap(), node("two").await.unwrap());
    let began = tokio::time::Instant::now();
    for round in 0..20 {
        let ends = one.submit(WARD, (format!("a{round}"), way("b c d"))).await.unwrap();
        assert_eq!(ends.outcome().await.unwrap(), 4);
        let closed = two.submit(WARD, ("a".into(), way(["a", "b a", "b c b"][round % 3]))).await.unwrap();
        let error = closed.outcome().await.unwrap_err();
        assert!(error.to_string().contains("loop.ward -> loop.ward"), "{error}");
    }
    assert!(one.metrics().done > 5 && two.metrics().done > 5, "both work");
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

async fn a_state_that_would_wait_for_itself_is_refused_with_the_way_around(wing: &Wing) {
    let next = async |ctx: Context, mut way: Vec<String>| {
        let first = way.remove(0);
        Ok(ctx.ask(DESK, (first, way)).await?)
    };
    let desk = stateful(Desk).on_key(DESK, |(key, _)| key.clone()).service();
    let node = wing.node().serve(desk).serve(NEXT.by_fn(next)).start().await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(node.ask(NEXT, way("a b c d")).await.unwrap(), 4);
    for closed in ["a a", "a b a", "a b c b"] {
        let (code, text) = failure(node.ask(NEXT, way(closed)).await.unwrap_err());
        assert_eq!(code, code::LOOP, "{closed}: {text}");
        assert!(text.contains("loop.desk -> loop.next -> loop.desk"), "{closed}: {text}");
    }
    // The same state for two who have nothing to do with each other is no loop.
    let (one, two) = tokio::join!(node.ask(NEXT, way("a b")), node.ask(NEXT, way("b a")));
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    assert_eq!(node.ask(NEXT, way("a b c")).await.unwrap(), 3);
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

/// The ask may be quicker than the news that its asker has taken the last slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_comes_back_is_lent_a_slot_however_quick_it_is() {
    let itself = async |ctx: Context, n: u32| Ok(if n == 0 { 0 } else { ctx.ask(COUNT, n - 1).await? + 1 });
    for wing in Wing::all() {
        let node = wing.live().serve(COUNT.by_fn(itself)).start().await.unwrap();
        let all = async {
            for n in 0..300 {
                let depth = 1 + n % 3;
                assert_eq!(node.submit(COUNT, depth).await.unwrap().outcome().await.unwrap(), depth);
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), all).await.expect("none waits for itself");
    }
}
