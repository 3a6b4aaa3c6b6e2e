//! A node end to end on the memory wing: asks, tasks, delegation, supervision as users meet them.
//!
//! Time is paused, so waits cost nothing and bounds are exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::clock::Clock;
use callboard::broker::task::Status;
use callboard::broker::{Broker, memory};
use callboard::diag::{ECHO, Echo, echo};
use callboard::{Capability, Context, Error, Failure, Node, Result, Supervisor};
use tokio::time::Instant;

const SHOUT: Capability<String, String> = Capability::new("text.shout");
const COUNT: Capability<u32, u32> = Capability::new("test.count");
const WAIT: Capability<u64, u64> = Capability::new("test.wait");

async fn shout(_ctx: Context, text: String) -> Result<String> {
    Ok(text.to_uppercase())
}

async fn wait(_ctx: Context, ms: u64) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(ms)
}

fn broker() -> Broker {
    memory::open(memory::Options { clock: Clock::following_tokio(), ..memory::Options::default() })
}

fn echoing(text: &str) -> Echo {
    Echo { text: text.into(), delay_ms: 0, fail_times: 0, panic: false }
}

#[tokio::test(start_paused = true)]
async fn an_ask_is_answered_and_a_task_is_done() {
    let node = Node::over(broker()).serve(SHOUT.by_fn(shout)).start().await.unwrap();
    assert_eq!(node.ask(SHOUT, "hello".into()).await.unwrap(), "HELLO");
    let run = node.submit(SHOUT, "durable".into()).run("r-1").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "DURABLE");
    let again = node.submit(SHOUT, "durable".into()).run("r-1").await.unwrap();
    let reply = again.reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt, reply.agent.as_str()), ("DURABLE", 1, "text.shout"));
    node.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_serves_it_is_an_error_at_once() {
    let node = Node::over(broker()).start().await.unwrap();
    let asked = Instant::now();
    assert!(matches!(node.ask(SHOUT, "x".into()).await, Err(Error::NoRecipient { .. })));
    assert!(asked.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn twenty_asks_at_a_bound_of_twelve_are_eight_busy_at_once() {
    let node = Node::over(broker()).serve(WAIT.by_fn(wait).concurrency(4).queue(12)).start().await.unwrap();
    let mut asks = tokio::task::JoinSet::new();
    let began = Instant::now();
    for _ in 0..20 {
        let node = node.clone();
        asks.spawn(async move { (node.ask(WAIT, 100).await, Instant::now()) });
    }
    let (mut busy, mut done) = (0, 0);
    while let Some(ended) = asks.join_next().await {
        match ended.unwrap() {
            (Ok(_), _) => done += 1,
            (Err(Error::Busy { .. }), at) => {
                busy += 1;
                assert!(at - began < Duration::from_millis(10));
            }
            (Err(other), _) => panic!("{other}"),
        }
    }
    assert_eq!((done, busy), (12, 8));
    assert_eq!(began.elapsed().as_millis() / 100, 3, "three rounds of four");
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_request_and_nothing_else() {
    let node = Node::over(broker()).serve(echo().concurrency(4)).start().await.unwrap();
    let slow = node.ask(ECHO, Echo { delay_ms: 500, ..echoing("slow") });
    let bad = node.ask(ECHO, Echo { panic: true, delay_ms: 10, ..echoing("bad") });
    let (slow, bad) = tokio::join!(slow.into_future(), bad.into_future());
    assert_eq!(slow.unwrap().text, "slow");
    let Err(Error::Crashed { reason, .. }) = bad else { panic!("{bad:?}") };
    assert!(reason.contains("told to panic"), "{reason}");
    assert_eq!(node.ask(ECHO, echoing("next")).await.unwrap().text, "next");
    assert_eq!(node.agents().iter().find(|(name, _)| name == "diag.echo").unwrap().1["panicked"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_pending_ask_fails_at_once_when_its_cell_is_killed_and_the_address_goes_on() {
    let node = Node::over(broker()).name("n").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let asking = tokio::spawn({
        let node = node.clone();
        async move { (node.ask(WAIT, 60_000).await, Instant::now()) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let killed = Instant::now();
    node.kill("n/agents/test.wait/#1").unwrap();
    let (answer, at) = asking.await.unwrap();
    assert!(matches!(answer, Err(Error::Crashed { .. })), "{answer:?}");
    assert!(at - killed < Duration::from_millis(10));
    assert_eq!(node.ask(WAIT, 1).await.unwrap(), 1, "the restarted cell serves the same address");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_tried_again_with_growing_waits_and_then_given_up() {
    let node = Node::over(broker()).serve(echo()).start().await.unwrap();
    let began = Instant::now();
    let run = node.submit(ECHO, Echo { fail_times: 2, ..echoing("third time") }).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().attempt, 3);
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let run = node.submit(ECHO, Echo { fail_times: 9, ..echoing("never") }).await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Failed { .. })));
    let dead = node.broker().dead.list(0, 10).await.unwrap();
    assert_eq!(dead.len(), 1, "what failed too often is a dead letter");
}

/// A pool of one, nested five deep: each parent must leave its slot to its child.
#[tokio::test(start_paused = true)]
async fn delegation_deeper_than_the_pool_is_wide_does_not_deadlock() {
    async fn count(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.delegate(COUNT, n - 1).await? + 1) }
    }
    let node = Node::over(broker()).serve(COUNT.by_fn(count)).start().await.unwrap();
    let run = node.submit(COUNT, 20).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(10), run.outcome()).await;
    assert_eq!(outcome.expect("no deadlock").unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_finds_its_children_and_steps_done() {
    static RAN: AtomicU32 = AtomicU32::new(0);
    static STEPPED: AtomicU32 = AtomicU32::new(0);
    async fn leaf(_ctx: Context, n: u64) -> Result<u64> {
        RAN.fetch_add(1, Ordering::SeqCst);
        Ok(n)
    }
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        let child = ctx.delegate(WAIT, u64::from(n)).await?;
        let step: u32 = ctx.step("once", async || Ok(STEPPED.fetch_add(1, Ordering::SeqCst) + 1)).await?;
        if ctx.attempt() == 1 {
            return Err(Failure::transient("after the child was done"));
        }
        Ok(u32::try_from(child).unwrap() + step)
    }
    let node = Node::over(broker()).serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(leaf)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 10).await.unwrap().outcome().await.unwrap(), 11);
    assert_eq!((RAN.load(Ordering::SeqCst), STEPPED.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_another_input_is_refused_as_diverged() {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        let _ = ctx.delegate(WAIT, 1).key("child").await?;
        match ctx.delegate(WAIT, 2).key("child").await {
            Err(Error::Diverged { .. }) => Ok(n),
            other => Err(Failure::permanent(format!("{other:?}"))),
        }
    }
    let node = Node::over(broker()).serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 7).await.unwrap().outcome().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_run_reaches_its_whole_tree() {
    async fn parent(ctx: Context, _: u32) -> Result<u32> {
        ctx.delegate_all(WAIT, [3_600_000, 3_600_001]).await?;
        Ok(0)
    }
    let node =
        Node::over(broker()).serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait).concurrency(2)).start().await.unwrap();
    let run = node.submit(COUNT, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.metrics().running, 3);
    let began = Instant::now();
    run.cancel("changed my mind").await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Cancelled { .. })));
    while node.metrics().running > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    let tasks = node.broker().tasks.list(Default::default()).await.unwrap();
    assert!(tasks.iter().all(|task| task.status == Status::Cancelled), "{tasks:?}");
}

