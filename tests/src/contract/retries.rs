//! Ending without success and beginning again.

use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::task::{Status, Task};
use serde_json::json;

use super::bench::{Bench, capability};

pub async fn a_retry_is_the_next_generation_once(b: Bench) {
    let lease = b.begin("run").await;
    b.finish(b.failed(&lease, "no luck")).await.unwrap();
    let tasks = &b.broker.tasks;
    let second = tasks.retry(lease.task.id.clone()).await.unwrap();
    assert_eq!(second, TaskId::root_generation(&lease.task.run, 2));
    let view = b.view(&second).await;
    assert_eq!((view.status, view.task.generation), (Status::Pending, 2));
    assert_eq!((view.task.retry_of, view.task.base), (Some(lease.task.id.clone()), lease.task.id.clone()));
    assert_eq!(view.task.input, lease.task.input);
    assert_eq!(b.view(&lease.task.id).await.status, Status::Failed, "the first one stays as it ended");
    assert_eq!(tasks.retry(lease.task.id.clone()).await.unwrap(), second, "there is a newer one already");

    let again = b.claim_one().await;
    assert_eq!((again.task.id.clone(), again.attempt, again.log.len()), (second.clone(), 1, 0));
    tasks.cancel(second.clone(), "operator".into()).await.unwrap();
    let third = tasks.retry(lease.task.id.clone()).await.unwrap();
    assert_eq!(third, second, "the newest, whatever has become of it");
    assert_eq!(tasks.retry(second).await.unwrap(), TaskId::root_generation(&lease.task.run, 3));
}

pub async fn what_runs_or_is_done_is_not_retried(b: Bench) {
    let lease = b.begin("run").await;
    let tasks = &b.broker.tasks;
    assert!(matches!(tasks.retry(lease.task.id.clone()).await, Err(Error::Conflict { .. })));
    b.complete(&lease, json!(1)).await;
    assert!(matches!(tasks.retry(lease.task.id.clone()).await, Err(Error::Conflict { .. })));
    assert!(matches!(tasks.retry(b.task("nobody").id).await, Err(Error::NotFound { .. })));
    assert_eq!(b.tasks().await.len(), 1);
}

pub async fn a_child_is_retried_under_its_parents_newest_generation(b: Bench) {
    let tasks = &b.broker.tasks;
    let parent = b.begin("run").await;
    let kid = parent.task.child("kid", capability("y"), json!(1).into(), b.now());
    b.submit_task(kid.clone()).await;
    tasks.cancel(kid.id.clone(), "operator".into()).await.unwrap();
    b.finish(b.failed(&parent, "no luck")).await.unwrap();
    let second = tasks.retry(parent.task.id.clone()).await.unwrap();
    let again = tasks.retry(kid.id.clone()).await.unwrap();
    let view = b.view(&again).await;
    assert_eq!((view.task.parent, view.task.generation), (Some(second.clone()), 2));
    assert_eq!(view.task.retry_of, Some(kid.id.clone()));

    // A parent that is run again computes the same id for it, and so finds it.
    let parent = b.view(&second).await.task;
    assert_eq!(kid.next_generation(Some(&parent), b.now()).id, again);
    let known: Task = kid.next_generation(Some(&parent), b.now());
    let answer = tasks.submit(vec![known]).await.remove(0).unwrap();
    assert_eq!(answer, callboard_broker::tasks::Submitted::Known);
}
