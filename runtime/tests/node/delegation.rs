//! Tasks that delegate to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::budget::Budget;
use callboard::broker::faulty::{self, Faults, Weather};
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::payload::Payload;
use callboard::broker::task::{Status, Task};
use callboard::broker::tasks::Until;
use callboard::{Capability, Context, Error, EventKind, Failure, Node, Result, StateKey};
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    delegation_deeper_than_the_pool_is_wide_does_not_deadlock,
    a_second_attempt_finds_its_children_and_steps_done,
    the_same_key_with_another_input_is_refused_as_diverged,
    a_delegation_that_is_dropped_half_way_leaves_no_child_at_work,
    a_context_is_useless_once_its_request_has_ended,
    an_attempt_that_fails_or_panics_leaves_its_children_to_the_next,
    a_task_that_fails_for_good_takes_its_children_along,
    the_trace_of_a_task_goes_on_in_its_children,
    a_loop_over_a_group_writes_while_others_of_it_are_still_begun,
    a_loop_over_a_group_delegates_though_the_group_is_wider_than_its_task,
    a_child_that_has_ended_keeps_no_place_though_nobody_has_polled_for_it,
    a_group_that_is_cancelled_begins_no_child_that_waits_for_a_place;
    embedded: a_dropped_child_is_cancelled_when_the_store_is_there_again,
    a_step_that_is_dropped_half_way_does_not_take_the_log_from_the_attempt,
}

/// Waits until nothing is at work and the tasks stand so: children are cancelled after the outcome of their parent.
async fn stand(node: &Node, expected: &[Status]) {
    let what = format!("nothing at work, and {expected:?}");
    until(&what, async || node.metrics().running == 0 && statuses(node).await == expected).await;
}

/// Without telemetry nothing is added to a trace, and nothing of it is lost.
async fn the_trace_of_a_task_goes_on_in_its_children(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        ctx.delegate(WAIT, 1).key("child").await?;
        Ok(n)
    }
    let node = wing.node().serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait)).start().await.unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
    let (run, now) = (RunId::parse("traced").unwrap(), node.broker().clock.now());
    let task = Task { traceparent: trace, ..Task::root(run.clone(), COUNT.id(), Payload::of(7u32), now) };
    let tasks = node.broker().tasks.clone();
    tasks.submit(vec![task.clone()]).await.remove(0).unwrap();
    tasks.wait(vec![task.id.clone()], Until::All, Duration::from_secs(60)).await.unwrap();
    let child = TaskId::child(&run, &task.base, "child", 1);
    let ids = vec![task.id, child];
    let known: Vec<_> = tasks.get(ids).await.unwrap().into_iter().map(|view| view.unwrap().task.traceparent).collect();
    assert_eq!(known, [trace, trace]);
}

/// The others stand in the line for the task's log and nobody polls them meanwhile: none may hold up who stands behind.
async fn a_loop_over_a_group_writes_while_others_of_it_are_still_begun(wing: &Wing) {
    const LEAD: Capability<u64, u64> = Capability::new("test.lead");
    async fn lead(ctx: Context, n: u64) -> Result<u64> {
        let mut group = ctx.delegate_all(WAIT, 1..=n);
        let mut sum = 0;
        while let Some(done) = group.next().await {
            let done = done?;
            sum += ctx.step(format!("after {done}"), async || Ok(1_u64)).await?;
            ctx.delegate(WAIT, 100 + done).await?;
        }
        Ok(sum)
    }
    let slow = Faults { delay: Duration::from_millis(20), ..Faults::reordering(7) };
    let node = Node::over(faulty::wrap(wing.broker(), slow)).name("n");
    let node = node.serve(LEAD.by_fn(lead)).serve(WAIT.by_fn(wait).concurrency(8)).start().await.unwrap();
    let run = node.submit(LEAD, 20).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(120), run.outcome()).await;
    assert_eq!(outcome.expect("it does not stand still").unwrap(), 20);
}

/// Those of the group that wait for a place are polled by nobody meanwhile.
async fn a_loop_over_a_group_delegates_though_the_group_is_wider_than_its_task(wing: &Wing) {
    const LEAD: Capability<u64, u64> = Capability::new("test.lead");
    async fn lead(ctx: Context, n: u64) -> Result<u64> {
        let mut group = ctx.delegate_all(WAIT, 1..=n).at_most(20);
        let mut sum = 0;
        while let Some(done) = group.next().await {
            sum += ctx.delegate(WAIT, 100 + done?).await?;
        }
        Ok(sum)
    }
    let node = wing.node().serve(LEAD.by_fn(lead)).serve(WAIT.by_fn(wait).concurrency(8)).start().await.unwrap();
    let narrow = Budget { width: Some(3), ..Budget::default() };
    let run = node.submit(LEAD, 10).budget(narrow).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(60), run.outcome()).await;
    assert_eq!(outcome.expect("it does not stand still").unwrap(), 1_055);
}

