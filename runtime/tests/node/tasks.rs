//! Durable work: tried again, declined, cancelled.

use std::time::Duration;

use callboard::broker::dead_letter::Reason;
use callboard::broker::events::EventFilter;
use callboard::broker::id::TaskId;
use callboard::broker::task::Status;
use callboard::diag::{ECHO, Echo, echo};
use callboard::{Agent, Context, Error, Node, Result, Run, Service, Stateful, StatefulAgent, TaskInfo, stateful};
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    a_task_is_tried_again_with_growing_waits_and_then_given_up,
    an_agent_that_panics_when_it_is_asked_whether_it_takes_a_task_does_not_take_it,
    a_cancel_and_an_end_at_the_same_moment_leave_one_outcome_and_no_claim,
    nothing_of_a_tree_succeeds_after_it_was_cancelled,
    twenty_submitters_at_once_lose_nothing;
    embedded: a_cell_takes_no_more_tasks_than_it_has_slots,
    a_task_that_all_decline_is_failed,
    cancelling_a_run_reaches_its_whole_tree,
    a_task_ends_at_its_deadline_and_an_attempt_at_its_own,
    tasks_that_panic_or_fail_do_not_hold_up_their_pool,
    a_flood_of_asks_leaves_tasks_their_turn_and_a_flood_of_tasks_an_ask,
    a_task_that_one_node_declines_waits_for_another_that_is_busy,
    a_task_that_one_agent_declines_waits_for_hours_for_another_that_is_busy,
    a_task_that_every_node_declines_is_failed,
}

async fn a_task_is_tried_again_with_growing_waits_and_then_given_up(wing: &Wing) {
    let node = wing.node().serve(echo()).start().await.unwrap();
    let began = Instant::now();
    let run = node.submit(ECHO, Echo { fail_times: 2, ..echoing("third time") }).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().attempt, 3);
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let run = node.submit(ECHO, Echo { fail_times: 9, ..echoing("never") }).await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Failed { .. })));
    assert_eq!(dead(&node).await.len(), 1, "what failed too often is a dead letter");
}

/// Takes texts of up to so many letters, answers after so many milliseconds, and says who it is.
struct Picky(usize, u64, &'static str);

impl Agent<String, String> for Picky {
    async fn handle(&self, _ctx: Context, _text: String) -> Result<String> {
        tokio::time::sleep(Duration::from_millis(self.1)).await;
        Ok(self.2.into())
    }

    fn can_handle(&self, task: &TaskInfo) -> bool {
        task.input.read::<String>().unwrap().len() <= self.0
    }
}

fn picky(most: usize, ms: u64, name: &'static str) -> Service {
    SHOUT.by(Picky(most, ms, name)).named(name)
}

async fn no_agent(run: Run<String>) {
    let Err(Error::Failed { failure, .. }) = run.outcome().await else { panic!("a declined task cannot succeed") };
    assert!(failure.message.contains("no agent available for task"), "{}", failure.message);
}

async fn a_task_that_all_decline_is_failed(wing: &Wing) {
    let broker = wing.broker();
    let alone = Node::over(broker.clone()).serve(picky(0, 0, "none")).start().await.unwrap();
    let began = Instant::now();
    no_agent(alone.submit(SHOUT, "x".into()).await.unwrap()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    alone.shutdown().await.unwrap();
    let both = Node::over(broker).serve(picky(0, 0, "none")).serve(SHOUT.by_fn(shout)).start().await.unwrap();
    assert_eq!(both.submit(SHOUT, "y".into()).await.unwrap().outcome().await.unwrap(), "Y");
}

async fn a_task_that_one_node_declines_waits_for_another_that_is_busy(wing: &Wing) {
    let broker = wing.broker();
    let long = Node::over(broker.clone()).name("long").serve(picky(9, 600_000, "long")).start().await.unwrap();
    let busy = long.submit(SHOUT, "first".into()).await.unwrap();
    a_moment().await;
    let short = Node::over(broker).name("short").serve(picky(1, 0, "short").workers(2)).start().await.unwrap();
    let waits = short.submit(SHOUT, "second".into()).await.unwrap();
    let began = Instant::now();
    assert_eq!(short.submit(SHOUT, "3".into()).await.unwrap().outcome().await.unwrap(), "short");
    assert!(began.elapsed() < Duration::from_secs(1), "what it takes does not wait for what it declined");
    let reply = waits.reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt), ("long", 1));
    assert_eq!(busy.outcome().await.unwrap(), "long");
}

/// Passing a task on costs nothing, however often: an agent that declines must not use up the task of one that is busy.
async fn a_task_that_one_agent_declines_waits_for_hours_for_another_that_is_busy(wing: &Wing) {
    let node = wing.node().serve(picky(1, 0, "short")).serve(picky(9, 8 * 3_600_000, "long")).start().await.unwrap();
    let first = node.submit(SHOUT, "first".into()).await.unwrap();
    a_moment().await;
    let second = node.submit(SHOUT, "second".into()).await.unwrap();
    assert_eq!(first.outcome().await.unwrap(), "long");
    assert_eq!(second.reply().await.unwrap().attempt, 1);
    let log = node.broker().tasks.log(TaskId::parse(second.id()).unwrap()).await.unwrap();
    assert!(log.len() < 50, "{} records for having waited", log.len());
}

