//! Handing tasks out.

use std::time::Duration;

use callboard_broker::code;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::task::{MAX_CLAIMS, Priority, Release, Status, Task, was_begun};
use callboard_broker::tasks::{Claim, Depth, GiveBack, LEASE, Lease, Revoked};
use serde_json::json;

use super::bench::{Bench, capability, claim, give_back, node, step};

fn ids(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.task.id.as_str()).collect()
}

/// A claim that waits in a task of its own.
fn parked(b: &Bench, claim: Claim) -> tokio::task::JoinHandle<Vec<Lease>> {
    let tasks = b.broker.tasks.clone();
    tokio::spawn(async move { tasks.claim(claim).await.unwrap() })
}

pub async fn the_most_urgent_first_then_in_order(b: Bench) {
    let prioritised = |run: &str, priority| Task { priority, ..b.task(run) };
    let tasks = vec![
        prioritised("bulk", Priority::Bulk),
        prioritised("first", Priority::Normal),
        prioritised("second", Priority::Normal),
        prioritised("high", Priority::High),
        Task { capability: capability("y"), ..b.task("other") },
    ];
    b.broker.tasks.submit(tasks).await;
    assert_eq!(ids(&b.claim_all(3).await), ["high", "first", "second"]);
    assert_eq!(ids(&b.claim(3).await), ["bulk"], "and of no other capability");
}

pub async fn bulk_takes_no_slot_that_is_kept_free_of_it(b: Bench) {
    let prioritised = |run: &str, priority| Task { priority, ..b.task(run) };
    let bulk = ["b1", "b2", "b3"].map(|run| prioritised(run, Priority::Bulk));
    b.broker.tasks.submit(bulk.into_iter().chain([b.task("n1")]).collect()).await;
    let limited = |slots, bulk, wait| Claim { bulk, ..claim(slots, wait) };
    let first = b.broker.tasks.claim(limited(4, 1, Duration::ZERO)).await.unwrap();
    assert_eq!(ids(&first), ["n1", "b1"]);

    // Bulk waits, and so does who has no room for it, until there is something else.
    assert!(b.broker.tasks.claim(limited(4, 0, Duration::ZERO)).await.unwrap().is_empty());
    let waiting = parked(&b, limited(2, 0, Duration::from_secs(60)));
    b.settle().await;
    assert!(!waiting.is_finished());
    b.broker.tasks.submit(vec![prioritised("urgent", Priority::High)]).await;
    assert_eq!(ids(&waiting.await.unwrap()), ["urgent"]);

    // What was kept from one is there for the next.
    assert_eq!(ids(&b.broker.tasks.claim(limited(3, 9, Duration::ZERO)).await.unwrap()), ["b2", "b3"]);
}

pub async fn what_is_less_urgent_is_not_starved(b: Bench) {
    let many = |name: &str, n: usize, priority| -> Vec<Task> {
        (0..n).map(|i| Task { priority, ..b.task(&format!("{name}{i}")) }).collect()
    };
    let tasks =
        [many("high", 20, Priority::High), many("normal", 4, Priority::Normal), many("bulk", 2, Priority::Bulk)];
    for submitted in b.broker.tasks.submit(tasks.concat()).await {
        submitted.unwrap();
    }
    let mut taken = Vec::new();
    for _ in 0..16 {
        taken.push(b.claim_one().await.task.priority);
    }
    let count = |of| taken.iter().filter(|one| **one == of).count();
    let counts = [Priority::High, Priority::Normal, Priority::Bulk].map(count);
    assert_eq!(counts, [12, 3, 1], "{taken:?}");
}