async fn a_child_that_has_ended_keeps_no_place_though_nobody_has_polled_for_it(wing: &Wing) {
    const LEAD: Capability<Option<u64>, u64> = Capability::new("test.lead");
    async fn lead(ctx: Context, hedge: Option<u64>) -> Result<u64> {
        let ms = 2_000;
        let mut group = ctx.group();
        let child = ctx.delegate(WAIT, ms);
        group.add(match hedge {
            Some(after) => child.hedge(Duration::from_millis(after)),
            None => child,
        });
        // The child has begun when it is left alone.
        let begun = Duration::from_millis(ms / 2);
        assert!(tokio::time::timeout(begun, group.next()).await.is_err());
        let other = ctx.delegate(WAIT, 1).await?;
        Ok(other + group.next().await.expect("it is still in there")?)
    }
    let node = wing.node().serve(LEAD.by_fn(lead)).serve(WAIT.by_fn(wait).concurrency(8)).start().await.unwrap();
    let narrow = Budget { width: Some(1), ..Budget::default() };
    for hedge in [None, Some(10_000), Some(500)] {
        let run = node.submit(LEAD, hedge).budget(narrow).await.unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(60), run.outcome()).await;
        assert_eq!(outcome.expect("it does not stand still").unwrap(), 2_001, "{hedge:?}");
    }
}

/// The one that has its place is still on its way to the store.
async fn a_group_that_is_cancelled_begins_no_child_that_waits_for_a_place(wing: &Wing) {
    const LEAD: Capability<u64, usize> = Capability::new("test.lead");
    async fn lead(ctx: Context, ms: u64) -> Result<usize> {
        let mut group = ctx.delegate_all(WAIT, [ms, ms, ms]);
        assert!(tokio::time::timeout(Duration::from_millis(5), group.next()).await.is_err());
        let ended = group.cancel_all().await;
        Ok(ended.iter().filter(|one| matches!(one, Err(Error::Cancelled { .. }))).count())
    }
    let slow = Faults { delay: Duration::from_millis(20), ..Faults::reordering(7) };
    let node = Node::over(faulty::wrap(wing.broker(), slow)).name("n");
    let node = node.serve(LEAD.by_fn(lead)).serve(WAIT.by_fn(wait).concurrency(8)).start().await.unwrap();
    let narrow = Budget { width: Some(1), ..Budget::default() };
    let run = node.submit(LEAD, 60_000).budget(narrow).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 3);
    stand(&node, &[Status::Completed, Status::Cancelled]).await;
}

/// A pool of one, nested five deep: each parent must leave its slot to its child.
async fn delegation_deeper_than_the_pool_is_wide_does_not_deadlock(wing: &Wing) {
    async fn count(ctx: Context, n: u32) -> Result<u32> {
        if n == 0 { Ok(0) } else { Ok(ctx.delegate(COUNT, n - 1).await? + 1) }
    }
    let node = wing.node().serve(COUNT.by_fn(count)).start().await.unwrap();
    let run = node.submit(COUNT, 20).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(60), run.outcome()).await;
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

/// The store may still write a record whose call was dropped. The attempt must know of it, or all its later writes look as
/// if they came from an attempt that was replaced.
async fn a_step_that_is_dropped_half_way_does_not_take_the_log_from_the_attempt(wing: &Wing) {
    async fn impatient(ctx: Context, n: u32) -> Result<u32> {
        tokio::select! {
            biased;
            step = ctx.step("dropped", async || Ok(n)) => drop(step),
            () = std::future::ready(()) => {}
        }
        let kept: u32 = ctx.step("kept", async || Ok(n)).await?;
        Ok(kept)
    }
    let node = wing.node().serve(COUNT.by_fn(impatient)).start().await.unwrap();
    let began = Instant::now();
    let reply = node.submit(COUNT, 5).await.unwrap().reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (5, 1));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn a_delegation_that_is_dropped_half_way_leaves_no_child_at_work(wing: &Wing) {
    async fn impatient(ctx: Context, n: u32) -> Result<u32> {
        tokio::select! {
            biased;
            child = ctx.delegate(WAIT, 3_600_000).key("child").into_future() => drop(child),
            () = std::future::ready(()) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(n)
    }
    let node = wing.node().serve(COUNT.by_fn(impatient)).serve(WAIT.by_fn(wait)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 5).await.unwrap().outcome().await.unwrap(), 5);
    stand(&node, &[Status::Completed, Status::Cancelled]).await;
}

