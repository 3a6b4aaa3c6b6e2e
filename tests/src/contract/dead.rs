//! Dead letters.

use callboard_broker::dead_letter::Reason;
use callboard_broker::error::Error;
use callboard_broker::task::Status;
use callboard_broker::tasks::{Finish, Recorded};
use serde_json::json;

use super::bench::{Bench, message};

/// Fails a new task for good; it becomes a dead letter.
async fn fail(b: &Bench, run: &str) -> u64 {
    let lease = b.begin(run).await;
    let turn = Finish { dead: Some(Reason::Failed), ..b.failed(&lease, "no luck") };
    assert_eq!(b.finish(turn.clone()).await.unwrap(), Recorded::New);
    assert_eq!(b.finish(turn).await.unwrap(), Recorded::Already);
    b.broker.dead.list(0, 1_000).await.unwrap().last().unwrap().seq
}

async fn lose(b: &Bench, body: &str) {
    let lost = b.broker.messages.tell(vec![message("nobody", body, std::time::Duration::from_secs(1))]).await;
    assert!(lost[0].is_err());
    b.settle().await;
}

pub async fn letters_are_listed_shown_and_purged(b: Bench) {
    lose(&b, "one").await;
    fail(&b, "two").await;
    lose(&b, "three").await;
    let dead = &b.broker.dead;
    let all = dead.list(0, 10).await.unwrap();
    assert_eq!(all.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(dead.list(1, 1).await.unwrap(), all[1..2], "after a number, at most so many");
    assert_eq!(dead.get(3).await.unwrap().as_ref(), Some(&all[2]));
    assert_eq!(dead.get(4).await.unwrap(), None);
    assert!(all.iter().all(|letter| letter.at == b.now()));
    assert_eq!((dead.purge(Some(1)).await.unwrap(), dead.purge(Some(1)).await.unwrap()), (1, 0));
    assert_eq!(dead.get(1).await.unwrap(), None);
    assert_eq!(dead.purge(None).await.unwrap(), 2);
    assert!(dead.list(0, 10).await.unwrap().is_empty());
    lose(&b, "four").await;
    assert_eq!(dead.list(0, 10).await.unwrap()[0].seq, 4, "a number is not given twice");
}

pub async fn a_task_is_put_back_once_and_a_message_never(b: Bench) {
    lose(&b, "note").await;
    let seq = fail(&b, "run").await;
    let dead = &b.broker.dead;
    let again = dead.retry(seq).await.unwrap();
    assert_eq!(dead.retry(seq).await.unwrap(), again, "a second call returns the same id");
    assert_eq!(dead.get(seq).await.unwrap().unwrap().retried_as, Some(again.clone()));
    let lease = b.claim_one().await;
    assert_eq!(
        (&lease.task.id, lease.task.generation, lease.task.input.clone()),
        (&again, 2, json!({"run": "run"}).into())
    );
    assert!(b.claim(1).await.is_empty(), "once");
    b.complete(&lease, json!(1)).await;
    assert_eq!(dead.retry(seq).await.unwrap(), again);
    assert!(matches!(dead.retry(1).await, Err(Error::Conflict { .. })));
    assert!(matches!(dead.retry(99).await, Err(Error::NotFound { .. })));
    assert_eq!(dead.list(0, 10).await.unwrap().len(), 2, "they stay until they are purged");
}

pub async fn a_failed_task_is_kept_with_its_body_and_its_error(b: Bench) {
    let seq = fail(&b, "run").await;
    let letter = b.broker.dead.get(seq).await.unwrap().unwrap();
    assert_eq!((letter.reason, letter.capability.as_str()), (Reason::Failed, "x"));
    let id = letter.task.unwrap();
    assert_eq!((id.as_str(), letter.to.as_str()), ("run", "run"));
    assert_eq!((letter.body, letter.error.as_deref()), (json!({ "run": "run" }).into(), Some("no luck")));
    assert_eq!(b.view(&id).await.status, Status::Failed);
}
