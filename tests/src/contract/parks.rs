//! Laying tasks aside until others have ended.

use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::task::{Status, Task, was_begun};
use callboard_broker::tasks::{Child, Lease, MAX_PARK, Park};
use serde_json::json;

use super::bench::{Bench, capability, claim, delegated, step};

/// A claimed task of capability `x` with children of the same.
async fn family(b: &Bench, run: &str, keys: &[&str]) -> (Lease, Vec<Task>) {
    let parent = b.begin(run).await;
    delegate(b, parent, keys).await
}

async fn delegate(b: &Bench, mut parent: Lease, keys: &[&str]) -> (Lease, Vec<Task>) {
    let child = |key: &&str| parent.task.child(key, capability("x"), json!(key).into(), b.now());
    let children: Vec<Task> = keys.iter().map(child).collect();
    let entries = children.iter().map(delegated).collect();
    let stored = children.iter().map(|task| Child::Queued(Box::new(task.clone()))).collect();
    parent.fence = b.broker.tasks.append(parent.fence.clone(), entries, stored).await.unwrap();
    (parent, children)
}

async fn park(b: &Bench, lease: &Lease, on: &[TaskId]) -> Result<(), Error> {
    b.broker.tasks.park(Park { fence: lease.fence.clone(), on: on.to_vec() }).await
}

/// What comes back to the queue, in whatever moment its wing hears of the end.
async fn woken(b: &Bench) -> Lease {
    let leases = b.broker.tasks.claim(claim(1, Duration::from_secs(30))).await.unwrap();
    leases.into_iter().next().expect("it comes back")
}

fn ids(tasks: &[Task]) -> Vec<TaskId> {
    tasks.iter().map(|task| task.id.clone()).collect()
}

pub async fn a_parked_task_comes_back_with_the_first_end_as_the_same_attempt(b: Bench) {
    let (parent, children) = family(&b, "run", &["one", "two"]).await;
    park(&b, &parent, &ids(&children)).await.unwrap();
    let view = b.view(&parent.task.id).await;
    assert_eq!((view.status, view.parked, view.not_before), (Status::Pending, true, None));
    let held = b.claim_all(2).await;
    assert!(b.claim(1).await.is_empty(), "it stands in no queue");
    let late = b.broker.tasks.append(parent.fence.clone(), vec![step("late")], Vec::new()).await;
    assert!(matches!(late, Err(Error::Replaced)), "its claim is gone: {late:?}");

    b.complete(&held[0], json!(1)).await;
    let again = woken(&b).await;
    assert_eq!((&again.task.id, again.attempt), (&parent.task.id, 1), "waking is no new attempt");
    let kinds: Vec<&str> = again.log.iter().map(|record| record.entry.kind()).collect();
    assert_eq!(kinds, ["delegated", "delegated", "parked", "claimed"]);
    assert!(!b.view(&parent.task.id).await.parked);
    b.complete(&held[1], json!(2)).await;
    b.complete(&again, json!("done")).await;
    assert!(b.claim(1).await.is_empty());
}

pub async fn what_had_ended_before_wakes_at_once(b: Bench) {
    let (mut parent, children) = family(&b, "run", &["one"]).await;
    let child = b.claim_one().await;
    b.complete(&child, json!(1)).await;
    for _ in 0..3 {
        park(&b, &parent, &ids(&children)).await.unwrap();
        parent = woken(&b).await;
        assert_eq!((parent.task.run.as_str(), parent.attempt), ("run", 1));
        assert!(was_begun(parent.attempt, &parent.log));
    }
}

pub async fn a_deadline_and_a_cancel_reach_a_parked_task(b: Bench) {
    let late = Task { deadline: b.now() + 60_000, ..b.task("late") };
    b.broker.tasks.submit(vec![late]).await.remove(0).unwrap();
    let lease = b.claim_one().await;
    park(&b, &lease, &[b.task("nobody").id]).await.unwrap();
    b.pass(Duration::from_secs(61)).await;
    assert_eq!(b.view(&lease.task.id).await.status, Status::Expired);

    let (parent, children) = family(&b, "gone", &["one"]).await;
    park(&b, &parent, &ids(&children)).await.unwrap();
    let cancelled = b.broker.tasks.cancel(parent.task.id.clone(), "ops".into()).await.unwrap();
    assert_eq!(cancelled, [parent.task.id.clone(), children[0].id.clone()]);
    assert!(b.claim(2).await.is_empty(), "the end of its child wakes nobody");
}

pub async fn a_poor_park_is_refused(b: Bench) {
    let lease = b.begin("run").await;
    assert!(matches!(park(&b, &lease, &[]).await, Err(Error::Decode { .. })));
    let many = vec![lease.task.id.clone(); MAX_PARK + 1];
    assert!(matches!(park(&b, &lease, &many).await, Err(Error::TooLarge { .. })));
    b.complete(&lease, json!("done")).await;
    let late = park(&b, &lease, &[b.task("nobody").id]).await;
    assert!(matches!(late, Err(Error::Replaced)), "{late:?}");
}

/// A parent that was retried waits for a child that its earlier generation delegated.
pub async fn the_end_of_an_inherited_child_wakes_a_later_generation(b: Bench) {
    let (first, children) = family(&b, "run", &["one"]).await;
    let child = b.claim_one().await;
    b.finish(b.failed(&first, "no luck")).await.unwrap();
    b.broker.tasks.retry(first.task.id.clone()).await.unwrap();
    let second = b.claim_one().await;
    park(&b, &second, &ids(&children)).await.unwrap();
    assert!(b.claim(1).await.is_empty());
    b.complete(&child, json!(1)).await;
    assert_eq!(woken(&b).await.task.id, second.task.id);
}

pub async fn what_is_parked_is_so_after_a_crash(b: Bench) {
    let (one, two) = (b.begin("one").await, b.begin("two").await);
    let (one, of_one) = delegate(&b, one, &["a"]).await;
    let (two, of_two) = delegate(&b, two, &["b"]).await;
    park(&b, &one, &ids(&of_one)).await.unwrap();
    park(&b, &two, &ids(&of_two)).await.unwrap();
    let held = b.claim_all(2).await;
    assert_eq!(held[0].task.id, of_one[0].id);
    b.complete(&held[0], json!(1)).await;
    let Some(b) = b.crash().await else { return };
    let (first, second) = (woken(&b).await, woken(&b).await);
    let (child, parent) = if first.task.id == one.task.id { (second, first) } else { (first, second) };
    assert_eq!((&parent.task.id, &child.task.id), (&one.task.id, &held[1].task.id), "its claim did not survive");
    assert!(b.claim(1).await.is_empty() && b.view(&two.task.id).await.parked);
    b.complete(&child, json!(2)).await;
    assert_eq!(woken(&b).await.task.id, two.task.id);
}

/// Whichever comes first, the record of parking or the end that it waits for: the task comes back.
pub async fn a_park_never_misses_an_end(b: Bench) {
    for round in 0..20 {
        let (parent, children) = family(&b, &format!("run-{round}"), &["one"]).await;
        let child = woken(&b).await;
        let on = ids(&children);
        let (parked, ()) = tokio::join!(park(&b, &parent, &on), b.complete(&child, json!(1)));
        parked.unwrap();
        let again = woken(&b).await;
        assert_eq!((&again.task.id, again.attempt), (&parent.task.id, 1), "round {round}");
        b.complete(&again, json!("done")).await;
    }
}