async fn a_dropped_child_is_cancelled_when_the_store_is_there_again(wing: &Wing) {
    let (broker, line) = faulty::wrap_switched(wing.broker(), Faults::reordering(1));
    line.set(Weather::Fair);
    let impatient = COUNT.by_fn(move |ctx: Context, n: u32| {
        let line = line.clone();
        async move {
            let mut child = ctx.delegate(WAIT, 3_600_000).key("child").into_future();
            let waited = tokio::time::timeout(Duration::from_millis(100), &mut child).await;
            assert!(waited.is_err(), "it is at work");
            line.set(Weather::Cut);
            drop(child);
            tokio::time::sleep(Duration::from_secs(5)).await;
            line.set(Weather::Fair);
            Ok(n)
        }
    });
    let node = Node::over(broker).name("n").serve(impatient).serve(WAIT.by_fn(wait)).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 5).await.unwrap().outcome().await.unwrap(), 5);
    stand(&node, &[Status::Completed, Status::Cancelled]).await;
}

async fn a_context_is_useless_once_its_request_has_ended(wing: &Wing) {
    const KEY: StateKey<u32> = StateKey::run("left");
    const SAID: EventKind<u32> = EventKind::new("test.said");
    let (leak, leaked) = tokio::sync::oneshot::channel();
    let leak = std::sync::Mutex::new(Some(leak));
    let leaky = COUNT.by_fn(move |ctx: Context, n: u32| {
        if let Some(leak) = leak.lock().unwrap().take() {
            leak.send(ctx).unwrap();
        }
        async move { Ok(n) }
    });
    let node = wing.node().serve(leaky).serve(WAIT.by_fn(wait)).start().await.unwrap();
    node.submit(COUNT, 5).await.unwrap().outcome().await.unwrap();
    let ctx = leaked.await.unwrap();
    let ended = ctx.cancelled().await;
    assert!(matches!(ended, Error::Cancelled { .. }), "{ended}");
    let refusals = [
        ctx.ask(WAIT, 1).await.err(),
        ctx.tell(WAIT, 1).await.err(),
        ctx.delegate(WAIT, 1).await.err(),
        ctx.step("late", async || Ok(1)).await.err(),
        ctx.emit(SAID, 1).await.err(),
        ctx.state(KEY).set(1).await.err(),
        ctx.state(KEY).get().await.err(),
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Some(Error::Cancelled { .. })), "call {n}: {refusal:?}");
    }
    assert_eq!(statuses(&node).await, [Status::Completed]);
}

async fn an_attempt_that_fails_or_panics_leaves_its_children_to_the_next(wing: &Wing) {
    async fn clumsy(ctx: Context, _: u32) -> Result<u32> {
        let mut children = ctx.delegate_all(WAIT, [100, 5_000, 5_001]);
        children.next().await.unwrap()?;
        match ctx.attempt() {
            1 => Err(Failure::transient("slipped")),
            2 => panic!("fell"),
            n => Ok(n + u32::try_from(children.settle().await.len())?),
        }
    }
    let node = wing.node().serve(COUNT.by_fn(clumsy)).serve(WAIT.by_fn(wait).concurrency(3)).start().await.unwrap();
    let reply = node.submit(COUNT, 0).await.unwrap().reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (5, 3));
    assert_eq!(statuses(&node).await, [Status::Completed; 4]);
    assert_eq!(figures(&node, "test.wait")["done"], 3, "each child was done once");
}

async fn a_task_that_fails_for_good_takes_its_children_along(wing: &Wing) {
    async fn hopeless(ctx: Context, _: u32) -> Result<u32> {
        let mut children = ctx.delegate_all(WAIT, [100, 3_600_000, 3_600_001]);
        children.next().await.unwrap()?;
        Err(Failure::permanent("there is no point"))
    }
    let node = wing.node().serve(COUNT.by_fn(hopeless)).serve(WAIT.by_fn(wait).concurrency(3)).start().await.unwrap();
    assert!(node.submit(COUNT, 0).await.unwrap().outcome().await.is_err());
    stand(&node, &[Status::Failed, Status::Completed, Status::Cancelled, Status::Cancelled]).await;
}
