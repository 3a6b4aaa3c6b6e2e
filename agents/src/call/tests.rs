//! What the options of a call put into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::messages::Address;
use callboard_broker::task::Retry;
use tokio::time::Instant;

use crate::testing::World;
use crate::{Capability, Context};

const COUNT: Capability<String, u32> = Capability::new("text.count");

#[test]
fn options_reach_the_order_and_everything_else_stays_at_its_default() {
    let ctx = World::new().context();
    let secs = Duration::from_secs;
    let order = ctx.delegate(COUNT, "a".into()).key("k").deadline(secs(9)).timeout(secs(3)).describe("count").order;
    assert_eq!((order.key.as_deref(), order.description.as_deref()), (Some("k"), Some("count")));
    assert_eq!((order.deadline, order.timeout, order.retry), (Some(secs(9)), Some(secs(3)), None));
    let order = ctx.delegate(COUNT, "a".into()).retry(0).order;
    assert_eq!(order.retry, Some(Retry { attempts: 1, ..Retry::default() }), "there is always one attempt");
    assert_eq!((order.key, order.deadline, order.timeout, order.skipped), (None, None, None, None));
}

#[test]
fn an_ask_goes_to_a_capability_unless_an_agent_is_named() {
    let ctx = World::new().context();
    let plain = ctx.ask(COUNT, "a".into()).call;
    assert_eq!((plain.to, plain.deadline), (Address::Capability(COUNT.id()), None));
    let named = ctx.ask(COUNT, "a".into()).to_agent("second").deadline(Duration::from_secs(1)).call;
    assert_eq!((named.to, named.deadline), (Address::Agent("second".into()), Some(Duration::from_secs(1))));
    assert_eq!(named.capability, COUNT.id());
    let told = format!("{:?}", ctx.tell(COUNT, "a".into()).to_agent("second"));
    assert_eq!(told, "Tell(agent second)");
}

/// Requests take these milliseconds, one after the other; 0: it fails at once.
fn in_turn(ms: &'static [u64]) -> (World, Arc<AtomicUsize>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let world = World::new().answers_async(COUNT, move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(ms[turn])).await;
            match ms[turn] {
                0 => Err(Error::decode(format!("request {turn} cannot be counted"))),
                _ => Ok(u32::try_from(turn).unwrap()),
            }
        }
    });
    (world, begun)
}

/// What is answered, after how many milliseconds, and how many requests it took.
async fn hedged(ms: &'static [u64], delegates: bool) -> (Result<u32, String>, u64, usize) {
    let (world, begun) = in_turn(ms);
    let (ctx, began): (Context, _) = (world.context(), Instant::now());
    let after = Duration::from_millis(100);
    let answer = match delegates {
        true => ctx.delegate(COUNT, "a".into()).hedge(after).await,
        false => ctx.ask(COUNT, "a".into()).hedge(after).await,
    };
    let took = u64::try_from(began.elapsed().as_millis()).unwrap();
    (answer.map_err(|error| error.to_string()), took, begun.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_is_made_twice_when_it_takes_long_and_the_first_answer_wins() {
    for delegates in [false, true] {
        for (ms, answer, took, requests) in [
            (&[50, 1][..], Some(0), 50, 1),
            (&[900, 30], Some(1), 130, 2),
            (&[150, 400], Some(0), 150, 2),
            // A failure is no reason to hedge, and one of two is made up for by the other.
            (&[0, 1], None, 0, 1),
            (&[300, 0], Some(0), 300, 2),
        ] {
            let (answered, after, made) = hedged(ms, delegates).await;
            assert_eq!((answered.clone().ok(), after, made), (answer, took, requests), "{ms:?}: {answered:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_one_of_a_hedge_that_lost_is_cancelled() {
    let (world, _) = in_turn(&[900, 30]);
    assert_eq!(world.context().delegate(COUNT, "a".into()).hedge(Duration::from_millis(100)).await.unwrap(), 1);
    assert_eq!(world.abandoned(COUNT), ["a"]);
    let late = {
        let (world, _) = in_turn(&[9_000, 9_000]);
        let began = Instant::now();
        let ask = world.context().ask(COUNT, "a".into()).hedge(Duration::from_millis(300));
        let answer = ask.deadline(Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(Error::Deadline { .. })), "{answer:?}");
        began.elapsed()
    };
    assert_eq!(late, Duration::from_secs(1), "both together have the deadline of one");
}