#[tokio::test(start_paused = true)]
async fn draining_hands_back_what_cannot_finish_and_another_node_goes_on() {
    let broker = broker();
    let first = Node::over(broker.clone()).name("first").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let run = first.submit(WAIT, 30_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.shutdown().await.unwrap();
    let second = Node::over(broker).name("second").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (30_000, 1), "a drain costs no attempt");
    second.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_all_decline_is_failed() {
    struct Picky;
    impl callboard::Agent<String, String> for Picky {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            Ok(text)
        }
        fn can_handle(&self, _task: &callboard::TaskInfo) -> bool {
            false
        }
    }
    let broker = broker();
    let alone = Node::over(broker.clone()).serve(SHOUT.by(Picky).named("picky")).start().await.unwrap();
    let Err(Error::Failed { failure, .. }) = alone.submit(SHOUT, "x".into()).await.unwrap().outcome().await else {
        panic!("a declined task cannot succeed")
    };
    assert!(failure.message.contains("no agent available for task"), "{}", failure.message);
    alone.shutdown().await.unwrap();
    let both =
        Node::over(broker).serve(SHOUT.by(Picky).named("picky")).serve(SHOUT.by_fn(shout)).start().await.unwrap();
    assert_eq!(both.submit(SHOUT, "y".into()).await.unwrap().outcome().await.unwrap(), "Y");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_in_one_process_do_not_collide() {
    let make = |tag: &'static str| {
        let service = SHOUT.by_fn(move |_ctx, text: String| async move { Ok(format!("{tag} {text}")) });
        Node::over(broker()).name("same").serve(service).start()
    };
    let (one, two) = (make("one").await.unwrap(), make("two").await.unwrap());
    assert_eq!(one.ask(SHOUT, "x".into()).await.unwrap(), "one x");
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
    one.shutdown().await.unwrap();
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_answers_and_has_the_agent_rebuilt() {
    static BUILT: AtomicU32 = AtomicU32::new(0);
    struct Fragile;
    impl callboard::Agent<String, String> for Fragile {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            if text == "break" { Err(Failure::fatal("lost its connection")) } else { Ok(text) }
        }
    }
    let fresh = SHOUT.by_fresh(|| async {
        BUILT.fetch_add(1, Ordering::SeqCst);
        Ok(Fragile)
    });
    let node = Node::over(broker()).serve(fresh).start().await.unwrap();
    assert!(matches!(node.ask(SHOUT, "break".into()).await, Err(Error::Failed { .. })));
    assert_eq!(node.ask(SHOUT, "fine".into()).await.unwrap(), "fine");
    assert_eq!(BUILT.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_keeps_crashing_takes_its_node_down_with_a_reason() {
    let broken = SHOUT.by_fn(|_ctx, _text: String| async { Err(Failure::fatal("cannot go on")) });
    let lead = Supervisor::new("lead").intensity(1, Duration::from_secs(60)).child(broken);
    let node = Node::over(broker()).intensity(1, Duration::from_secs(60)).serve(lead).start().await.unwrap();
    let node = Arc::new(node);
    let asking = tokio::spawn({
        let node = node.clone();
        async move {
            loop {
                let _ = node.ask(SHOUT, "x".into()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let gave_up = tokio::time::timeout(Duration::from_secs(600), node.gave_up()).await.expect("it gives up");
    assert!(gave_up.to_string().contains("cannot go on"), "{gave_up}");
    asking.abort();
}

#[tokio::test(start_paused = true)]
async fn scaling_a_pool_changes_how_much_runs_at_a_time() {
    let node = Node::over(broker()).serve(WAIT.by_fn(wait)).start().await.unwrap();
    node.scale(WAIT, 4).await.unwrap();
    let began = Instant::now();
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let node = node.clone();
        asks.spawn(async move { node.ask(WAIT, 100).await });
    }
    while let Some(done) = asks.join_next().await {
        done.unwrap().unwrap();
    }
    assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
    node.scale(WAIT, 1).await.unwrap();
    assert_eq!(node.agents().iter().find(|(name, _)| name == "test.wait").unwrap().1["workers"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_a_dead_letter_with_its_reason() {
    let node = Node::over(broker()).serve(COUNT.by_fn(|_ctx, n: u32| async move { Ok(n) })).start().await.unwrap();
    const BY_HAND: Capability<String, u32> = Capability::new("test.count");
    assert!(matches!(node.ask(BY_HAND, "seven".into()).await, Err(Error::Decode { .. })));
    let dead = node.broker().dead.list(0, 10).await.unwrap();
    assert_eq!(dead[0].reason, callboard::broker::dead_letter::Reason::Undecodable);
}
