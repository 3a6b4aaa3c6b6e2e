//! What the next owner of a store does with the claims of one that died.

use super::*;
use crate::dead_letter::Reason;
use crate::suspect::{self, MAX_DEATHS};
use crate::task::{Entry, Retry};
use crate::tasks::Lease;

/// One that is handed out again at once after it died alone.
fn impatient(run: &str) -> Task {
    Task { retry: Retry { base_ms: 0, ..Retry::default() }, ..task(run) }
}

async fn claimed(broker: &Broker, slots: usize) -> Vec<Lease> {
    broker.tasks.claim(claim(slots)).await.unwrap()
}

/// How many others were held at each death of a task.
fn beside(lease: &Lease) -> Vec<u32> {
    let of = |entry: &Entry| if let Entry::Died { beside, .. } = entry { Some(*beside) } else { None };
    lease.log.iter().filter_map(|record| of(&record.entry)).collect()
}

#[tokio::test]
async fn what_died_beside_others_is_a_suspect_and_loses_no_attempt() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(["a", "b", "c", "d"].map(impatient).to_vec()).await;
    assert_eq!(claimed(&broker, 3).await.len(), 3);
    drop(broker);
    let told = |lease: &Lease| {
        let company = suspect::suspicion(&lease.log).map(|one| one.company);
        (lease.task.id.to_string(), lease.attempt, beside(lease), company)
    };
    let one = |name: &str, beside: &[u32], company| (name.to_owned(), 1, beside.to_vec(), company);
    let broker = open(&path, Options::default()).unwrap();
    let leases = claimed(&broker, 9).await;
    let first = leases.iter().map(told).collect::<Vec<_>>();
    assert_eq!(first, [one("a", &[2], None), one("b", &[2], None), one("c", &[2], None), one("d", &[], None)]);
    drop(broker);
    let broker = open(&path, Options::default()).unwrap();
    let leases = claimed(&broker, 9).await;
    let second = leases.iter().map(told).collect::<Vec<_>>();
    let again = |name| one(name, &[2, 3], Some(1));
    assert_eq!(
        second,
        [again("a"), again("b"), again("c"), one("d", &[3], Some(1))],
        "this one died soon after the other"
    );
}

#[tokio::test]
async fn what_died_alone_too_often_is_given_up_with_its_deaths() {
    let (_dir, path) = store();
    let bad = impatient("bad");
    for died in 0..MAX_DEATHS {
        let broker = open(&path, Options::default()).unwrap();
        broker.tasks.submit(vec![bad.clone()]).await;
        let leases = claimed(&broker, 1).await;
        assert_eq!((usize::try_from(leases[0].attempt).unwrap(), beside(&leases[0])), (died + 1, vec![0; died]));
    }
    let broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(vec![task("good")]).await;
    let leases = claimed(&broker, 9).await;
    assert_eq!(leases.iter().map(|lease| lease.task.id.as_str()).collect::<Vec<_>>(), ["good"]);
    let outcome = broker.tasks.wait(vec![bad.id.clone()], Until::All, Duration::ZERO).await.unwrap().remove(0);
    let error = outcome.error.unwrap();
    assert_eq!((outcome.status, outcome.attempt, &*error.code), (Status::Failed, 5, code::DEADLY));
    assert!(error.message.starts_with("5 times its process died while it ran alone, on n, within "), "{error:?}");
    let letters = broker.dead.list(0, 9).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason, &letters[0].task), (1, Reason::TooManyClaims, &Some(bad.id)));
}

#[tokio::test]
async fn what_died_alone_again_waits_so_that_others_go_first() {
    let (_dir, path) = store();
    let mut broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(vec![task("bad"), task("good")]).await;
    for _ in 0..2 {
        assert_eq!(claimed(&broker, 1).await[0].task.id.as_str(), "bad");
        drop(broker);
        broker = open(&path, Options::default()).unwrap();
    }
    let leases = claimed(&broker, 9).await;
    assert_eq!(leases.iter().map(|lease| lease.task.id.as_str()).collect::<Vec<_>>(), ["good"]);
    let view = broker.tasks.get(vec![task("bad").id]).await.unwrap().remove(0).unwrap();
    assert_eq!(view.status, Status::Pending);
    assert!(view.not_before.is_some());
}

/// One process dies, the next one 9 s after that was seen, and the last one 11 s later.
#[tokio::test]
async fn a_first_death_is_forgiven_unless_another_process_died_just_before() {
    let (_dir, path) = store();
    let mut suspects = Vec::new();
    for (seen, next) in [(1_000, "one"), (100_000, "two"), (109_000, "three"), (120_000, "four")] {
        let options = Options { clock: crate::clock::Clock::from_fn(move || seen), ..Options::default() };
        let broker = open(&path, options).unwrap();
        for lease in claimed(&broker, 9).await {
            suspects.push((lease.task.id.to_string(), suspect::suspicion(&lease.log).is_some()));
            let outcome = Outcome::of(&lease.task, Status::Completed, None, seen);
            let done = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
            broker.tasks.finish(vec![done]).await.remove(0).unwrap();
        }
        broker.tasks.submit(vec![impatient(next)]).await;
        assert_eq!(claimed(&broker, 1).await.len(), 1);
    }
    assert_eq!(suspects, [("one".into(), false), ("two".into(), true), ("three".into(), false)]);
}
