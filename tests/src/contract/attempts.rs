//! What an attempt writes: records, children, its outcome.

use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::error::Error;
use callboard_broker::event::CONTEXT_UPDATED;
use callboard_broker::task::{Entry, Outcome, Release, Status, Task};
use callboard_broker::tasks::{Child, Fence, Finish, GiveBack, LEASE, Lease, Recorded, Until};
use serde_json::json;

use super::bench::{Bench, capability, delegated, failure, give_back, step};

fn child(b: &Bench, lease: &Lease, key: &str) -> Task {
    lease.task.child(key, capability("y"), json!({ "key": key }).into(), b.now())
}

fn queued(task: &Task) -> Child {
    Child::Queued(Box::new(task.clone()))
}

pub async fn what_is_large_but_allowed_comes_back_whole(b: Bench) {
    let (large, half) = (json!("x".repeat(3 << 20)), json!("y".repeat(300 << 10)));
    b.submit_task(Task { input: large.clone().into(), ..b.task("one") }).await;
    let mut lease = b.claim_one().await;
    assert_eq!(lease.task.input, large.clone().into());
    let kid = Task { input: half.clone().into(), ..child(&b, &lease, "kid") };
    let entry = Entry::Step { name: "large".into(), value: large.clone().into(), input: None };
    let entries = vec![entry.clone(), delegated(&kid)];
    lease.fence = b.broker.tasks.append(lease.fence.clone(), entries, vec![queued(&kid)]).await.unwrap();
    assert_eq!(b.broker.tasks.log(lease.task.id.clone()).await.unwrap()[0].entry, entry);
    assert_eq!(b.view(&kid.id).await.task, kid);
    b.complete(&lease, large.clone()).await;
    let waited = b.broker.tasks.wait(vec![lease.task.id.clone()], Until::All, Duration::ZERO).await.unwrap();
    assert_eq!(waited[0].output, large.clone().into());
    assert_eq!(b.view(&lease.task.id).await.task.input, large.into());
    assert_eq!(b.story(&lease.task.id).await[..2], ["task.created", "task.started"]);
}

pub async fn an_append_gives_the_next_fence_and_a_stale_one_appends_nothing(b: Bench) {
    let lease = b.begin("one").await;
    let tasks = &b.broker.tasks;
    let second = tasks.append(lease.fence.clone(), vec![step("a"), step("b")], Vec::new()).await.unwrap();
    assert_eq!(second, Fence { last: 2, ..lease.fence.clone() });
    let stale = tasks.append(lease.fence.clone(), vec![step("c")], Vec::new()).await;
    assert!(matches!(stale, Err(Error::Replaced)), "{stale:?}");
    let ahead = Fence { last: 3, ..second.clone() };
    assert!(matches!(tasks.append(ahead, vec![step("c")], Vec::new()).await, Err(Error::Replaced)));
    let foreign = Fence { lease: second.lease + 1, ..second.clone() };
    assert!(matches!(tasks.append(foreign, vec![step("c")], Vec::new()).await, Err(Error::Replaced)));
    tasks.append(second, vec![step("d")], Vec::new()).await.unwrap();
    assert_eq!(b.log(&lease.task.id).await, ["step a", "step b", "step d"]);
    let unknown = Fence { task: b.task("nobody").id, ..lease.fence };
    assert!(matches!(tasks.append(unknown, vec![step("e")], Vec::new()).await, Err(Error::NotFound { .. })));
}

