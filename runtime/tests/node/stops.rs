//! Draining, killing, going on elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::task::{Entry, Release, Status};
use callboard::{Context, Error, Node, Result};
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    draining_hands_back_what_cannot_finish_and_another_node_goes_on,
    draining_finishes_what_it_can_and_answers_what_that_asks,
    draining_hands_back_a_parent_that_waits_and_records_its_child,
    a_cell_that_goes_hands_back_parents_that_wait,
    what_ignores_everything_is_cut_off_at_its_shutdown_time_and_handed_back,
    a_killed_cell_hands_its_tasks_back_at_once,
    a_node_that_is_dropped_hands_its_tasks_back_at_once,
    a_stopped_node_answers_nobody_and_keeps_nobody_waiting,
    a_broadcast_is_heard_from_the_start_and_a_panic_ends_only_one,
    two_nodes_in_one_process_do_not_collide,
    rolling_drains_under_load_do_everything_once,
    rolling_kills_under_load_lose_nothing,
    two_nodes_over_one_store_share_its_queues_until_the_last_has_stopped,
}

/// How the task of a run went back to its queue, in order.
async fn releases(node: &Node, run: &str) -> Vec<Release> {
    let log = node.broker().tasks.log(callboard::broker::id::TaskId::parse(run).unwrap()).await.unwrap();
    let release = |entry| if let Entry::Released { reason, .. } = entry { Some(reason) } else { None };
    log.into_iter().filter_map(|record| release(record.entry)).collect()
}

async fn draining_hands_back_what_cannot_finish_and_another_node_goes_on(wing: &Wing) {
    let broker = wing.broker();
    let first = Node::over(broker.clone()).name("first").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let run = first.submit(WAIT, 30_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.shutdown().await.unwrap();
    let second = Node::over(broker).name("second").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (30_000, 1), "a drain costs no attempt");
    second.shutdown().await.unwrap();
}

async fn two_nodes_in_one_process_do_not_collide(wing: &Wing) {
    let make = |tag: &'static str| {
        let service = SHOUT.by_fn(move |_ctx, text: String| async move { Ok(format!("{tag} {text}")) });
        Node::over(wing.open(tag)).name("same").serve(service).start()
    };
    let (one, two) = (make("one").await.unwrap(), make("two").await.unwrap());
    assert_eq!(one.ask(SHOUT, "x".into()).await.unwrap(), "one x");
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
    one.shutdown().await.unwrap();
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
}

async fn draining_finishes_what_it_can_and_answers_what_that_asks(wing: &Wing) {
    async fn asks(ctx: Context, n: u32) -> Result<u32> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(u32::try_from(ctx.ask(WAIT, u64::from(n)).await?)?)
    }
    let node = wing.node().serve(WAIT.by_fn(wait)).serve(COUNT.by_fn(asks)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    a_moment().await;
    let began = Instant::now();
    node.shutdown().await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 7);
    assert!(began.elapsed() < Duration::from_millis(1_100), "{:?}", began.elapsed());
    assert_eq!(releases(&node, run.id()).await, []);
}

async fn draining_hands_back_a_parent_that_waits_and_records_its_child(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        let child = ctx.delegate(WAIT, 2_000).key("child").await?;
        let other = ctx.delegate(WAIT, 3_600).key("other").await?;
        Ok(n + u32::try_from(child + other)?)
    }
    let broker = wing.broker();
    let start =
        |name: &str| Node::over(broker.clone()).name(name).serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait)).start();
    let first = start("first").await.unwrap();
    let run = first.submit(COUNT, 7).await.unwrap();
    a_moment().await;
    first.shutdown().await.unwrap();
    assert_eq!(statuses(&first).await, [Status::Pending, Status::Completed]);
    assert!(releases(&first, run.id()).await.iter().all(|reason| *reason == Release::Drained));
    let _second = start("second").await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (5_607, 1));
}

/// Also when its node goes on: a group that is restarted, or a pool that shrinks, does not wait for what may take days.
async fn a_cell_that_goes_hands_back_parents_that_wait(wing: &Wing) {
    async fn parent(ctx: Context, n: u32) -> Result<u32> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(n + u32::try_from(ctx.delegate(WAIT, 3_000).key("child").await?)?)
    }
    let service = COUNT.by_fn(parent).workers(2).concurrency(4);
    let node = wing.node().serve(service).serve(WAIT.by_fn(wait).concurrency(8)).start().await.unwrap();
    let mut runs = Vec::new();
    for n in 0..8 {
        runs.push(node.submit(COUNT, n).await.unwrap());
    }
    a_moment().await;
    let began = Instant::now();
    node.scale(COUNT, 1).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    let mut handed_back = 0;
    for (n, run) in (0..).zip(&runs) {
        let reply = run.reply().await.unwrap();
        assert_eq!((reply.value, reply.attempt), (3_000 + n, 1));
        handed_back += releases(&node, run.id()).await.len();
    }
    assert_eq!(figures(&node, "test.wait")["done"], 8, "each child was done once");
    assert!(handed_back >= 4, "four were at the cell that went: {handed_back}");
}

