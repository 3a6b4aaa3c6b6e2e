//! Ending tasks without claiming them, as people do.

use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::payload::MAX_PAYLOAD;
use callboard_broker::task::{Outcome, Status};
use callboard_broker::tasks::{Child, Recorded, Until};
use serde_json::{Value, json};

use super::bench::{Bench, capability, delegated};

async fn answer(b: &Bench, task: &TaskId, by: &str, said: Value) -> Result<Recorded, Error> {
    let view = b.view(task).await;
    let outcome = Outcome::of(&view.task, Status::Completed, None, b.now());
    b.broker.tasks.conclude(Outcome { output: said.into(), agent: Some(by.into()), ..outcome }).await
}

pub async fn the_first_answer_holds_and_the_second_is_told(b: Bench) {
    let task = b.submit("run").await;
    assert_eq!(answer(&b, &task, "ann", json!("yes")).await.unwrap(), Recorded::New);
    assert_eq!(answer(&b, &task, "ann", json!("yes")).await.unwrap(), Recorded::Already, "said twice is said once");
    for (by, said) in [("ann", "no"), ("bob", "yes")] {
        let second = answer(&b, &task, by, json!(said)).await;
        assert!(matches!(second, Err(Error::Conflict { .. })), "{second:?}");
    }
    let ended = b.view(&task).await.outcome.unwrap();
    assert_eq!((ended.output, ended.agent.as_deref(), ended.attempt), (json!("yes").into(), Some("ann"), 0));
    // Which of the last two comes first is not promised.
    let mut story = b.story(&task).await;
    story[1..].sort();
    assert_eq!(story, ["task.created", "context.updated", "task.completed"]);
    assert!(b.claim(1).await.is_empty(), "it has left its queue");
    let nobody = Outcome::of(&b.task("nobody"), Status::Completed, None, b.now());
    assert!(matches!(b.broker.tasks.conclude(nobody).await, Err(Error::NotFound { .. })));
}

pub async fn a_conclusion_wakes_who_waits_and_a_held_task_takes_none(b: Bench) {
    let mut parent = b.begin("run").await;
    let child = parent.task.child("ask", capability("human.default"), json!("ship it?").into(), b.now());
    let stored = vec![Child::Queued(Box::new(child.clone()))];
    parent.fence = b.broker.tasks.append(parent.fence.clone(), vec![delegated(&child)], stored).await.unwrap();
    let held = answer(&b, &parent.task.id, "ann", json!(1)).await;
    assert!(matches!(held, Err(Error::Conflict { .. })), "somebody is at work on it: {held:?}");

    let waiting = b.broker.tasks.wait(vec![child.id.clone()], Until::All, std::time::Duration::from_secs(5));
    let (ended, answered) = tokio::join!(waiting, answer(&b, &child.id, "ann", json!("yes")));
    assert_eq!(answered.unwrap(), Recorded::New);
    let ended = ended.unwrap().remove(0);
    assert_eq!((ended.parent.as_ref(), ended.output), (Some(&parent.task.id), json!("yes").into()));
    b.complete(&parent, json!("done")).await;
}

pub async fn a_poor_conclusion_is_refused(b: Bench) {
    let task = b.submit("run").await;
    let of = b.view(&task).await.task;
    let open = Outcome::of(&of, Status::Pending, None, b.now());
    assert!(matches!(b.broker.tasks.conclude(open).await, Err(Error::Decode { .. })));
    let large = json!("x".repeat(MAX_PAYLOAD)).into();
    let large = Outcome { output: large, ..Outcome::of(&of, Status::Completed, None, b.now()) };
    assert!(matches!(b.broker.tasks.conclude(large).await, Err(Error::TooLarge { .. })));
    assert_eq!(b.view(&task).await.status, Status::Pending);
}