pub async fn children_are_stored_with_their_record_or_not_at_all(b: Bench) {
    let lease = b.begin("one").await;
    let tasks = &b.broker.tasks;
    let (one, two, three) = (child(&b, &lease, "one"), child(&b, &lease, "two"), child(&b, &lease, "three"));
    let fence = tasks.append(lease.fence.clone(), vec![delegated(&one)], vec![queued(&one)]).await.unwrap();
    assert_eq!(b.view(&one.id).await.task, one);

    let other = Task { input: json!("another").into(), ..one.clone() };
    let mixed = vec![queued(&two), queued(&other), queued(&three)];
    let refused = tasks.append(fence.clone(), vec![delegated(&two), delegated(&three)], mixed).await;
    let Err(Error::Diverged { key, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(&**key, "one");
    let twin = Task { input: json!("another").into(), ..two.clone() };
    let twins = tasks.append(fence.clone(), Vec::new(), vec![queued(&two), queued(&twin)]).await;
    assert!(matches!(twins, Err(Error::Diverged { .. })), "{twins:?}");
    let grandchild = two.child("deep", capability("y"), json!(1).into(), b.now());
    let stray = tasks.append(fence.clone(), Vec::new(), vec![queued(&two), queued(&grandchild)]).await;
    assert!(matches!(stray, Err(Error::Decode { .. })), "{stray:?}");

    assert_eq!(b.broker.tasks.get(vec![two.id.clone(), three.id.clone()]).await.unwrap(), [None, None]);
    assert_eq!(b.log(&lease.task.id).await, ["delegated one"]);
    let entries = vec![delegated(&two), delegated(&three)];
    tasks.append(fence, entries, vec![queued(&two), queued(&three)]).await.unwrap();
    assert_eq!(b.log(&lease.task.id).await, ["delegated one", "delegated two", "delegated three"]);
    assert_eq!(b.tasks().await.len(), 4);
}

pub async fn a_known_child_is_left_as_it_is(b: Bench) {
    let lease = b.begin("one").await;
    let kid = Task { capability: capability("x"), ..child(&b, &lease, "kid") };
    let fence = b.broker.tasks.append(lease.fence.clone(), vec![delegated(&kid)], vec![queued(&kid)]).await.unwrap();
    let done = b.claim_one().await;
    assert_eq!(done.task.id, kid.id);
    b.complete(&done, json!("kept")).await;

    // The parent is run again, delegates again, and finds its child done.
    b.broker.tasks.release(give_back(&fence, Release::Retry)).await.unwrap();
    let again = b.claim_one().await;
    assert_eq!(again.log.len(), 3, "{:?}", again.log);
    b.broker.tasks.append(again.fence.clone(), vec![step("on")], vec![queued(&kid)]).await.unwrap();
    let view = b.view(&kid.id).await;
    assert_eq!((view.status, view.outcome.unwrap().output), (Status::Completed, json!("kept").into()));
    let created = b.story(&kid.id).await.iter().filter(|kind| *kind == "task.created").count();
    assert_eq!(created, 1);
    assert!(b.claim(1).await.is_empty());
}

pub async fn a_skipped_child_ends_as_it_is_stored(b: Bench) {
    let lease = b.begin("one").await;
    let kid = Task { capability: capability("x"), ..child(&b, &lease, "kid") };
    let skipped = Child::Skipped(Box::new(kid.clone()), "research failed".into());
    b.broker.tasks.append(lease.fence.clone(), vec![delegated(&kid)], vec![skipped.clone()]).await.unwrap();
    let outcome = b.view(&kid.id).await.outcome.unwrap();
    assert_eq!((outcome.status, outcome.attempt), (Status::Skipped, 0));
    assert_eq!(outcome.error.unwrap().message, "research failed");
    assert_eq!(b.story(&kid.id).await, ["task.created", "task.skipped"]);
    assert!(b.claim(1).await.is_empty());
}

pub async fn an_outcome_is_recorded_once(b: Bench) {
    let lease = b.begin("one").await;
    let turn = b.completed(&lease, json!("first"));
    let other = Finish { outcome: Outcome { output: json!("second").into(), ..turn.outcome.clone() }, ..turn.clone() };
    let answers = b.broker.tasks.finish(vec![turn.clone(), other.clone()]).await;
    let answers: Vec<Recorded> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [Recorded::New, Recorded::Already]);
    assert_eq!(b.finish(turn.clone()).await.unwrap(), Recorded::Already);
    let foreign = Finish { fence: Fence { lease: turn.fence.lease + 1, ..turn.fence.clone() }, ..other };
    assert!(matches!(b.finish(foreign).await, Err(Error::Replaced)));

    let view = b.view(&lease.task.id).await;
    assert_eq!((view.status, view.attempt, view.node), (Status::Completed, 1, None));
    assert_eq!(view.outcome, Some(turn.outcome));
    // The new result is a fact of its own, which may stand before or after the end that brought it.
    let (results, story): (Vec<_>, Vec<_>) =
        b.story(&lease.task.id).await.into_iter().partition(|kind| kind == CONTEXT_UPDATED);
    assert_eq!(
        (story, results.len()),
        (["task.created", "task.started", "task.completed"].map(String::from).to_vec(), 1)
    );
    assert!(lease.revoked.has_changed().is_err(), "its own doing is nothing that an attempt is told");
    b.pass(LEASE * 2).await;
    assert!(b.claim(1).await.is_empty());
}

pub async fn the_records_before_an_outcome_come_before_it(b: Bench) {
    let lease = b.begin("one").await;
    let turn = Finish { entries: vec![step("a"), step("b")], ..b.completed(&lease, json!(1)) };
    let stale = Finish { fence: Fence { last: 7, ..lease.fence.clone() }, ..turn.clone() };
    assert!(matches!(b.finish(stale).await, Err(Error::Replaced)));
    assert!(b.log(&lease.task.id).await.is_empty());
    assert_eq!(b.finish(turn).await.unwrap(), Recorded::New);
    assert_eq!(b.log(&lease.task.id).await, ["step a", "step b"]);
}

pub async fn a_failed_attempt_leaves_its_error_in_the_log(b: Bench) {
    let lease = b.begin("one").await;
    let back = GiveBack {
        error: Some(failure("the source is closed")),
        delay: Duration::from_secs(3),
        ..give_back(&lease.fence, Release::Retry)
    };
    b.broker.tasks.release(back.clone()).await.unwrap();
    let log = b.broker.tasks.log(lease.task.id.clone()).await.unwrap();
    let Entry::Released { reason, error, not_before, agent, .. } = &log[0].entry else { panic!("{log:?}") };
    assert_eq!((*reason, error.as_ref().unwrap().message.as_str()), (Release::Retry, "the source is closed"));
    assert_eq!((*not_before, agent.as_deref(), log[0].at), (b.now() + 3_000, Some("worker"), b.now()));
    assert!(matches!(b.broker.tasks.release(back).await, Err(Error::Replaced)), "once");
    assert_eq!(b.log(&lease.task.id).await.len(), 1);
}

pub async fn a_poor_outcome_is_refused(b: Bench) {
    let (lease, other) = (b.begin("one").await, b.begin("two").await);
    let turn = b.completed(&lease, json!(1));
    let of_another = Finish { outcome: b.completed(&other, json!(1)).outcome, ..turn.clone() };
    assert!(matches!(b.finish(of_another).await, Err(Error::Decode { .. })));
    let open = Finish { outcome: Outcome { status: Status::Pending, ..turn.outcome.clone() }, ..turn.clone() };
    assert!(matches!(b.finish(open).await, Err(Error::Decode { .. })));
    assert_eq!(b.finish(turn).await.unwrap(), Recorded::New);
}

pub async fn an_attempt_that_was_replaced_can_do_nothing(b: Bench) {
    let old = b.begin("one").await;
    b.pass(LEASE).await;
    let new = b.claim_one().await;
    let kid = child(&b, &old, "kid");
    let tasks = &b.broker.tasks;
    for fence in [old.fence.clone(), Fence { last: new.fence.last, ..old.fence.clone() }] {
        let append = tasks.append(fence.clone(), vec![delegated(&kid)], vec![queued(&kid)]).await;
        assert!(matches!(append, Err(Error::Replaced)), "{append:?}");
        assert!(matches!(tasks.release(give_back(&fence, Release::Retry)).await, Err(Error::Replaced)));
        let turn = Finish {
            fence: fence.clone(),
            dead: Some(Reason::Failed),
            entries: vec![step("stale")],
            ..b.completed(&old, json!("stale"))
        };
        assert!(matches!(b.finish(turn).await, Err(Error::Replaced)));
        assert!(matches!(tasks.extend(vec![fence]).await[0], Err(Error::Replaced)));
    }
    assert_eq!(b.log(&old.task.id).await, ["claimed 2"]);
    assert_eq!(tasks.get(vec![kid.id]).await.unwrap(), [None]);
    assert!(b.broker.dead.list(0, 1).await.unwrap().is_empty());
    b.complete(&new, json!("fresh")).await;
    assert!(matches!(b.finish(b.completed(&old, json!("stale"))).await, Err(Error::Replaced)));
    assert_eq!(b.view(&old.task.id).await.outcome.unwrap().output, json!("fresh").into());
}