pub async fn a_first_claim_leaves_no_record_and_a_second_one_does(b: Bench) {
    let first = b.begin("one").await;
    assert_eq!((first.attempt, first.log.len(), first.fence.last), (1, 0, 0));
    let view = b.view(&first.task.id).await;
    assert_eq!((view.status, view.attempt, view.node), (Status::InProgress, 1, Some(node("n"))));
    assert_eq!(view.started_at, Some(b.now()));
    assert!(b.log(&first.task.id).await.is_empty());

    b.pass(LEASE).await;
    assert_eq!(*first.revoked.borrow(), Some(Revoked::Replaced));
    assert_eq!(b.view(&first.task.id).await.status, Status::Pending);
    let second = b.claim_one().await;
    assert_eq!((second.attempt, second.fence.last), (2, 1));
    assert_ne!(second.fence.lease, first.fence.lease);
    assert_eq!(b.log(&first.task.id).await, ["claimed 2"]);
    assert_eq!(second.log, b.broker.tasks.log(first.task.id.clone()).await.unwrap(), "the log so far comes along");
    assert_eq!(b.story(&first.task.id).await, ["task.created", "task.started", "task.started"]);
}

pub async fn a_parked_claim_is_woken_by_what_feeds_it(b: Bench) {
    let waiting = parked(&b, claim(2, Duration::from_secs(60)));
    b.settle().await;
    let before = b.now();
    b.submit("one").await;
    let leases = waiting.await.unwrap();
    assert_eq!(ids(&leases), ["one"]);
    assert_eq!(b.now(), before, "it was woken, it did not look again");

    // Work that comes back feeds a parked claim too.
    let waiting = parked(&b, claim(2, Duration::from_secs(60)));
    b.settle().await;
    b.broker.tasks.release(give_back(&leases[0].fence, Release::Retry)).await.unwrap();
    assert_eq!(waiting.await.unwrap()[0].attempt, 2);
}

pub async fn parked_claims_are_served_in_turn_and_by_their_slots(b: Bench) {
    let first = parked(&b, claim(2, Duration::from_secs(60)));
    b.settle().await;
    let second = parked(&b, claim(5, Duration::from_secs(60)));
    b.settle().await;
    b.broker.tasks.submit(vec![b.task("one"), b.task("two"), b.task("three")]).await;
    assert_eq!(ids(&first.await.unwrap()), ["one", "two"]);
    assert_eq!(ids(&second.await.unwrap()), ["three"], "it does not wait for more than the first");
}

pub async fn a_claim_that_finds_nothing_ends_when_its_wait_does(b: Bench) {
    let waiting = parked(&b, claim(1, Duration::from_secs(10)));
    b.pass(Duration::from_millis(9_990)).await;
    assert!(!waiting.is_finished());
    b.pass(Duration::from_millis(10)).await;
    assert!(waiting.await.unwrap().is_empty());
    b.submit("one").await;
    assert_eq!(ids(&b.claim_all(1).await), ["one"], "a wait that is over takes nothing");
}

pub async fn a_delay_is_kept_and_its_end_wakes_who_waits(b: Bench) {
    let lease = b.begin("one").await;
    let delay = Duration::from_secs(5);
    let back = GiveBack { delay, ..give_back(&lease.fence, Release::Retry) };
    b.broker.tasks.release(back).await.unwrap();
    let due = b.now() + 5_000;
    let view = b.view(&lease.task.id).await;
    assert_eq!((view.status, view.not_before), (Status::Pending, Some(due)));
    let waiting = parked(&b, claim(1, Duration::from_secs(60)));
    b.pass(Duration::from_millis(4_990)).await;
    assert!(!waiting.is_finished());
    b.pass(Duration::from_millis(10)).await;
    assert_eq!(waiting.await.unwrap()[0].attempt, 2);
    assert_eq!(b.view(&lease.task.id).await.not_before, None);
}

pub async fn a_failed_attempt_lets_those_go_first_that_were_not_begun(b: Bench) {
    let failed = b.begin("failed").await;
    b.broker.tasks.submit(vec![b.task("second"), b.task("third")]).await;
    let delay = Duration::from_secs(1);
    let back = GiveBack { delay, ..give_back(&failed.fence, Release::Retry) };
    b.broker.tasks.release(back).await.unwrap();
    b.pass(delay).await;
    for next in ["second", "third"] {
        assert_eq!(b.claim_one().await.task.id.as_str(), next);
    }
    // A server may have handed it out before, and is told when to do so again.
    b.pass(delay).await;
    let again = b.claim_one().await;
    assert_eq!((again.task.id, again.attempt), (failed.task.id, 2));
}

