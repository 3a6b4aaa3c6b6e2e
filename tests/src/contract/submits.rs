//! Storing tasks, and looking at them.

use callboard_broker::error::Error;
use callboard_broker::payload::{MAX_PAYLOAD, Payload};
use callboard_broker::task::{Status, Task};
use callboard_broker::tasks::{Child, Submitted, TaskFilter};
use serde_json::json;

use super::bench::{Bench, capability, delegated};

pub async fn stored_once_and_a_known_id_is_left_as_it_is(b: Bench) {
    let (one, two) = (b.task("one"), b.task("two"));
    let again = Task { description: Some("another wording".into()), ..one.clone() };
    let answers = b.broker.tasks.submit(vec![one.clone(), two.clone(), again.clone()]).await;
    let answers: Vec<Submitted> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [Submitted::New, Submitted::New, Submitted::Known]);
    assert_eq!(b.broker.tasks.submit(vec![again]).await.remove(0).unwrap(), Submitted::Known);

    let views = b.broker.tasks.get(vec![two.id.clone(), one.id.clone()]).await.unwrap();
    let [Some(second), Some(first)] = &views[..] else { panic!("{views:?}") };
    assert_eq!((&first.task, &second.task), (&one, &two));
    assert!(first.seq < second.seq, "the order of submission");
    assert_eq!((first.status, first.attempt, &first.outcome), (Status::Pending, 0, &None));
    let nothing = b.broker.tasks.get(vec![b.task("three").id]).await.unwrap();
    assert_eq!(nothing, [None]);
    assert!(matches!(b.broker.tasks.log(b.task("three").id).await, Err(Error::NotFound { .. })));
}

