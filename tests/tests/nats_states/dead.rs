//! Dead letters: numbered, kept once for a task, and messages make room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::dead_letter::{DeadLetters, MAX_DEAD_MESSAGES, NewDeadLetter, Reason};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::messages::DeadMessages;
use callboard_broker::nats::dead::{DeadKeeper, DeadRoom, Fate, Retries};
use callboard_broker::task::Status;
use callboard_tests::contract::bench::message;
use serde_json::json;

use super::Real;

/// A room for tasks that knows nothing but generations: all have failed.
#[derive(Default)]
struct Generations(Mutex<BTreeMap<TaskId, TaskId>>);

impl Retries for Generations {
    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        let again = TaskId::root_generation(&task.run(), 2);
        self.0.lock().unwrap().insert(task, again.clone());
        Box::pin(async move { Ok(again) })
    }

    fn fates(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Fate>>> {
        let known = self.0.lock().unwrap();
        let fate =
            |task| Fate { is_known: true, ended: Some(Status::Failed), next: known.get::<TaskId>(task).cloned() };
        let fates = tasks.iter().map(fate).collect();
        Box::pin(async move { Ok(fates) })
    }
}

fn of_task(task: &str) -> NewDeadLetter {
    NewDeadLetter {
        reason: Reason::Failed,
        capability: "research.web".into(),
        to: task.into(),
        from: "client".into(),
        task: Some(TaskId::parse(task).unwrap()),
        body: json!({ "q": 1 }).into(),
        error: Some("no luck".into()),
    }
}

fn lose(keeper: &DeadKeeper, body: &str) {
    keeper.bury(&message("nobody", body, Duration::from_secs(1)), Reason::NoRecipient, "nobody is there");
}

fn open(real: &Real) -> (Arc<DeadKeeper>, DeadRoom) {
    let keeper = DeadKeeper::new(real.link.clone());
    (keeper.clone(), DeadRoom::new(keeper, Arc::new(Generations::default())))
}

#[tokio::test]
async fn a_task_has_one_letter_and_is_put_back_once() {
    let real = Real::start().await;
    let (keeper, room) = open(&real);
    lose(&keeper, "one");
    for _ in 0..3 {
        keeper.bury_task(&of_task("run")).await.unwrap();
    }
    lose(&keeper, "three");
    let all = room.list(0, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|letter| (letter.seq, letter.to.as_str())).collect::<Vec<_>>(),
        [(1, "nobody"), (2, "run"), (3, "nobody")]
    );
    assert_eq!((&all[1].body, all[1].error.as_deref()), (&json!({ "q": 1 }).into(), Some("no luck")));
    assert_eq!((all[0].capability.as_str(), all[0].reason), ("agent", Reason::NoRecipient));
    assert_eq!(room.list(1, 1).await.unwrap(), all[1..2]);
    let again = room.retry(2).await.unwrap();
    assert_eq!(room.retry(2).await.unwrap(), again);
    assert_eq!(room.get(2).await.unwrap().unwrap().retried_as, Some(again));
    assert!(matches!(room.retry(1).await, Err(Error::Conflict { .. })));
    assert!(matches!(room.retry(9).await, Err(Error::NotFound { .. })));
    assert_eq!((room.purge(Some(1)).await.unwrap(), room.purge(Some(1)).await.unwrap()), (1, 0));
    assert_eq!(room.purge(None).await.unwrap(), 2);
    lose(&keeper, "four");
    assert_eq!(room.list(0, 10).await.unwrap()[0].seq, 4, "a number is not given twice");
}

#[tokio::test]
async fn the_oldest_messages_make_room_and_tasks_never() {
    let real = Real::start().await;
    let (keeper, room) = open(&real);
    keeper.bury_task(&of_task("first")).await.unwrap();
    lose(&keeper, "pattern");
    let pattern = real.link.client.request("$JS.API.DIRECT.GET.CB_DEAD", "{\"seq\":2}".into());
    drop(room.list(0, 1).await.unwrap());
    let pattern = pattern.await.unwrap().payload;
    for n in 0..MAX_DEAD_MESSAGES - 2 {
        real.link.client.publish(format!("cb.v1.dead.agent.expired._{n}"), pattern.clone()).await.unwrap();
    }
    keeper.bury_task(&of_task("second")).await.unwrap();
    for n in 0..3 {
        lose(&keeper, &format!("late {n}"));
    }
    let oldest = room.list(0, 2).await.unwrap();
    // One task, all the messages and three late ones, of which the oldest made room: numbers 2 to 5.
    assert_eq!(oldest.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [1, 6]);
    let all = MAX_DEAD_MESSAGES as u64;
    let newest = room.list(all, 10).await.unwrap();
    assert_eq!(newest.iter().filter(|letter| letter.task.is_some()).count(), 1);
    assert_eq!(room.purge(None).await.unwrap(), all);
}
