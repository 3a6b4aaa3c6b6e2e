//! The order of fallbacks, and that each is tried only when all before it came to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::testing::World;
use crate::{Capability, Error, Failure, Value, human};

const A: Capability<String, u32> = Capability::new("count.first");
const B: Capability<String, u32> = Capability::new("count.second");
const HOUR: Duration = Duration::from_secs(3600);

fn fails(what: &'static str) -> impl Fn(String) -> Result<u32, Error> + Send + Sync + 'static {
    move |_| {
        let failure = Box::new(Failure::transient(what).into_remote());
        Err(Error::Failed { to: "x".into(), failure })
    }
}

fn keeps(partial: u32) -> impl Fn(String) -> Result<u32, Error> + Send + Sync + 'static {
    move |_| {
        let mut failure = Box::new(Failure::transient("no more").into_remote());
        failure.partial = Some(callboard_broker::payload::Payload::of(partial));
        Err(Error::Failed { to: "x".into(), failure })
    }
}

fn people(world: World, answer: u32) -> World {
    world.answers(human::queue("editors").unwrap(), move |_| Ok(Value::from(answer)))
}

#[tokio::test]
async fn nothing_else_is_tried_while_the_first_is_well() {
    let world = World::new().answers(A, |_| Ok(1)).answers(B, |_| Ok(2));
    let reply = world.context().delegate(A, "x".into()).or(B).or_partial().or_skip(9).full().await.unwrap();
    assert_eq!((reply.value, reply.degraded), (1, None));
    assert!(world.asked(B).is_empty() && world.degraded().is_empty());
}

#[tokio::test]
async fn they_are_tried_in_the_declared_order_and_each_says_how() {
    let chain = |world: World| async move {
        let ctx = world.context();
        let declared = ctx.delegate(A, "x".into()).or(B).or_partial().or_human("editors").unwrap().or_skip(9);
        let reply = declared.full().await.unwrap();
        assert_eq!(world.degraded(), [reply.degraded.clone().unwrap()]);
        (reply.value, reply.degraded.unwrap())
    };
    let world = || World::new().answers(A, fails("first")).answers(B, fails("second"));
    let (value, how) = chain(world().answers(B, |_| Ok(2))).await;
    assert_eq!((value, how.as_str()), (2, "count.first failed (first): count.second instead"));
    let (value, how) = chain(people(world().answers(B, keeps(3)), 4)).await;
    assert_eq!(
        (value, how.as_str()),
        (3, "count.first failed (first); count.second failed (no more): what it had kept instead")
    );
    let (value, how) = chain(people(world(), 4)).await;
    assert_eq!(value, 4);
    assert!(how.ends_with("an answer from human.editors instead"), "{how}");
    let nobody = world().answers(human::queue("editors").unwrap(), |_| Err(Error::Expired));
    let (value, how) = chain(nobody).await;
    assert_eq!(value, 9);
    assert!(how.ends_with("done without"), "{how}");
}

#[tokio::test]
async fn when_all_fail_the_error_is_the_first_ones_and_names_the_others() {
    let world = World::new().answers(A, fails("first")).answers(B, fails("second"));
    let error = world.context().delegate(A, "x".into()).or(B).or_cached(HOUR).or_partial().await.unwrap_err();
    let Error::Failed { to, failure } = error else { panic!("{error}") };
    assert_eq!((&*to, failure.message.as_str()), ("count.first", "first; count.second failed (second)"));
    assert!(world.degraded().is_empty());
}

#[tokio::test]
async fn what_was_cancelled_is_not_made_up_for() {
    let world = World::new().answers(A, |_| Err(Error::Cancelled { by: "ann".into() })).answers(B, |_| Ok(2));
    let error = world.context().delegate(A, "x".into()).or(B).or_skip(9).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(world.asked(B).is_empty());
}

#[tokio::test]
async fn an_earlier_response_stands_in_when_it_is_young_enough() {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = is_well.clone();
    let world =
        World::new().answers(
            A,
            move |text: String| {
                if well.load(Ordering::Relaxed) { Ok(text.len() as u32) } else { fails("away")(text) }
            },
        );
    let ctx = world.context();
    assert_eq!(ctx.delegate(A, "four".into()).key("fill").or_cached(HOUR).await.unwrap(), 4);
    is_well.store(false, Ordering::Relaxed);
    let reply = ctx.delegate(A, "four".into()).key("use").or_cached(HOUR).full().await.unwrap();
    assert_eq!(reply.value, 4);
    assert!(reply.degraded.unwrap().contains("s before instead"));
    assert!(ctx.delegate(A, "other".into()).or_cached(HOUR).await.is_err(), "another input has another response");
}
