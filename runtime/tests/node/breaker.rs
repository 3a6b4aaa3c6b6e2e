//! A capability that fails all the time is given a rest, and every node of a broker knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::events::EventFilter;
use callboard::broker::id::TaskId;
use callboard::broker::task::Status;
use callboard::broker::tasks::Until;
use callboard::{Capability, Context, Error, Failure, Node, Result, Service};

use crate::kit::*;

const ASK: Capability<u32, u32> = Capability::new("test.ask");
const ELSE: Capability<u32, u32> = Capability::new("test.else");
const FIRST: Capability<u32, u32> = Capability::new("test.first");
const SECOND: Capability<u32, u32> = Capability::new("test.second");

on_every_wing! {
    five_failures_keep_it_from_being_asked_until_probes_went_well,
    a_delegation_with_a_fallback_does_not_wait_for_an_open_circuit,
    what_one_node_saw_another_knows;
    embedded: a_parent_that_comes_again_finds_its_child_and_takes_no_probe,
}

/// Fails while it is told to, and counts.
fn shaky(is_away: &Arc<AtomicBool>, asked: &Arc<AtomicU32>) -> Service {
    let (is_away, asked) = (is_away.clone(), asked.clone());
    FIRST.by_fn(move |_ctx: Context, n: u32| {
        asked.fetch_add(1, Ordering::SeqCst);
        let is_away = is_away.load(Ordering::SeqCst);
        async move { if is_away { Err(Failure::transient("away")) } else { Ok(n) } }
    })
}

fn asking() -> Service {
    ASK.by_fn(|ctx: Context, n: u32| async move { Ok(ctx.ask(FIRST, n).await?) })
}

async fn ask(node: &Node) -> Result<u32, Error> {
    node.ask(ASK, 1).await
}

async fn breaker_events(node: &Node) -> Vec<String> {
    let events = node.broker().events.read(EventFilter::default(), 0, 1_000).await.unwrap();
    events.into_iter().map(|event| event.kind).filter(|kind| kind.starts_with("breaker.")).collect()
}

async fn five_failures_keep_it_from_being_asked_until_probes_went_well(wing: &Wing) {
    let (is_away, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let node = wing.node().serve(asking()).serve(shaky(&is_away, &asked)).start().await.unwrap();
    for _ in 0..8 {
        assert!(ask(&node).await.is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5, "after five it is left alone");
    assert!(ask(&node).await.unwrap_err().to_string().contains("circuit of test.first is open"));
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(ask(&node).await.is_err());
    tokio::time::sleep(Duration::from_secs(11)).await;
    for _ in 0..4 {
        assert_eq!(ask(&node).await.unwrap(), 1);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 9);
    assert_eq!(breaker_events(&node).await, ["breaker.opened", "breaker.half_opened", "breaker.closed"]);
}

async fn a_delegation_with_a_fallback_does_not_wait_for_an_open_circuit(wing: &Wing) {
    let (is_away, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let parent = ELSE.by_fn(|ctx: Context, n: u32| async move {
        let value = ctx.delegate(FIRST, n).or(SECOND).await?;
        if ctx.attempt() == 1 { Err(Failure::transient("once more")) } else { Ok(value) }
    });
    let second = SECOND.by_fn(|_ctx: Context, n: u32| async move { Ok(2 * n) });
    let services = [asking(), shaky(&is_away, &asked), parent, second];
    let node = services.into_iter().fold(wing.node(), |node, service| node.serve(service)).start().await.unwrap();
    for _ in 0..5 {
        assert!(ask(&node).await.is_err());
    }
    let reply = node.submit(ELSE, 2).await.unwrap().reply().await.unwrap();
    assert_eq!((reply.value, asked.load(Ordering::SeqCst)), (4, 5), "it was not tried");
    let how = reply.degraded.unwrap();
    assert!(how.contains("circuit of test.first is open") && how.ends_with("test.second instead"), "{how}");
}

async fn what_one_node_saw_another_knows(wing: &Wing) {
    let (is_away, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let broker = wing.broker();
    let one = Node::over(broker.clone()).name("one").serve(asking()).serve(shaky(&is_away, &asked));
    let one = one.start().await.unwrap();
    // Zero only looks whether one would pass: to ask for it would add to the failures.
    let other = ELSE.by_fn(|ctx: Context, n: u32| async move {
        match n {
            0 => Ok(u32::from(ctx.host().admits(&FIRST.id()).await.is_ok())),
            _ => Ok(ctx.ask(FIRST, n).await?),
        }
    });
    let two = Node::over(broker).name("two").serve(other).start().await.unwrap();
    for _ in 0..5 {
        assert!(ask(&one).await.is_err());
    }
    until("the news", async || two.ask(ELSE, 0).await.unwrap() == 0).await;
    let error = two.ask(ELSE, 1).await.unwrap_err();
    assert!(error.to_string().contains("circuit of test.first is open"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

/// First as the next attempt, then as the next generation: the child was completed before the breaker opened.
async fn a_parent_that_comes_again_finds_its_child_and_takes_no_probe(wing: &Wing) {
    let (is_away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let begun = Arc::new(AtomicU32::new(0));
    let parent = ELSE.by_fn(move |ctx: Context, n: u32| {
        let begun = begun.clone();
        async move {
            let value = ctx.delegate(FIRST, n).or(SECOND).await?;
            match begun.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Failure::transient("once more").retry_after(Duration::from_secs(60))),
                1 => Err(Failure::permanent("for good")),
                _ => Ok(value),
            }
        }
    });
    let second = SECOND.by_fn(|_ctx: Context, n: u32| async move { Ok(2 * n) });
    let services = [asking(), shaky(&is_away, &asked), parent, second];
    let node = services.into_iter().fold(wing.node(), |node, service| node.serve(service)).start().await.unwrap();
    let opens = async || {
        is_away.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            assert!(ask(&node).await.is_err());
        }
        is_away.store(false, Ordering::SeqCst);
    };
    let run = node.submit(ELSE, 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the child is done, and its parent waits for its next attempt");
    opens().await;
    assert!(run.outcome().await.unwrap_err().to_string().contains("for good"));
    for _ in 0..3 {
        assert_eq!(ask(&node).await.unwrap(), 1, "the next attempt left the probe to others");
    }
    opens().await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    let tasks = &node.broker().tasks;
    let again = tasks.retry(TaskId::parse(run.id()).unwrap()).await.unwrap();
    let ended = tasks.wait(vec![again], Until::All, Duration::from_secs(60)).await.unwrap();
    assert_eq!((ended[0].status, &ended[0].degraded), (Status::Completed, &None), "with the child that was there");
    assert_eq!(ask(&node).await.unwrap(), 1, "the next generation left the probe to others");
}