pub async fn a_known_id_with_another_input_diverges(b: Bench) {
    let task = Task { input: Payload::from_json(r#"{"a": 1, "b": 2}"#).unwrap(), ..b.task("one") };
    b.submit_task(task.clone()).await;
    let respelled = Task { input: Payload::from_json(r#"{"b":2,"a":1}"#).unwrap(), ..task.clone() };
    let other = Task { input: json!({ "a": 1, "b": 3 }).into(), ..task.clone() };
    let answers = b.broker.tasks.submit(vec![respelled, other.clone(), b.task("two")]).await;
    assert_eq!(*answers[0].as_ref().unwrap(), Submitted::Known);
    let Err(Error::Diverged { recorded, given, .. }) = &answers[1] else { panic!("{:?}", answers[1]) };
    assert_eq!(**recorded, *task.input.content_hash().unwrap());
    assert_eq!(**given, *other.input.content_hash().unwrap());
    assert_eq!(*answers[2].as_ref().unwrap(), Submitted::New, "each item has its own answer");
    assert_eq!(b.view(&task.id).await.task, task);
}

pub async fn what_is_too_large_or_of_another_run_is_refused(b: Bench) {
    let large = Task { input: json!("x".repeat(MAX_PAYLOAD)).into(), ..b.task("large") };
    let stray = Task { id: b.task("other").id, ..b.task("stray") };
    let answers = b.broker.tasks.submit(vec![large, stray, b.task("good")]).await;
    assert!(matches!(answers[0], Err(Error::TooLarge { .. })), "{:?}", answers[0]);
    assert!(matches!(answers[1], Err(Error::Decode { .. })), "{:?}", answers[1]);
    assert_eq!(*answers[2].as_ref().unwrap(), Submitted::New);
    assert_eq!(b.tasks().await.len(), 1);
}

pub async fn a_full_queue_is_busy_and_has_room_again(b: Bench) {
    let b = b.with(|setup| setup.max_tasks = 2).await;
    let lease = b.begin("one").await;
    b.submit("two").await;
    let full = b.broker.tasks.submit(vec![b.task("three")]).await.remove(0);
    let Err(Error::Busy { retry_after, .. }) = full else { panic!("{full:?}") };
    assert!(!retry_after.is_zero());
    let child = lease.task.child("k", capability("x"), json!(1).into(), b.now());
    let appended = b
        .broker
        .tasks
        .append(lease.fence.clone(), vec![delegated(&child)], vec![Child::Queued(Box::new(child.clone()))])
        .await;
    assert!(matches!(appended, Err(Error::Busy { .. })), "{appended:?}");
    assert!(b.log(&lease.task.id).await.is_empty(), "nothing was appended");
    let known = b.broker.tasks.submit(vec![b.task("two")]).await.remove(0);
    assert_eq!(known.unwrap(), Submitted::Known, "what is there needs no room");
    b.complete(&lease, json!(1)).await;
    // Several servers agree on the end of a task a moment after one of them has acknowledged it.
    let mut three = b.broker.tasks.submit(vec![b.task("three")]).await.remove(0);
    for _ in 0..10 {
        let Err(Error::Busy { retry_after, .. }) = three else { break };
        b.pass(retry_after / 10).await;
        three = b.broker.tasks.submit(vec![b.task("three")]).await.remove(0);
    }
    assert_eq!(three.unwrap(), Submitted::New);
}

/// More at once than a wing may send at a time.
pub async fn of_a_batch_as_many_are_taken_as_there_is_room_for(b: Bench) {
    let b = b.with(|setup| setup.max_tasks = 70).await;
    let batch = |from: usize| (from..from + 100).map(|n| b.task(&format!("t{n}"))).collect::<Vec<_>>();
    let first = b.broker.tasks.submit(batch(0)).await;
    let (taken, refused) = first.split_at(70);
    assert!(taken.iter().all(|one| matches!(one, Ok(Submitted::New))), "{taken:?}");
    assert!(refused.iter().all(|one| matches!(one, Err(Error::Busy { .. }))), "{refused:?}");
    // The first three are there already, and one is named twice, which says of both the same.
    let mut second = batch(67);
    second.push(second[50].clone());
    let second = b.broker.tasks.submit(second).await;
    assert!(second[..3].iter().all(|one| matches!(one, Ok(Submitted::Known))), "{second:?}");
    assert!(second[3..].iter().all(|one| matches!(one, Err(Error::Busy { .. }))), "{second:?}");
    assert_eq!(b.tasks().await.len(), 70, "what is refused leaves nothing");
}

pub async fn no_child_is_stored_under_a_parent_that_ended(b: Bench) {
    let lease = b.begin("run").await;
    let child = |key: &str| lease.task.child(key, capability("y"), json!(key).into(), b.now());
    b.submit_task(child("early")).await;
    b.complete(&lease, json!("done")).await;
    let mut stranger = child("stranger");
    stranger.parent = Some(child("nobody").id);
    let answers = b.broker.tasks.submit(vec![child("late"), child("early"), stranger]).await;
    assert!(matches!(answers[0], Err(Error::Cancelled { .. })), "{:?}", answers[0]);
    assert_eq!(*answers[1].as_ref().unwrap(), Submitted::Known);
    assert!(matches!(answers[2], Err(Error::NotFound { .. })), "{:?}", answers[2]);
}

pub async fn the_log_of_events_says_that_it_was_created(b: Bench) {
    let task = Task { from: Some("client".into()), ..b.task("one") };
    b.broker.tasks.submit(vec![task.clone(), task.clone()]).await;
    let events = b.events().await;
    assert_eq!(events.len(), 1, "once for a task that was new: {events:?}");
    assert_eq!((events[0].kind.as_str(), events[0].agent.as_str()), ("task.created", "client"));
    assert_eq!((&events[0].run, &events[0].task), (&Some(task.run), &Some(task.id)));
    assert_eq!(events[0].payload.value().unwrap()["capability"], "x");
}

pub async fn tasks_are_listed_by_what_is_asked(b: Bench) {
    let lease = b.begin("alpha").await;
    let child = lease.task.child("k", capability("y"), json!(1).into(), b.now());
    b.submit_task(child.clone()).await;
    b.submit("beta").await;
    let done = b.begin_other("gamma").await;
    let list = async |filter: TaskFilter| -> Vec<String> {
        let views = b.broker.tasks.list(filter).await.unwrap();
        views.into_iter().map(|view| view.task.id.to_string()).collect()
    };
    let (alpha, kid, done) = ("alpha", child.id.as_str(), done.as_str());
    let any = TaskFilter::default;
    assert_eq!(list(any()).await, [alpha, kid, "beta", done]);
    assert_eq!(list(TaskFilter { run: Some(lease.task.run.clone()), ..any() }).await, [alpha, kid]);
    assert_eq!(list(TaskFilter { parent: Some(lease.task.id.clone()), ..any() }).await, [kid]);
    assert_eq!(list(TaskFilter { capability: Some(capability("y")), ..any() }).await, [kid]);
    assert_eq!(list(TaskFilter { roots: true, ..any() }).await, [alpha, "beta", done]);
    assert_eq!(list(TaskFilter { suffix: Some("ta".into()), ..any() }).await, ["beta"]);
    assert_eq!(list(TaskFilter { status: vec![Status::Completed], ..any() }).await, [done]);
    let waiting = vec![Status::Pending, Status::InProgress];
    assert_eq!(list(TaskFilter { status: waiting, roots: true, ..any() }).await, [alpha, "beta"]);
    assert_eq!(list(TaskFilter { newest_first: true, limit: 2, ..any() }).await, [done, "beta"]);

    let first = b.broker.tasks.list(TaskFilter { limit: 3, ..any() }).await.unwrap();
    assert_eq!(list(TaskFilter { after: Some(first[2].seq), ..any() }).await, [done]);
    let before = TaskFilter { after: Some(first[2].seq), newest_first: true, ..any() };
    assert_eq!(list(before).await, [kid, alpha]);
}

impl Bench {
    /// A root task for another capability, submitted, claimed and completed.
    async fn begin_other(&self, run: &str) -> String {
        let task = Task { capability: capability("z"), ..self.task(run) };
        let id = self.submit_task(task).await;
        let claim = super::bench::claim(1, std::time::Duration::ZERO);
        let claim = callboard_broker::tasks::Claim { capability: capability("z"), ..claim };
        let lease = self.broker.tasks.claim(claim).await.unwrap().remove(0);
        self.complete(&lease, json!("done")).await;
        id.to_string()
    }
}