async fn what_ignores_everything_is_cut_off_at_its_shutdown_time_and_handed_back(wing: &Wing) {
    let stubborn = WAIT.by_fn(wait).shutdown(Duration::from_millis(700));
    let node = wing.node().serve(stubborn).start().await.unwrap();
    let run = node.submit(WAIT, 3_600_000).await.unwrap();
    let asking = tokio::spawn(node.ask(WAIT, 3_600_000).into_future());
    a_moment().await;
    let began = Instant::now();
    node.shutdown().await.unwrap();
    assert_eq!(began.elapsed().as_millis() / 100, 7, "{:?}", began.elapsed());
    assert_eq!(statuses(&node).await, [Status::Pending], "the store knows before the process may end");
    assert_eq!(releases(&node, run.id()).await, [Release::Drained]);
    assert!(asking.await.unwrap().is_err());
    let began = Instant::now();
    node.shutdown().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(10), "a second time there is nothing to do");
}

async fn a_killed_cell_hands_its_tasks_back_at_once(wing: &Wing) {
    let slow_first = AtomicBool::new(true);
    let service = WAIT.by_fn(move |_ctx, ms: u64| {
        let ms = if slow_first.swap(false, Ordering::SeqCst) { 3_600_000 } else { ms };
        wait(_ctx, ms)
    });
    let node = wing.node().serve(service.workers(2)).start().await.unwrap();
    let run = node.submit(WAIT, 5).await.unwrap();
    a_moment().await;
    let began = Instant::now();
    let busy = if figures(&node, "test.wait")["running"] == 1 { [1, 2] } else { [2, 1] };
    for n in busy {
        // Whichever holds it: the other one, or the next incarnation, takes it.
        node.kill(&format!("n/agents/test.wait/#{n}")).unwrap();
    }
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (5, 1), "a kill from outside costs no attempt");
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

async fn a_node_that_is_dropped_hands_its_tasks_back_at_once(wing: &Wing) {
    let broker = wing.broker();
    let first = Node::over(broker.clone()).name("first").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let run = first.submit(WAIT, 10_000).await.unwrap();
    a_moment().await;
    drop(first);
    let began = Instant::now();
    let second = Node::over(broker).name("second").serve(WAIT.by_fn(wait)).start().await.unwrap();
    assert_eq!(run.reply().await.unwrap().attempt, 1);
    assert!(began.elapsed() < Duration::from_millis(10_200), "{:?}", began.elapsed());
    second.shutdown().await.unwrap();
}

async fn a_stopped_node_answers_nobody_and_keeps_nobody_waiting(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait)).start().await.unwrap();
    let running = tokio::spawn(node.ask(WAIT, 1_000).into_future());
    a_moment().await;
    let queued = tokio::spawn(node.ask(WAIT, 1).into_future());
    node.tell(WAIT, 2).await.unwrap();
    a_moment().await;
    let began = Instant::now();
    node.shutdown().await.unwrap();
    assert_eq!(running.await.unwrap().unwrap(), 1_000, "what is at work is finished");
    assert!(matches!(queued.await.unwrap(), Err(Error::Undelivered { .. })));
    assert!(matches!(node.ask(WAIT, 3).await, Err(Error::NoRecipient { .. })));
    assert!(began.elapsed() < Duration::from_millis(1_000), "{:?}", began.elapsed());
    assert_eq!(dead(&node).await.len(), 2, "the notification, and the ask that came too late");
}

async fn a_broadcast_is_heard_from_the_start_and_a_panic_ends_only_one(wing: &Wing) {
    const NEWS: callboard::Topic<u32> = callboard::Topic::new("news");
    let (heard, sum) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let adds = sum.clone();
    let service = SHOUT.by_fn(shout).workers(3).hears(NEWS, move |_ctx, n: u32| {
        heard.fetch_add(1, Ordering::SeqCst);
        assert!(n != 2, "no twos");
        let sum = adds.clone();
        async move {
            assert!(n != 3, "no threes");
            sum.fetch_add(n, Ordering::SeqCst);
            Ok(())
        }
    });
    let node = wing.node().serve(service).start().await.unwrap();
    for n in [1, 2, 3, 4] {
        let broadcast = callboard::broker::messages::Broadcast {
            topic: NEWS.name().into(),
            from: "somebody".into(),
            body: callboard::broker::payload::Payload::of(n),
        };
        node.broker().messages.broadcast(broadcast).await.unwrap();
    }
    a_moment().await;
    assert_eq!(sum.load(Ordering::SeqCst), 5, "each is heard once, whatever became of the one before");
}