pub async fn what_is_handed_back_free_costs_no_attempt(b: Bench) {
    let mut lease = b.begin("one").await;
    let id = lease.task.id.clone();
    assert!(!was_begun(lease.attempt, &lease.log));
    for (reason, next) in [
        (Release::Declined, 1),
        (Release::Drained, 1),
        (Release::Retry, 2),
        (Release::Declined, 2),
        (Release::Retry, 3),
    ] {
        b.broker.tasks.release(give_back(&lease.fence, reason)).await.unwrap();
        lease = b.claim_one().await;
        assert_eq!(lease.attempt, next, "after {reason:?}");
        assert!(was_begun(lease.attempt, &lease.log), "the number does not tell, but the log does: after {reason:?}");
    }
    assert_eq!(b.view(&id).await.attempt, 3);
    let log = b.log(&id).await;
    assert_eq!(log[..4], ["released declined", "claimed 1", "released drained", "claimed 1"]);
    assert_eq!(callboard_broker::task::failures(&lease.log), 2);
}

pub async fn a_declined_task_goes_to_others_and_back_only_when_nobody_is_left(b: Bench) {
    let id = b.submit("one").await;
    b.submit("two").await;
    let lease = b.claim_one().await;
    b.broker.tasks.release(give_back(&lease.fence, Release::Declined)).await.unwrap();
    let by_a = |wait| Claim { declined: vec![id.clone()], ..claim(1, wait) };
    let by_b = |wait| Claim { node: node("b"), ..claim(1, wait) };
    let two = b.broker.tasks.claim(by_a(Duration::ZERO)).await.unwrap();
    assert_eq!(ids(&two), ["two"], "others come first");

    // Both wait, a first: b gets it.
    let by_b_busy = b.broker.tasks.claim(by_b(Duration::ZERO)).await.unwrap();
    assert_eq!(ids(&by_b_busy), ["one"]);
    let waiting = parked(&b, by_a(Duration::from_secs(2)));
    b.settle().await;
    b.broker.tasks.release(give_back(&by_b_busy[0].fence, Release::Drained)).await.unwrap();
    b.settle().await;
    assert!(!waiting.is_finished(), "not while its wait lasts");
    let lease = b.broker.tasks.claim(by_b(Duration::ZERO)).await.unwrap().remove(0);
    b.pass(Duration::from_secs(2)).await;
    assert!(waiting.await.unwrap().is_empty());

    // While b works on something, b could still take it.
    let third = b.submit("three").await;
    let declined = Claim { declined: vec![third.clone()], ..claim(1, Duration::ZERO) };
    assert!(b.broker.tasks.claim(declined.clone()).await.unwrap().is_empty());
    b.complete(&lease, json!(1)).await;
    assert_eq!(ids(&b.broker.tasks.claim(declined).await.unwrap()), ["three"], "nobody else is left to take it");
}

pub async fn an_extended_claim_holds_and_a_silent_one_lapses(b: Bench) {
    let (talks, silent) = (b.begin("talks").await, b.begin("silent").await);
    b.pass(LEASE - Duration::from_secs(1)).await;
    let said = b.broker.tasks.extend(vec![talks.fence.clone()]).await;
    assert!(said[0].is_ok(), "{said:?}");
    b.pass(Duration::from_secs(1)).await;
    assert_eq!((*talks.revoked.borrow(), *silent.revoked.borrow()), (None, Some(Revoked::Replaced)));
    let said = b.broker.tasks.extend(vec![talks.fence.clone(), silent.fence.clone()]).await;
    assert!(said[0].is_ok(), "{said:?}");
    assert!(matches!(said[1], Err(Error::Replaced)), "{said:?}");
    b.complete(&talks, json!("late but held")).await;
}

