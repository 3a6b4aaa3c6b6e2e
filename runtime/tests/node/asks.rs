//! Requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::dead_letter::Reason;
use callboard::diag::{ECHO, Echo, echo};
use callboard::{Capability, Context, Error, NodeBuilder, Result, Topic};
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    an_ask_is_answered_and_a_task_is_done,
    a_panic_ends_one_request_and_nothing_else,
    a_pending_ask_fails_at_once_when_its_cell_is_killed_and_the_address_goes_on,
    a_message_that_cannot_be_read_is_a_dead_letter_with_its_reason;
    embedded: nobody_serves_it_is_an_error_at_once,
    twenty_asks_at_a_bound_of_twelve_are_eight_busy_at_once,
    scaling_a_pool_changes_how_much_runs_at_a_time,
    an_asker_that_goes_away_takes_its_request_along,
    an_ask_ends_at_its_deadline_with_the_best_answer_so_far,
    a_limit_may_be_as_long_as_a_duration_can,
}

async fn an_ask_is_answered_and_a_task_is_done(wing: &Wing) {
    let node = wing.node().serve(SHOUT.by_fn(shout)).start().await.unwrap();
    assert_eq!(node.ask(SHOUT, "hello".into()).await.unwrap(), "HELLO");
    let run = node.submit(SHOUT, "durable".into()).run("r-1").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "DURABLE");
    let again = node.submit(SHOUT, "durable".into()).run("r-1").await.unwrap();
    let reply = again.reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt, reply.agent.as_str()), ("DURABLE", 1, "text.shout"));
    node.shutdown().await.unwrap();
}

async fn nobody_serves_it_is_an_error_at_once(wing: &Wing) {
    let node = wing.node().start().await.unwrap();
    let asked = Instant::now();
    assert!(matches!(node.ask(SHOUT, "x".into()).await, Err(Error::NoRecipient { .. })));
    assert!(asked.elapsed() < Duration::from_millis(10));
}

async fn twenty_asks_at_a_bound_of_twelve_are_eight_busy_at_once(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait).concurrency(4).queue(12)).start().await.unwrap();
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

async fn a_panic_ends_one_request_and_nothing_else(wing: &Wing) {
    let node = wing.node().serve(echo().concurrency(4)).start().await.unwrap();
    let slow = node.ask(ECHO, Echo { delay_ms: 500, ..echoing("slow") });
    let bad = node.ask(ECHO, Echo { panic: true, delay_ms: 10, ..echoing("bad") });
    let (slow, bad) = tokio::join!(slow.into_future(), bad.into_future());
    assert_eq!(slow.unwrap().text, "slow");
    let Err(Error::Crashed { reason, .. }) = bad else { panic!("{bad:?}") };
    assert!(reason.contains("told to panic"), "{reason}");
    assert_eq!(node.ask(ECHO, echoing("next")).await.unwrap().text, "next");
    assert_eq!(figures(&node, "diag.echo")["panicked"], 1);
}

async fn a_pending_ask_fails_at_once_when_its_cell_is_killed_and_the_address_goes_on(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait)).start().await.unwrap();
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

async fn scaling_a_pool_changes_how_much_runs_at_a_time(wing: &Wing) {
    let node = wing.node().serve(WAIT.by_fn(wait)).start().await.unwrap();
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
    assert_eq!(figures(&node, "test.wait")["workers"], 1);
}

async fn a_message_that_cannot_be_read_is_a_dead_letter_with_its_reason(wing: &Wing) {
    let node = wing.node().serve(COUNT.by_fn(|_ctx, n: u32| async move { Ok(n) })).start().await.unwrap();
    const BY_HAND: Capability<String, u32> = Capability::new("test.count");
    assert!(matches!(node.ask(BY_HAND, "seven".into()).await, Err(Error::Decode { .. })));
    assert_eq!(dead(&node).await[0].reason, Reason::Undecodable);
}

async fn an_asker_that_goes_away_takes_its_request_along(wing: &Wing) {
    let (tell, dropped) = tokio::sync::oneshot::channel();
    let guard = std::sync::Mutex::new(Some(Dropped(Some(tell))));
    let service = WAIT.by_fn(move |_ctx, ms: u64| {
        let guard = guard.lock().unwrap().take();
        async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            drop(guard);
            Ok(ms)
        }
    });
    let node = wing.node().serve(service).start().await.unwrap();
    let asking = tokio::time::timeout(Duration::from_millis(50), node.ask(WAIT, 60_000).into_future()).await;
    assert!(asking.is_err());
    let gone = Instant::now();
    dropped.await.unwrap();
    assert!(gone.elapsed() < Duration::from_millis(10), "{:?}", gone.elapsed());
    assert_eq!(node.ask(WAIT, 1).await.unwrap(), 1, "its slot is free");
}

async fn an_ask_ends_at_its_deadline_with_the_best_answer_so_far(wing: &Wing) {
    let keeps = COUNT.by_fn(|ctx: Context, n: u32| async move {
        if n > 0 {
            ctx.keep(&n);
        }
        std::future::pending().await
    });
    let node = wing.node().serve(keeps.deadline(Duration::from_millis(300))).start().await.unwrap();
    let began = Instant::now();
    assert!(matches!(node.ask(COUNT, 0).await, Err(Error::Deadline { .. })));
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    let Err(Error::Failed { failure, .. }) = node.ask(COUNT, 7).await else { panic!("it never answers") };
    assert_eq!(failure.partial.unwrap().value().unwrap(), 7);
    let impatient = node.ask(COUNT, 0).deadline(Duration::from_millis(50));
    let began = Instant::now();
    assert!(matches!(impatient.await, Err(Error::Deadline { .. })));
    assert!(began.elapsed() < Duration::from_millis(150), "{:?}", began.elapsed());
}

async fn a_limit_may_be_as_long_as_a_duration_can(wing: &Wing) {
    const LEAD: Capability<u32, String> = Capability::new("test.lead");
    const NEWS: Topic<u32> = Topic::new("news");
    async fn lead(ctx: Context, _: u32) -> Result<String> {
        ctx.broadcast(NEWS, 1).await?;
        ctx.tell(SHOUT, "told".into()).deadline(Duration::MAX).await?;
        Ok(ctx.ask(SHOUT, "asked".into()).deadline(Duration::MAX).await?)
    }
    let heard = Arc::new(AtomicU32::new(0));
    let hears = heard.clone();
    let hearing = COUNT.by_fn(|_ctx, n: u32| async move { Ok(n) }).deadline(Duration::MAX);
    let hearing = hearing.hears(NEWS, move |_ctx, n| {
        hears.fetch_add(n, Ordering::SeqCst);
        async { Ok(()) }
    });
    let services = [LEAD.by_fn(lead).deadline(Duration::MAX), SHOUT.by_fn(shout).deadline(Duration::MAX), hearing];
    let node = services.into_iter().fold(wing.node(), NodeBuilder::serve).start().await.unwrap();
    assert_eq!(node.ask(LEAD, 0).deadline(Duration::MAX).await.unwrap(), "ASKED");
    let run = node.submit(LEAD, 0).timeout(Duration::MAX).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "ASKED");
    until("it is heard", async || heard.load(Ordering::SeqCst) == 2).await;
}