async fn two_nodes_over_one_store_share_its_queues_until_the_last_has_stopped(wing: &Wing) {
    let broker = wing.broker();
    let start = |name: &str| Node::over(broker.clone()).name(name).serve(WAIT.by_fn(wait)).start();
    let (one, two) = (start("one").await.unwrap(), start("two").await.unwrap());
    let began = Instant::now();
    let (a, b) = tokio::join!(one.ask(WAIT, 100).into_future(), one.ask(WAIT, 100).into_future());
    assert!(a.is_ok() && b.is_ok() && began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
    one.shutdown().await.unwrap();
    assert_eq!(one.ask(WAIT, 1).await.unwrap(), 1, "two serves it still");
    drop(two);
    a_moment().await;
    assert!(matches!(one.ask(WAIT, 1).await, Err(Error::NoRecipient { .. })));
}

/// One process may close a store and open it again: nothing of a node that was stopped holds on to it.
#[tokio::test(start_paused = true)]
async fn a_store_can_be_opened_again_as_soon_as_its_node_has_stopped() {
    let wing = Wing::sqlite();
    let mut waits = None;
    for round in 0..5 {
        let node = Node::over(wing.broker()).serve(WAIT.by_fn(wait).shutdown(Duration::from_millis(50)));
        let node = node.start().await.unwrap();
        let run = node.submit(WAIT, 3_600_000).run("again").await.unwrap();
        a_moment().await;
        waits = Some(run.id().to_owned());
        assert_eq!(statuses(&node).await, [Status::InProgress], "round {round}");
        if round % 2 == 0 {
            node.shutdown().await.unwrap();
            drop((run, node));
        } else {
            drop((run, node));
            a_moment().await;
        }
    }
    let node = Node::over(wing.broker()).start().await.unwrap();
    let waits = waits.unwrap();
    let releases = releases(&node, &waits).await;
    assert!(releases.len() >= 3 && releases.iter().all(|reason| *reason == Release::Drained), "{releases:?}");
}

/// 400 tasks on three nodes, of which every 150 ms the oldest goes in the way that `end` says and a new one comes. How often
/// each task was begun, and the attempt that ended it.
async fn rolling(wing: &Wing, end: impl AsyncFn(Node)) -> Vec<(u32, u32)> {
    const TASKS: usize = 400;
    let begun: Arc<Vec<AtomicU32>> = Arc::new((0..TASKS).map(|_| AtomicU32::new(0)).collect());
    let broker = wing.broker();
    let start = |n: usize| {
        let begun = begun.clone();
        let service = WAIT.by_fn(move |ctx, n: u64| {
            begun[n as usize].fetch_add(1, Ordering::SeqCst);
            wait(ctx, 10 + n % 60)
        });
        let service = service.workers(2).concurrency(4);
        Node::over(broker.clone()).name(format!("n{n}")).serve(service).start()
    };
    let mut nodes = std::collections::VecDeque::new();
    for n in 0..3 {
        nodes.push_back(start(n).await.unwrap());
    }
    let mut runs = Vec::new();
    for n in 0..TASKS {
        runs.push(nodes[n % 3].submit(WAIT, n as u64).retry(1).await.unwrap());
    }
    let finished = tokio::spawn(async move {
        let mut attempts = Vec::new();
        for run in runs {
            attempts.push(run.reply().await.unwrap().attempt);
        }
        attempts
    });
    let mut n = 3;
    while !finished.is_finished() {
        tokio::time::sleep(Duration::from_millis(150)).await;
        nodes.push_back(start(n).await.unwrap());
        end(nodes.pop_front().unwrap()).await;
        n += 1;
    }
    let attempts = finished.await.unwrap();
    assert!(n > 6, "only {n} nodes came and went");
    begun.iter().map(|begun| begun.load(Ordering::SeqCst)).zip(attempts).collect()
}

async fn rolling_drains_under_load_do_everything_once(wing: &Wing) {
    let tasks = rolling(wing, async |node| node.shutdown().await.unwrap()).await;
    assert!(tasks.iter().all(|task| *task == (1, 1)), "{tasks:?}");
}

async fn rolling_kills_under_load_lose_nothing(wing: &Wing) {
    let tasks = rolling(wing, async |node| drop(node)).await;
    assert!(tasks.iter().all(|(begun, attempt)| *begun >= 1 && *attempt == 1), "{tasks:?}");
    assert!(tasks.iter().any(|(begun, _)| *begun > 1), "no kill met anything at work");
}