pub async fn a_dropped_claim_loses_nothing(b: Bench) {
    let waiting = parked(&b, claim(1, Duration::from_secs(60)));
    b.settle().await;
    waiting.abort();
    b.settle().await;
    b.submit("one").await;
    b.settle().await;
    let lease = b.claim_one().await;
    assert_eq!(lease.attempt, 1);
    b.complete(&lease, json!(1)).await;

    // Fed and dropped before it could look: the task is back, at no cost.
    let tasks = b.broker.tasks.clone();
    let mut claiming = Box::pin(async move { tasks.claim(claim(1, Duration::from_secs(60))).await });
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(claiming.as_mut().poll(cx).is_ready())).await;
    assert!(!polled);
    b.submit("two").await;
    b.settle().await;
    drop(claiming);
    b.settle().await;
    assert_eq!(b.claim_one().await.attempt, 1);
}

pub async fn a_task_claimed_too_often_is_given_up(b: Bench) {
    let id = b.submit("one").await;
    for reason in std::iter::repeat_n([Release::Drained, Release::Retry], MAX_CLAIMS as usize).flatten() {
        let lease = b.claim_one().await;
        b.broker.tasks.release(give_back(&lease.fence, reason)).await.unwrap();
    }
    b.submit("two").await;
    assert_eq!(ids(&b.claim_all(1).await), ["two"], "the next one is handed out instead");
    assert!(b.claim(1).await.is_empty());
    let outcome = b.view(&id).await.outcome.unwrap();
    assert_eq!((outcome.status, outcome.error.unwrap().code.as_str()), (Status::Failed, code::ATTEMPTS));
    let dead = b.broker.dead.list(0, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason, &dead[0].task), (1, Reason::TooManyClaims, &Some(id)));
}

pub async fn a_task_past_its_deadline_expires_waiting_or_running(b: Bench) {
    let soon = |run: &str| Task { deadline: b.now() + 5_000, ..b.task(run) };
    let running = b.submit_task(soon("running")).await;
    let lease = b.claim_one().await;
    let waiting = b.submit_task(soon("waiting")).await;
    b.pass(Duration::from_millis(4_990)).await;
    assert!(b.view(&waiting).await.outcome.is_none());
    b.pass(Duration::from_millis(10)).await;
    for id in [&running, &waiting] {
        let view = b.view(id).await;
        assert_eq!((view.status, view.outcome.unwrap().error.unwrap().code.as_str()), (Status::Expired, code::EXPIRED));
        assert_eq!(b.story(id).await.last().unwrap(), "task.expired");
    }
    assert_eq!(b.view(&running).await.attempt, 1);
    assert_eq!(*lease.revoked.borrow(), Some(Revoked::Ended(Status::Expired)));
    assert!(matches!(b.finish(b.completed(&lease, json!(1))).await, Err(Error::Replaced)));
    assert!(b.broker.tasks.append(lease.fence.clone(), vec![step("s")], Vec::new()).await.is_err());
    assert!(b.claim(2).await.is_empty());
    let dead = b.broker.dead.list(0, 10).await.unwrap();
    let mut kept: Vec<TaskId> = dead.iter().filter_map(|letter| letter.task.clone()).collect();
    kept.sort();
    assert_eq!(kept, [running, waiting]);
    assert!(dead.iter().all(|letter| letter.reason == Reason::Expired));
    assert_eq!(dead[0].body.value().unwrap()["run"], "running", "with its body");
}

pub async fn depth_counts_what_waits_and_what_runs(b: Bench) {
    let other = Task { capability: capability("y"), ..b.task("other") };
    b.broker.tasks.submit(vec![b.task("one"), b.task("two"), b.task("three"), other]).await;
    let lease = b.claim_one().await;
    let depth = |pending, in_progress| Depth { pending, in_progress };
    let now = b.broker.tasks.depth().await.unwrap();
    assert_eq!(now, [(capability("x"), depth(2, 1)), (capability("y"), depth(1, 0))]);
    let delay = GiveBack { delay: Duration::from_secs(9), ..give_back(&lease.fence, Release::Retry) };
    b.broker.tasks.release(delay).await.unwrap();
    for lease in b.claim(5).await {
        b.complete(&lease, json!(1)).await;
    }
    let now = b.broker.tasks.depth().await.unwrap();
    assert_eq!(now, [(capability("x"), depth(1, 0)), (capability("y"), depth(1, 0))]);
}
