//! Groups over a scripted world in which an answer takes as many milliseconds as its request says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::testing::World;
use crate::{Capability, Error, human};

const WAIT: Capability<u64, u64> = Capability::new("test.wait");

/// What takes more than a second fails when its time has come.
fn world() -> World {
    World::new().answers_async(WAIT, |ms| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if ms <= 1_000 { Ok(ms) } else { Err(Error::decode(format!("{ms} is too long"))) }
    })
}

#[tokio::test(start_paused = true)]
async fn all_responses_come_in_the_order_of_their_inputs() {
    let ctx = world().context();
    assert_eq!(ctx.delegate_all(WAIT, [30, 10, 20]).await.unwrap(), [30, 10, 20]);
    assert!(ctx.group::<u64>().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_cancels_the_rest() {
    let world = world();
    let failure = world.context().delegate_all(WAIT, [9_000, 10, 2_000, 3_000]).await.unwrap_err();
    assert!(failure.to_string().contains("2000 is too long"), "{failure}");
    assert_eq!(world.abandoned(WAIT), [9_000, 3_000]);
}

#[tokio::test(start_paused = true)]
async fn children_are_taken_as_they_end_and_more_may_be_added_meanwhile() {
    let ctx = world().context();
    let mut group = ctx.delegate_all(WAIT, [300, 100]);
    assert_eq!(group.next().await.unwrap().unwrap(), 100);
    group.add(ctx.delegate(WAIT, 50));
    assert_eq!(group.next().await.unwrap().unwrap(), 50);
    assert_eq!(group.next().await.unwrap().unwrap(), 300);
    assert!(group.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_race_is_won_by_the_first_success_and_ends_the_others() {
    let world = world();
    assert_eq!(world.context().delegate_all(WAIT, [1_500, 900, 800]).race().await.unwrap(), 800);
    assert_eq!(world.abandoned(WAIT), [1_500, 900]);
    let lost = world.context().delegate_all(WAIT, [1_500, 1_600]).race().await.unwrap_err();
    assert!(lost.to_string().contains("1600"), "{lost}");
    let nobody = world.context().group::<u64>().race().await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn settling_cancels_nothing() {
    let world = world();
    let results = world.context().delegate_all(WAIT, [2_000, 10, 3_000]).settle().await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    assert!(world.abandoned(WAIT).is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_more_children_are_at_work_than_the_group_allows() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let world = World::new().answers_async(WAIT, move |ms| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(ms)
        }
    });
    let done = world.context().delegate_all(WAIT, 1..=20).at_most(3).await.unwrap();
    assert_eq!((done.len(), seen.load(Ordering::SeqCst)), (20, 3));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_dropped_takes_its_children_back_and_one_never_awaited_has_none() {
    let world = world();
    let mut group = world.context().delegate_all(WAIT, [10, 500, 600]).at_most(2);
    group.next().await.unwrap().unwrap();
    drop(group);
    assert_eq!(world.abandoned(WAIT), [500], "600 waited for a place and was never delegated");
    drop(world.context().delegate_all(WAIT, [1, 2]));
    assert_eq!(world.asked(WAIT), [10, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_cancelled_starts_nothing_more_and_waits_for_what_was_at_work() {
    let world = world();
    let mut group = world.context().delegate_all(WAIT, [10, 500, 20, 600, 700]).at_most(2);
    for ms in [10, 20] {
        assert_eq!(group.next().await.unwrap().unwrap(), ms);
    }
    let rest = group.cancel_all().await;
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|one| matches!(one, Err(Error::Cancelled { .. }))), "{rest:?}");
    assert_eq!(world.asked(WAIT), [10, 500, 20], "the others waited for a place and were never delegated");
    assert_eq!(world.abandoned(WAIT), [500]);
    assert!(world.context().delegate_all(WAIT, []).cancel_all().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_cancelled_waits_for_no_people_and_begins_nothing_that_they_approve() {
    let people = human::queue("finance").unwrap();
    let world = world().answers_async(people, |_| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Ok("approve".into())
    });
    let ctx = world.context();
    let mut group = ctx.group();
    group.extend([ctx.delegate(WAIT, 10), ctx.delegate(WAIT, 900), ctx.delegate(WAIT, 20).approved_by("finance")]);
    assert_eq!(group.next().await.unwrap().unwrap(), 10);
    let began = Instant::now();
    let rest = group.cancel_all().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(&rest[..], [Err(Error::Cancelled { .. }), Err(Error::Cancelled { .. })]), "{rest:?}");
    assert_eq!((world.asked(WAIT), world.abandoned(WAIT)), (vec![10, 900], vec![900]));
    assert_eq!(world.abandoned(people).len(), 1, "the question is taken back");
}

/// The first to end does so before the others have been polled at all.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_cancelled_begins_nothing_that_it_had_not_come_to() {
    let world = World::new().answers(WAIT, Ok);
    let mut group = world.context().delegate_all(WAIT, [1, 2, 3]);
    assert_eq!(group.next().await.unwrap().unwrap(), 1);
    assert_eq!(group.cancel_all().await.len(), 2);
    assert_eq!(world.asked(WAIT), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_group_has_ten_places_unless_it_says_so() {
    let world = world();
    let mut group = world.context().delegate_all(WAIT, (1..=30).map(|n| n * 10));
    group.next().await.unwrap().unwrap();
    assert_eq!(world.asked(WAIT).len(), 10);
}
