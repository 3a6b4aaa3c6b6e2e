//! Which version of an agent goes on with a task.

use std::time::Duration;

use callboard_broker::code;
use callboard_broker::dead_letter::Reason;
use callboard_broker::task::{BegunBy, Release, Serving, Status, Version, was_begun};
use callboard_broker::tasks::{Claim, GiveBack, Lease};
use serde_json::json;

use super::bench::{Bench, SOON, claim, give_back, node, step};

/// How long a version is waited for.
const WAIT: Duration = Duration::from_secs(300);

fn version(name: &str) -> Version {
    Version::parse(name).unwrap()
}

/// A claim of a node that serves this version.
fn of(name: &str, migrates: bool) -> Claim {
    let serving = Serving { version: version(name), migrates, wait: WAIT };
    Claim { node: node(&format!("v{}", name.replace('.', "-"))), serving: Some(serving), ..claim(1, Duration::ZERO) }
}

async fn claimed(b: &Bench, claim: Claim) -> Option<Lease> {
    b.broker.tasks.claim(claim).await.unwrap().pop()
}

/// Claims a task that has to be there.
async fn taken(b: &Bench, claim: Claim) -> Lease {
    claimed(b, Claim { wait: SOON, ..claim }).await.expect("a task was to be there")
}

/// Waits for what was put aside for others.
async fn later(b: &Bench, claim: Claim) -> Option<Lease> {
    for _ in 0..40 {
        b.pass(Duration::from_secs(1)).await;
        if let Some(lease) = claimed(b, claim.clone()).await {
            return Some(lease);
        }
    }
    None
}

/// A task that this version has begun and handed back.
async fn begun_by(b: &Bench, run: &str, name: &str) -> Lease {
    b.submit(run).await;
    let lease = taken(b, of(name, false)).await;
    let fence = b.broker.tasks.append(lease.fence.clone(), vec![step("first")], Vec::new()).await.unwrap();
    b.broker.tasks.release(give_back(&fence, Release::Drained)).await.unwrap();
    lease
}

pub async fn what_a_version_began_stays_with_it(b: Bench) {
    let first = begun_by(&b, "one", "1").await;
    assert_eq!((first.attempt, first.log.len()), (1, 1), "the first claim of a version leaves a record");
    assert!(!was_begun(first.attempt, &first.log), "and is the first");
    for other in [of("2", false), of("0.9", true), claim(1, Duration::ZERO)] {
        assert!(claimed(&b, other.clone()).await.is_none(), "{other:?}");
    }
    assert_eq!(b.view(&first.task.id).await.status, Status::Pending);
    b.submit("two").await;
    let two = taken(&b, of("2", false)).await;
    assert_eq!(two.task.id.as_str(), "two", "what nobody began is handed out past it");

    let again = later(&b, of("1", false)).await.expect("its version gets it");
    assert_eq!((again.attempt, again.task.id.as_str()), (1, "one"));
    assert_eq!(BegunBy::of(&again.log).version(), Some(&version("1")));
    let log = b.log(&again.task.id).await;
    assert_eq!(log, ["claimed 1", "step first", "released drained", "claimed 1"], "others left no record");
    b.complete(&again, json!(1)).await;
}

pub async fn a_newer_version_goes_on_when_it_says_so(b: Bench) {
    let id = begun_by(&b, "one", "1.9").await.task.id;
    let lease = later(&b, of("1.10", true)).await.expect("1.10 is newer");
    assert_eq!((lease.task.id.clone(), lease.log.len()), (id.clone(), 4), "with the log");
    b.broker.tasks.release(give_back(&lease.fence, Release::Drained)).await.unwrap();
    assert!(later(&b, of("1.9", true)).await.is_none(), "now it is a task of the newer one");
    let lease = later(&b, of("1.10", false)).await.expect("which takes its own");
    b.complete(&lease, json!(1)).await;
}

pub async fn what_was_given_back_before_it_began_is_anybodys(b: Bench) {
    let id = b.submit("one").await;
    let lease = taken(&b, of("1", false)).await;
    let unbegun = GiveBack { begun: false, ..give_back(&lease.fence, Release::Drained) };
    b.broker.tasks.release(unbegun).await.unwrap();
    let lease = taken(&b, of("2", false)).await;
    b.broker.tasks.release(give_back(&lease.fence, Release::Declined)).await.unwrap();
    let lease = taken(&b, of("3", false)).await;
    assert_eq!((lease.task.id.clone(), lease.attempt), (id, 1));

    // Of a claim that lapsed nobody knows, so it is taken to have begun.
    b.pass(callboard_broker::tasks::LEASE).await;
    assert!(claimed(&b, of("4", false)).await.is_none());
    assert!(later(&b, of("3", false)).await.is_some());
}

pub async fn what_nobody_serves_any_more_is_given_up_after_a_while(b: Bench) {
    let id = begun_by(&b, "one", "1").await.task.id;
    assert!(claimed(&b, of("2", false)).await.is_none());
    let mut passed = Duration::ZERO;
    while passed < WAIT - Duration::from_secs(10) {
        b.pass(Duration::from_secs(5)).await;
        passed += Duration::from_secs(5);
        assert!(claimed(&b, of("2", false)).await.is_none());
        assert_eq!(b.view(&id).await.status, Status::Pending, "after {passed:?}");
    }
    for _ in 0..20 {
        b.pass(Duration::from_secs(5)).await;
        assert!(claimed(&b, of("2", false)).await.is_none());
    }
    let outcome = b.view(&id).await.outcome.expect("it is given up");
    let error = outcome.error.unwrap();
    assert_eq!((outcome.status, error.code.as_str()), (Status::Failed, code::VERSION));
    assert!(error.message.contains("version 1 "), "{}", error.message);
    let dead = b.broker.dead.list(0, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason, &dead[0].task), (1, Reason::NoRecipient, &Some(id.clone())));
    // Begun again it is nobody's yet.
    b.broker.tasks.retry(id).await.unwrap();
    assert_eq!(taken(&b, of("2", false)).await.task.generation, 2);
}

pub async fn who_began_it_is_known_after_a_crash(b: Bench) {
    b.submit("one").await;
    taken(&b, of("1", false)).await;
    begun_by(&b, "two", "1").await;
    let Some(b) = b.crash().await else { return };
    assert!(
        later(&b, of("2", false)).await.is_none(),
        "neither the one that was held nor the one that was handed back"
    );
    assert!(later(&b, of("1", false)).await.is_some());
    assert!(later(&b, of("1", false)).await.is_some());
}
