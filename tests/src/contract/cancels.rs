//! Cancelling trees of tasks.

use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::task::{Release, Status, Task};
use callboard_broker::tasks::{Child, Lease, Revoked};
use serde_json::json;

use super::bench::{Bench, capability, delegated, give_back, step};

fn child(b: &Bench, parent: &Task, key: &str) -> Task {
    parent.child(key, capability("x"), json!(key).into(), b.now())
}

async fn delegate(b: &Bench, lease: &mut Lease, key: &str) -> Task {
    let kid = child(b, &lease.task, key);
    let stored = vec![Child::Queued(Box::new(kid.clone()))];
    lease.fence = b.broker.tasks.append(lease.fence.clone(), vec![delegated(&kid)], stored).await.unwrap();
    kid
}

async fn cancel(b: &Bench, task: &TaskId) -> Vec<TaskId> {
    b.broker.tasks.cancel(task.clone(), "operator".into()).await.unwrap()
}

pub async fn everything_below_is_cancelled_from_the_top_down(b: Bench) {
    let mut root = b.begin("run").await;
    let done = delegate(&b, &mut root, "done").await;
    let finished = b.claim_one().await;
    b.complete(&finished, json!("kept")).await;
    let kid = delegate(&b, &mut root, "kid").await;
    let mut lead = b.claim_one().await;
    let deep = delegate(&b, &mut lead, "deep").await;
    let bystander = b.submit("other").await;

    assert_eq!(cancel(&b, &root.task.id).await, [root.task.id.clone(), kid.id.clone(), deep.id.clone()]);
    for id in [&root.task.id, &kid.id, &deep.id] {
        let outcome = b.view(id).await.outcome.unwrap();
        assert_eq!(outcome.status, Status::Cancelled);
        assert!(matches!(outcome.into_result(), Err(Error::Cancelled { by }) if &*by == "operator"));
        assert_eq!(b.story(id).await.last().unwrap(), "task.cancelled");
    }
    for lease in [&root, &lead] {
        assert_eq!(*lease.revoked.borrow(), Some(Revoked::Ended(Status::Cancelled)));
    }
    assert_eq!(b.view(&done.id).await.status, Status::Completed, "what was done stands");
    let left = b.claim(5).await;
    assert_eq!(left.iter().map(|lease| &lease.task.id).collect::<Vec<_>>(), [&bystander]);
    assert!(cancel(&b, &root.task.id).await.is_empty(), "a second time there is nothing left to cancel");
    let nobody = b.broker.tasks.cancel(b.task("nobody").id, "operator".into()).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })), "{nobody:?}");
}

pub async fn what_had_ended_stands_and_nothing_can_be_added(b: Bench) {
    let mut root = b.begin("run").await;
    let kid = delegate(&b, &mut root, "kid").await;
    b.complete(&root, json!("early")).await;
    assert_eq!(cancel(&b, &root.task.id).await, std::slice::from_ref(&kid.id), "what it left behind is cancelled");
    let view = b.view(&root.task.id).await;
    assert_eq!((view.status, view.outcome.unwrap().output), (Status::Completed, json!("early").into()));
    let late = b.broker.tasks.submit(vec![child(&b, &kid, "late")]).await.remove(0);
    assert!(matches!(late, Err(Error::Cancelled { by }) if &*by == "operator"));
}

pub async fn a_child_of_an_earlier_generation_is_reached_through_the_log(b: Bench) {
    let mut first = b.begin("run").await;
    let kid = delegate(&b, &mut first, "kid").await;
    b.finish(b.failed(&first, "no luck")).await.unwrap();
    let second = b.broker.tasks.retry(first.task.id.clone()).await.unwrap();
    let held = b.claim_all(2).await;
    let mut again = held.into_iter().find(|lease| lease.task.id == second).unwrap();
    assert_eq!(delegate(&b, &mut again, "kid").await.id, kid.id, "the same child, still at work");
    assert_eq!(cancel(&b, &second).await, [second.clone(), kid.id.clone()]);
    assert_eq!(b.view(&kid.id).await.status, Status::Cancelled);
}

pub async fn a_cancelled_attempt_can_record_nothing(b: Bench) {
    let lease = b.begin("run").await;
    let (tasks, kid) = (&b.broker.tasks, child(&b, &lease.task, "kid"));
    cancel(&b, &lease.task.id).await;
    let by = |error: Error| matches!(error, Error::Cancelled { by } if &*by == "operator");
    let stored = vec![Child::Queued(Box::new(kid.clone()))];
    assert!(by(tasks.append(lease.fence.clone(), vec![step("s")], stored).await.unwrap_err()));
    assert!(by(tasks.release(give_back(&lease.fence, Release::Retry)).await.unwrap_err()));
    assert!(by(b.finish(b.completed(&lease, json!(1))).await.unwrap_err()));
    assert!(tasks.extend(vec![lease.fence.clone()]).await[0].is_err());
    assert_eq!(tasks.get(vec![kid.id]).await.unwrap(), [None]);
    assert!(b.log(&lease.task.id).await.is_empty());
    assert_eq!(b.view(&lease.task.id).await.attempt, 1);
    assert_eq!(b.story(&lease.task.id).await, ["task.created", "task.started", "task.cancelled"]);
}
