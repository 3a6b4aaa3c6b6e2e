//! Tasks that only wait are laid aside, and go on where they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::id::TaskId;
use callboard::human::Question;
use callboard::inbox::Inbox;
use callboard::{Capability, Context, Result, Stateful, StatefulAgent, json, stateful};

use crate::kit::*;

on_every_wing! {
    who_waits_for_a_person_is_parked_at_once_and_goes_on_with_the_answer,
    who_waits_long_is_parked_and_who_waits_briefly_is_not,
    who_does_something_meanwhile_is_not_parked,
    who_stands_in_line_for_a_state_does_not_hold_up_who_has_it,
    nor_does_who_is_asked_by_the_one_that_has_the_only_slot,
}

fn kinds(log: Vec<callboard::broker::task::Record>) -> Vec<&'static str> {
    log.iter().map(|record| record.entry.kind()).collect()
}

async fn who_waits_for_a_person_is_parked_at_once_and_goes_on_with_the_answer(wing: &Wing) {
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let agent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            assert_eq!(ctx.attempt(), 1, "waking is no new attempt");
            let more: u32 = ctx.human(Question::new("how many more?")).await?;
            Ok(n + more)
        }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    let run = node.submit(COUNT, 1).await.unwrap();
    a_moment().await;
    let id = TaskId::parse(run.id()).unwrap();
    assert!(node.broker().tasks.get(vec![id.clone()]).await.unwrap()[0].as_ref().unwrap().parked);
    assert_eq!(figures(&node, "test.count")["running"], json!(0), "it holds nothing");
    tokio::time::sleep(Duration::from_secs(10 * 3600)).await;
    let inbox = Inbox::of(node.broker());
    let question = inbox.open(None).await.unwrap().remove(0);
    inbox.answer(question.task.id, json!(41), "ann").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 42);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(kinds(node.broker().tasks.log(id).await.unwrap()), ["delegated", "parked", "claimed"]);
}

async fn who_waits_long_is_parked_and_who_waits_briefly_is_not(wing: &Wing) {
    let parent = COUNT.by_fn(|ctx: Context, seconds: u32| async move {
        let waited = ctx.delegate(WAIT, u64::from(seconds) * 1000).await?;
        Ok(u32::try_from(waited).unwrap())
    });
    let node = wing.node().serve(parent).serve(WAIT.by_fn(wait)).start().await.unwrap();
    for (seconds, expected) in [(19, vec!["delegated"]), (3600, vec!["delegated", "parked", "claimed"])] {
        let run = node.submit(COUNT, seconds).await.unwrap();
        assert_eq!(run.outcome().await.unwrap(), seconds * 1000);
        assert_eq!(kinds(node.broker().tasks.log(TaskId::parse(run.id()).unwrap()).await.unwrap()), expected);
    }
}

async fn who_does_something_meanwhile_is_not_parked(wing: &Wing) {
    let parent = COUNT.by_fn(|ctx: Context, n: u32| async move {
        let step = ctx.step("slow", async || {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(n)
        });
        let (child, step) = tokio::join!(ctx.delegate(WAIT, 90_000), step);
        child?;
        Ok(step?)
    });
    let node = wing.node().serve(parent).serve(WAIT.by_fn(wait)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 7);
    let log = kinds(node.broker().tasks.log(TaskId::parse(run.id()).unwrap()).await.unwrap());
    assert_eq!(log, ["delegated", "step", "parked", "claimed"], "not before the step was done");
}

/// A pool of one: the second request has the only slot when the first one comes back from its child.
async fn who_stands_in_line_for_a_state_does_not_hold_up_who_has_it(wing: &Wing) {
    struct Counter;
    impl Stateful for Counter {
        type State = u32;
    }
    impl StatefulAgent<u32, u32> for Counter {
        async fn handle(&self, ctx: Context, count: &mut u32, ms: u32) -> Result<u32> {
            ctx.delegate(WAIT, ms.into()).await?;
            *count += 1;
            Ok(*count)
        }
    }
    let node = wing.node().serve(stateful(Counter).on(COUNT)).serve(WAIT.by_fn(wait).concurrency(10));
    let node = node.start().await.unwrap();
    let began = tokio::time::Instant::now();
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(node.submit(COUNT, 200).await.unwrap());
    }
    let mut counts = Vec::new();
    for run in runs {
        counts.push(run.outcome().await.unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=10).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A pool of one: the only slot is held by a request for one state that asks for the other, whose request waits for a child.
async fn nor_does_who_is_asked_by_the_one_that_has_the_only_slot(wing: &Wing) {
    struct Desk;
    impl Stateful for Desk {
        type State = u32;
    }
    impl StatefulAgent<(String, u32), u32> for Desk {
        async fn handle(&self, ctx: Context, count: &mut u32, (key, ms): (String, u32)) -> Result<u32> {
            if key == "asks" {
                return Ok(ctx.ask(DESK, ("waits".into(), 0)).await?);
            }
            if ms > 0 {
                ctx.delegate(WAIT, ms.into()).await?;
            }
            *count += 1;
            Ok(*count)
        }
    }
    const DESK: Capability<(String, u32), u32> = Capability::new("test.desk");
    let desk = stateful(Desk).on_key(DESK, |(key, _)| key.clone());
    let node = wing.node().serve(desk).serve(WAIT.by_fn(wait).concurrency(10)).start().await.unwrap();
    let began = tokio::time::Instant::now();
    let waits = node.submit(DESK, ("waits".into(), 400)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asks = node.submit(DESK, ("asks".into(), 0)).await.unwrap();
    assert_eq!((waits.outcome().await.unwrap(), asks.outcome().await.unwrap()), (1, 2));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