async fn a_task_that_every_node_declines_is_failed(wing: &Wing) {
    let broker = wing.broker();
    let start = |name: &'static str| Node::over(broker.clone()).name(name).serve(picky(1, 0, name)).start();
    let (one, _two) = (start("one").await.unwrap(), start("two").await.unwrap());
    let run = one.submit(SHOUT, "too long".into()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), no_agent(run)).await.expect("both have said no");
}

async fn an_agent_that_panics_when_it_is_asked_whether_it_takes_a_task_does_not_take_it(wing: &Wing) {
    struct Rude;
    impl Agent<String, String> for Rude {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            Ok(text)
        }
        fn can_handle(&self, _task: &TaskInfo) -> bool {
            panic!("do not ask")
        }
    }
    let rude = SHOUT.by(Rude).named("rude");
    let node = wing.node().serve(rude).serve(picky(9, 0, "polite")).start().await.unwrap();
    for _ in 0..3 {
        assert_eq!(node.submit(SHOUT, "x".into()).await.unwrap().outcome().await.unwrap(), "polite");
    }
    assert!(node.tree().root.find("n/agents/rude/#1").unwrap().starts == 1, "its cell does not end by that");
}

async fn a_task_ends_at_its_deadline_and_an_attempt_at_its_own(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait).concurrency(2)).start().await.unwrap();
    let began = Instant::now();
    let run = node.submit(WAIT, 60_000).expires(Duration::from_secs(2)).await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Expired)));
    assert!(began.elapsed() < Duration::from_millis(2_100), "{:?}", began.elapsed());
    assert_eq!(dead(&node).await[0].reason, Reason::Expired);
    let run = node.submit(WAIT, 60_000).timeout(Duration::from_secs(1)).retry(2).await.unwrap();
    let Err(Error::Failed { failure, .. }) = run.outcome().await else { panic!("it takes too long") };
    assert_eq!(failure.code, callboard::broker::code::DEADLINE);
    assert_eq!(figures(&node, "test.wait")["retried"], 1);
}

