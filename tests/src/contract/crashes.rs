//! What is left after the process was killed. A wing that forgets at exit is not asked.

use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::state::{Expect, Key, Moment, Write};
use callboard_broker::task::{Release, Status, was_begun};
use callboard_broker::tasks::{Finish, Submitted};
use serde_json::json;

use super::bench::{Bench, give_back, message, step};
use super::invariants;

pub async fn what_was_acknowledged_is_there_after_a_crash(b: Bench) {
    let done = b.begin("done").await;
    let turn = Finish { entries: vec![step("a")], ..b.completed(&done, json!("kept")) };
    b.finish(turn.clone()).await.unwrap();
    b.submit("waiting").await;
    let key = Key::parse("global.a").unwrap();
    for n in 0..5 {
        let write =
            Write { key: key.clone(), expect: Expect::Any, value: Some(json!(n).into()), by: "w".into(), task: None };
        b.broker.states.put(vec![write]).await.remove(0).unwrap();
    }
    b.broker.messages.tell(vec![message("nobody", "lost", Duration::from_secs(1))]).await;
    b.settle().await;
    let (tasks, events, past) =
        (b.tasks().await, b.events().await, b.broker.states.history(key.clone()).await.unwrap());
    let dead = b.broker.dead.list(0, 10).await.unwrap();

    let Some(b) = b.crash().await else { return };
    assert_eq!(b.tasks().await, tasks);
    assert_eq!(b.events().await, events);
    assert_eq!(b.broker.states.history(key.clone()).await.unwrap(), past);
    assert_eq!(b.broker.states.at(Moment::Sequence(3), String::new()).await.unwrap()[0].value, json!(2).into());
    assert_eq!(b.broker.dead.list(0, 10).await.unwrap(), dead);
    assert_eq!(b.log(&done.task.id).await, ["step a"]);
    assert_eq!(b.broker.tasks.submit(vec![b.task("done")]).await.remove(0).unwrap(), Submitted::Known);
    assert!(b.finish(turn).await.is_ok_and(|recorded| recorded == callboard_broker::tasks::Recorded::Already));
    b.claim_one().await;
    assert!(b.claim(5).await.is_empty(), "what is done is not handed out again");
    invariants::gapless(&b.events().await).unwrap();
}

pub async fn a_claim_does_not_survive_but_its_attempt_counts(b: Bench) {
    let held = b.begin("held").await;
    let free = b.begin("free").await;
    b.broker.tasks.release(give_back(&free.fence, Release::Drained)).await.unwrap();
    let fence = b.broker.tasks.append(held.fence.clone(), vec![step("a")], Vec::new()).await.unwrap();
    let Some(b) = b.crash().await else { return };
    assert_eq!(b.view(&held.task.id).await.status, Status::Pending);
    let mut leases = b.claim(5).await;
    leases.sort_by_key(|lease| std::cmp::Reverse(lease.task.id.clone()));
    let mut attempts: Vec<_> = leases.iter().map(|lease| (lease.task.id.as_str(), lease.attempt)).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [("free", 1), ("held", 2)]);
    let mut log = b.log(&held.task.id).await;
    // Where a claim is taken over from a process that nobody saw die, there is no record of that.
    log.retain(|record| record != "died beside 0");
    assert_eq!(log, ["step a", "claimed 2"]);
    assert_ne!(leases[0].fence.lease, held.fence.lease, "a number is not given twice");
    assert!(matches!(b.broker.tasks.append(fence, vec![step("stale")], Vec::new()).await, Err(Error::Replaced)));
    b.complete(&leases[0], json!(1)).await;
}

pub async fn what_was_at_work_beside_others_is_known_to_have_been_begun(b: Bench) {
    for name in ["one", "two"] {
        b.begin(name).await;
    }
    b.submit("waiting").await;
    let Some(b) = b.crash().await else { return };
    let mut begun: Vec<_> =
        b.claim_all(3).await.into_iter().map(|l| (was_begun(l.attempt, &l.log), l.task.id)).collect();
    begun.sort_by_key(|(_, id)| id.clone());
    let begun: Vec<_> = begun.iter().map(|(begun, id)| (id.as_str(), *begun)).collect();
    assert_eq!(begun, [("one", true), ("two", true), ("waiting", false)]);
}
