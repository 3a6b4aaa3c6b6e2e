//! Waiting for outcomes.

use std::time::Duration;

use callboard_broker::id::TaskId;
use callboard_broker::task::{Outcome, Status};
use callboard_broker::tasks::Until;
use serde_json::json;

use super::bench::Bench;

fn waiting(b: &Bench, ids: &[TaskId], until: Until) -> tokio::task::JoinHandle<Vec<Outcome>> {
    let (tasks, ids) = (b.broker.tasks.clone(), ids.to_vec());
    tokio::spawn(async move { tasks.wait(ids, until, Duration::from_secs(60)).await.unwrap() })
}

fn ids(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(|outcome| outcome.task.as_str()).collect()
}

pub async fn any_ends_with_the_first_and_all_with_the_last(b: Bench) {
    let (one, two) = (b.begin("one").await, b.begin("two").await);
    let both = [one.task.id.clone(), two.task.id.clone()];
    let (any, all) = (waiting(&b, &both, Until::Any), waiting(&b, &both, Until::All));
    let twice = waiting(&b, &[both[0].clone(), both[0].clone()], Until::All);
    b.settle().await;
    assert!(!any.is_finished());
    let before = b.now();
    b.complete(&two, json!(2)).await;
    assert_eq!(ids(&any.await.unwrap()), ["two"]);
    b.settle().await;
    assert!(!all.is_finished() && !twice.is_finished());
    b.finish(b.failed(&one, "no luck")).await.unwrap();
    let outcomes = all.await.unwrap();
    assert_eq!(ids(&outcomes), ["one", "two"], "in the order asked");
    assert_eq!((outcomes[0].status, &outcomes[1].output), (Status::Failed, &json!(2).into()));
    assert_eq!(ids(&twice.await.unwrap())[0], "one");
    assert_eq!(b.now(), before, "they were woken, they did not look again");
}

pub async fn a_wait_ends_when_it_may_and_says_what_is_there(b: Bench) {
    let (one, two) = (b.begin("one").await, b.submit("two").await);
    b.complete(&one, json!(1)).await;
    let both = vec![one.task.id.clone(), two];
    let at_once = b.broker.tasks.wait(both.clone(), Until::Any, Duration::from_secs(60)).await.unwrap();
    assert_eq!(ids(&at_once), ["one"]);
    let nothing = b.broker.tasks.wait(Vec::new(), Until::All, Duration::from_secs(60)).await.unwrap();
    assert!(nothing.is_empty());
    let all = waiting(&b, &both, Until::All);
    b.pass(Duration::from_millis(59_990)).await;
    assert!(!all.is_finished());
    b.pass(Duration::from_millis(10)).await;
    assert_eq!(ids(&all.await.unwrap()), ["one"]);
    let now = b.broker.tasks.wait(both, Until::All, Duration::ZERO).await.unwrap();
    assert_eq!(ids(&now), ["one"], "no wait at all is a look");
}

pub async fn what_is_not_there_yet_can_be_waited_for(b: Bench) {
    let (first, second) = (b.task("first").id, b.task("second").id);
    let wait = waiting(&b, &[first.clone(), second.clone()], Until::All);
    b.settle().await;
    let lease = b.begin("first").await;
    b.complete(&lease, json!(1)).await;
    b.settle().await;
    assert!(!wait.is_finished());
    b.submit("second").await;
    b.broker.tasks.cancel(second, "operator".into()).await.unwrap();
    assert_eq!(ids(&wait.await.unwrap()), ["first", "second"]);
}
