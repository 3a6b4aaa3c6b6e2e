//! Typed state over the state of a test world.

use futures_core::Stream;

use super::{Change, StateKey};
use crate::testing::World;
use crate::{Error, payload};

#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    steps: Vec<String>,
}

const PLAN: StateKey<Plan> = StateKey::run("plan");
const TOTAL: StateKey<u64> = StateKey::team("total");

#[tokio::test]
async fn what_one_writes_the_other_reads_with_who_and_when() {
    let world = World::new().named("planner");
    let state = world.context().state(PLAN);
    assert_eq!(state.get().await.unwrap(), None);
    let revision = state.set(Plan { steps: vec!["look".into()] }).await.unwrap();
    let entry = world.state(PLAN).get().await.unwrap().unwrap();
    assert_eq!((entry.revision, entry.by.as_str(), entry.steps.len()), (revision, "planner", 1));
    assert!(entry.at > 0);
}

#[tokio::test]
async fn a_conditional_write_loses_to_whoever_was_quicker() {
    let state = World::new().context().state(TOTAL);
    let first = state.set_if(0, 1).await.unwrap();
    let late = state.set_if(0, 2).await.unwrap_err();
    assert!(matches!(late, Error::Conflict { expected: 0, actual, .. } if actual == first));
    let second = state.set_if(first, 3).await.unwrap();
    assert!(second > first);
    state.delete().await.unwrap();
    assert_eq!(state.get().await.unwrap(), None);
    assert!(matches!(state.set_if(second, 4).await, Err(Error::Conflict { actual: 0, .. })));
}

#[tokio::test]
async fn an_update_is_made_again_on_what_came_between() {
    let world = World::new();
    let (state, other) = (world.context().state(TOTAL), world.state(TOTAL));
    assert_eq!(*state.update(|total| *total += 1).await.unwrap(), 1, "what is not there begins as the default");
    let mut tries = 0;
    let entry = state
        .update(|total| {
            if tries == 0 {
                futures_done(other.set(10)).unwrap();
            }
            tries += 1;
            *total += 1;
        })
        .await
        .unwrap();
    assert_eq!((*entry, tries), (11, 2));
}

#[tokio::test]
async fn an_update_that_always_loses_ends_as_a_conflict() {
    let world = World::new();
    let (state, other) = (world.context().state(TOTAL), world.state(TOTAL));
    let mut tries = 0;
    let lost = state.update(|total| {
        tries += 1;
        *total += 1;
        futures_done(other.set(u64::from(tries))).unwrap();
    });
    assert!(matches!(lost.await, Err(Error::Conflict { .. })));
    assert_eq!(tries, super::UPDATE_TRIES);
}

/// The answer of a future of the test world, whose state never waits.
fn futures_done<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("the state of a test answers at once"),
    }
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_and_then_every_change_of_that_key_alone() {
    let world = World::new();
    let state = world.state(PLAN);
    let plan = |step: &str| Plan { steps: vec![step.into()] };
    state.set(plan("zero")).await.unwrap();
    state.set(plan("one")).await.unwrap();
    let mut changes = state.watch();
    let set = |change| match change {
        Change::Set(entry) => crate::Entry::into_inner(entry),
        Change::Deleted { .. } => panic!("nothing was deleted"),
    };
    assert_eq!(set(changes.next().await.unwrap().unwrap()), plan("one"));
    world.state(PLAN.at("draft")).set(plan("elsewhere")).await.unwrap();
    state.set(plan("two")).await.unwrap();
    state.delete().await.unwrap();
    assert_eq!(set(changes.next().await.unwrap().unwrap()), plan("two"));
    assert!(matches!(changes.next().await.unwrap().unwrap(), Change::Deleted { by, .. } if by == "test"));
}

#[tokio::test]
async fn history_is_every_change_oldest_first() {
    let state = World::new().state(TOTAL);
    for total in 1..=3 {
        state.set(total).await.unwrap();
    }
    let mut history = state.history();
    assert_eq!(history.size_hint(), (0, None));
    let mut seen = Vec::new();
    while let Some(change) = history.next().await {
        match change.unwrap() {
            Change::Set(entry) => seen.push(*entry),
            Change::Deleted { .. } => panic!("nothing was deleted"),
        }
    }
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn a_newer_version_is_never_guessed_and_an_older_one_is_read_as_the_type_is_now() {
    const OLD: StateKey<u64> = StateKey::global("shared");
    const NEW: StateKey<u64> = StateKey::global("shared").version(2);
    let world = World::new();
    world.state(OLD).set(1).await.unwrap();
    assert_eq!(*world.state(NEW).get().await.unwrap().unwrap(), 1);
    world.state(NEW).set(2).await.unwrap();
    assert_eq!(*world.state(NEW).get().await.unwrap().unwrap(), 2);
    let newer = world.state(OLD).get().await.unwrap_err();
    assert!(matches!(&newer, Error::Decode { what } if what.contains("version 2")), "{newer}");
}

#[tokio::test]
async fn a_value_that_looks_like_a_version_mark_is_still_only_a_value() {
    const ANY: StateKey<crate::Value> = StateKey::global("any");
    let world = World::new();
    let tricky = crate::json!({ "$version": 9, "value": "mine" });
    world.state(ANY).set(tricky.clone()).await.unwrap();
    assert_eq!(*world.state(ANY).get().await.unwrap().unwrap(), tricky);
}

#[tokio::test]
async fn a_key_that_means_nothing_here_is_an_error_where_it_is_used() {
    let states = World::new().context().host().states();
    let outside = super::State::over(states, &PLAN, super::Party::client("me"));
    assert!(matches!(outside.get().await, Err(Error::NotFound { what }) if what.contains("plan")));
    let bad = World::new().state(PLAN.at("not a key"));
    assert!(matches!(bad.set(Plan::default()).await, Err(Error::Decode { .. })));
    assert!(matches!(bad.watch().next().await, Some(Err(Error::Decode { .. }))));
}