async fn a_cancel_and_an_end_at_the_same_moment_leave_one_outcome_and_no_claim(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait).concurrency(64)).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..60 {
        runs.push(node.submit(WAIT, 1_000 + n / 20).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    let cancels = runs.iter().map(|run| run.cancel("at the last moment"));
    for cancel in cancels.collect::<Vec<_>>() {
        cancel.await.unwrap();
    }
    let (mut done, mut cancelled) = (0, 0);
    for run in &runs {
        match run.outcome().await {
            Ok(_) => done += 1,
            Err(Error::Cancelled { .. }) => cancelled += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(done + cancelled, 60);
    a_moment().await;
    assert_eq!(node.control("info", callboard::Value::Null).await.unwrap()["claims"], 0);
    assert_eq!(node.metrics().running, 0);
}

/// What is claimed and cannot begin would keep another node from it.
async fn a_cell_takes_no_more_tasks_than_it_has_slots(wing: &Wing) {
    struct Two;
    impl Stateful for Two {
        type State = u32;
    }
    impl StatefulAgent<u64, u64> for Two {
        async fn handle(&self, _ctx: Context, _: &mut u32, ms: u64) -> Result<u64> {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    }
    impl StatefulAgent<u32, u32> for Two {
        async fn handle(&self, _ctx: Context, _: &mut u32, ms: u32) -> Result<u32> {
            tokio::time::sleep(Duration::from_millis(ms.into())).await;
            Ok(ms)
        }
    }
    let by = |n: &u64| n.to_string();
    let service = stateful(Two).on_key(WAIT, by).on(COUNT).service().concurrency(3);
    let node = wing.node().serve(service).start().await.unwrap();
    let asking = tokio::spawn(node.ask(WAIT, 5_000).into_future());
    a_moment().await;
    let mut runs = Vec::new();
    for n in 0..6 {
        runs.push(node.submit(WAIT, 1_000 + n).await.unwrap());
        node.submit(COUNT, 1_000).await.unwrap();
    }
    let mut claimed = Vec::new();
    for _ in 0..40 {
        a_moment().await;
        claimed.push(statuses(&node).await.iter().filter(|status| **status == Status::InProgress).count());
    }
    // Two doors may find a task each for the last slot; one of them gives it back.
    let over = claimed.iter().filter(|claimed| **claimed > 2).count();
    assert!(over <= 6 && claimed.iter().all(|claimed| *claimed <= 3), "for two slots are claimed: {claimed:?}");
    for run in runs {
        assert_eq!(run.reply().await.unwrap().attempt, 1);
    }
    assert_eq!(asking.await.unwrap().unwrap(), 5_000);
}

async fn twenty_submitters_at_once_lose_nothing(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait).workers(4).concurrency(4)).start().await.unwrap();
    let mut submitters = tokio::task::JoinSet::new();
    for who in 0..20 {
        let node = node.clone();
        submitters.spawn(async move {
            let mut sum = 0;
            for n in 0..25 {
                let run = node.submit(WAIT, n % 3).run(&format!("s{who}-{n}")).await.unwrap();
                let again = node.submit(WAIT, n % 3).run(&format!("s{who}-{n}")).await.unwrap();
                sum += run.outcome().await.unwrap() + again.outcome().await.unwrap();
            }
            sum
        });
    }
    let sums = submitters.join_all().await;
    assert!(sums.iter().all(|sum| *sum == 48), "{sums:?}");
    a_moment().await;
    let metrics = node.metrics();
    assert_eq!((metrics.done, metrics.failed, metrics.retried, metrics.running), (500, 0, 0, 0));
}

async fn cancelling_a_run_reaches_its_whole_tree(wing: &Wing) {
    async fn parent(ctx: Context, _: u32) -> Result<u32> {
        ctx.delegate_all(WAIT, [3_600_000, 3_600_001]).await?;
        Ok(0)
    }
    let node = wing.node().serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait).concurrency(2)).start().await.unwrap();
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

async fn a_flood_of_asks_leaves_tasks_their_turn_and_a_flood_of_tasks_an_ask(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait)).start().await.unwrap();
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let node = node.clone();
        askers.spawn(async move { while node.ask(WAIT, 3).await.is_ok() {} });
    }
    a_moment().await;
    let began = Instant::now();
    for n in 0..10 {
        let run = node.submit(WAIT, n).await.unwrap();
        assert_eq!(run.reply().await.unwrap().attempt, 1);
        let log = node.broker().tasks.log(TaskId::parse(run.id()).unwrap()).await.unwrap();
        assert!(log.len() <= 4, "it was passed back and forth: {log:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "ten tasks took {:?}", began.elapsed());
    askers.abort_all();

    for _ in 0..300 {
        node.submit(WAIT, 10).await.unwrap();
    }
    a_moment().await;
    let began = Instant::now();
    assert_eq!(node.ask(WAIT, 1).await.unwrap(), 1);
    assert!(began.elapsed() < Duration::from_millis(100), "one ask waited {:?}", began.elapsed());
}

/// Three levels, cancelled at thirty different moments of their life.
async fn nothing_of_a_tree_succeeds_after_it_was_cancelled(wing: &Wing) {
    async fn tree(ctx: Context, depth: u32) -> Result<u32> {
        tokio::time::sleep(Duration::from_millis(7)).await;
        if depth == 0 {
            return Ok(1);
        }
        let children = (0..3).map(|n| ctx.delegate(COUNT, depth - 1).key(n.to_string()));
        let mut group = ctx.group();
        group.extend(children);
        Ok(group.await?.into_iter().sum())
    }
    let node = wing.node().serve(COUNT.by_fn(tree).concurrency(5)).start().await.unwrap();
    let (mut cut, events) = (0, node.broker().events.clone());
    for moment in 0..30 {
        let run = node.submit(COUNT, 2).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2 * moment)).await;
        run.cancel("changed my mind").await.unwrap();
        let after = events.last().await.unwrap();
        cut += u32::from(run.outcome().await.is_err());
        a_moment().await;
        assert_eq!(node.metrics().running, 0, "after {} ms", 2 * moment);
        let filter = EventFilter { types: vec!["task.completed".into(), "task.started".into()], run: None };
        let late = events.read(filter, after + 1, 100).await.unwrap();
        assert!(late.is_empty(), "after {} ms: {late:?}", 2 * moment);
    }
    assert!(statuses(&node).await.iter().all(|status| status.is_final()));
    assert!(cut > 10, "only {cut} were cancelled before they were done");
}

async fn tasks_that_panic_or_fail_do_not_hold_up_their_pool(wing: &Wing) {
    let node = wing.node().serve(echo().workers(2).concurrency(4)).start().await.unwrap();
    let mut took = Vec::new();
    for poison in [0, 10] {
        let (began, mut runs) = (Instant::now(), Vec::new());
        for n in 1..=200 {
            let bad = poison > 0 && n % poison == 0;
            let input =
                Echo { delay_ms: 20, panic: bad && n % 20 == 0, fail_times: 9 * u32::from(bad), ..echoing("x") };
            runs.push((bad, node.submit(ECHO, input).retry(1).await.unwrap()));
        }
        for (bad, run) in runs {
            assert_eq!(run.outcome().await.is_err(), bad);
        }
        took.push(began.elapsed().as_secs_f64());
    }
    assert!(took[1] < took[0] * 1.1, "{took:?}");
    a_moment().await;
    let figures = figures(&node, "diag.echo");
    assert_eq!((&figures["panicked"], &figures["failed"], &figures["done"]), (&10.into(), &20.into(), &380.into()));
    assert!((1..=2).all(|n| node.tree().root.find(&format!("n/agents/diag.echo/#{n}")).unwrap().starts == 1));
}
