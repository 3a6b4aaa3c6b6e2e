//! The wing by itself: its file, its writer, and what both do when something breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

mod busy;
mod died;
mod room;
mod two;

use super::probe::{Fate, Point, Probe};
use super::*;
use crate::code;
use crate::id::{NodeName, RunId};
use crate::state::{Expect, Key, Put, Write};
use crate::subject::CapabilityName;
use crate::task::{Outcome, Status, Task};
use crate::tasks::{Claim, Finish, Park, Recorded, Submitted, Until};

fn task(run: &str) -> Task {
    let capability = CapabilityName::parse("text.count").unwrap();
    let task = Task::root(RunId::parse(run).unwrap(), capability, json!({ "text": run }).into(), 1);
    Task { deadline: u64::MAX, ..task }
}

fn claim(slots: usize) -> Claim {
    let capability = CapabilityName::parse("text.count").unwrap();
    Claim {
        capability,
        slots,
        bulk: slots,
        node: NodeName::parse("n").unwrap(),
        wait: Duration::ZERO,
        declined: Vec::new(),
        serving: None,
    }
}

fn write(key: &str, value: u32) -> Write {
    let key = Key::parse(key).unwrap();
    Write { key, expect: Expect::Any, value: Some(json!(value).into()), by: "test".into(), task: None }
}

fn store() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    (dir, path)
}

fn code_of(opened: Result<Broker>) -> String {
    opened.expect_err("must be refused").code().to_owned()
}

async fn finish(broker: &Broker, task: &Task) {
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    assert_eq!(lease.task.id, task.id);
    let outcome = Outcome::of(task, Status::Completed, None, 5);
    let last = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
    assert!(matches!(broker.tasks.finish(vec![last]).await[..], [Ok(Recorded::New)]));
}

#[tokio::test]
async fn a_task_goes_through_and_is_there_after_opening_again() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    let first = task("r1");
    assert!(matches!(broker.tasks.submit(vec![first.clone()]).await[..], [Ok(Submitted::New)]));
    finish(&broker, &first).await;
    drop(broker);
    let broker = open(&path, Options::default()).unwrap();
    let outcomes = broker.tasks.wait(vec![first.id.clone()], Until::All, Duration::ZERO).await.unwrap();
    assert_eq!(outcomes[0].status, Status::Completed);
    let kinds = broker.events.read(Default::default(), 1, 100).await.unwrap().into_iter().map(|event| event.kind);
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["task.created", "task.started", "task.completed", "context.updated"].map(str::to_owned)
    );
}

#[tokio::test]
async fn one_process_owns_a_store_whatever_it_is_called() {
    let (dir, path) = store();
    let owner = open(&path, Options::default()).unwrap();
    assert_eq!(code_of(open(&path, Options::default())), code::OWNED);
    let other_name = dir.path().join("other.db");
    std::os::unix::fs::symlink(&path, &other_name).unwrap();
    assert_eq!(code_of(open(&other_name, Options::default())), code::OWNED);
    drop(owner);
    open(&other_name, Options::default()).unwrap();
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let (dir, path) = store();
    std::fs::write(&path, "a text of nobody's making, long enough to be read as a header".repeat(9)).unwrap();
    assert_eq!(code_of(open(&path, Options::default())), code::NOT_A_STORE);

    let path = dir.path().join("foreign.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(code_of(open(&path, Options::default())), code::NOT_A_STORE);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let path = dir.path().join("newer.db");
    drop(open(&path, Options::default()).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version=99").unwrap();
    assert_eq!(code_of(open(&path, Options::default())), code::NEWER_STORE);

    assert_eq!(code_of(open(dir.path(), Options::default())), code::NOT_A_STORE);
    assert_eq!(code_of(open("/proc/no/store.db", Options::default())), code::NOT_WRITABLE);
}

/// The disk fills up before the nth statement of a turn, and again, until the turn gets through. Nothing of a refused
/// turn may have happened, and the one that gets through must look like one that was never disturbed.
#[tokio::test]
async fn a_full_disk_refuses_a_write_whole_and_the_store_goes_on() {
    let (_dir, path) = store();
    let (left, armed) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
    let countdown = left.clone();
    let probe = Probe::new(move |point| match point {
        Point::Statement | Point::Commit if countdown.fetch_sub(1, Ordering::Relaxed) == 0 => Fate::DiskFull,
        _ => Fate::GoOn,
    });
    let broker = open(&path, Options { probe, ..Options::default() }).unwrap();
    let mut refused = 0;
    loop {
        left.store(armed.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        match broker.tasks.submit(vec![task("r1"), task("r2")]).await.remove(0) {
            Ok(submitted) => {
                assert_eq!(submitted, Submitted::New);
                break;
            }
            Err(error) => {
                assert_eq!(error.code(), code::DISK_FULL);
                refused += 1;
                left.store(u64::MAX, Ordering::Relaxed);
                assert_eq!(broker.events.last().await.unwrap(), 0);
                assert!(broker.tasks.depth().await.unwrap().is_empty());
                assert!(broker.tasks.claim(claim(9)).await.unwrap().is_empty());
            }
        }
    }
    left.store(u64::MAX, Ordering::Relaxed);
    assert!(refused >= 6, "two tasks and their events are at least six statements, and there is a commit: {refused}");
    assert_eq!(broker.tasks.claim(claim(9)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_claim_holds_through_a_commit_that_failed() {
    let (_dir, path) = store();
    let full = Arc::new(AtomicU64::new(0));
    let asked = full.clone();
    let probe = Probe::new(move |_| match asked.load(Ordering::Relaxed) {
        0 => Fate::GoOn,
        _ => Fate::DiskFull,
    });
    let broker = open(&path, Options { probe, ..Options::default() }).unwrap();
    let first = task("r1");
    broker.tasks.submit(vec![first.clone()]).await.remove(0).unwrap();
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    full.store(1, Ordering::Relaxed);
    let refused = broker.states.put(vec![write("global.x", 1)]).await.remove(0).unwrap_err();
    assert_eq!(refused.code(), code::DISK_FULL);
    broker.tasks.extend(vec![lease.fence.clone()]).await.remove(0).unwrap();
    full.store(0, Ordering::Relaxed);
    assert!(matches!(broker.states.put(vec![write("global.x", 1)]).await[..], [Ok(Put::Applied(1))]));
    let outcome = Outcome::of(&first, Status::Completed, None, 5);
    let last = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
    assert_eq!(broker.tasks.finish(vec![last]).await.remove(0).unwrap(), Recorded::New);
}

/// While the disk is full a deadline passes, which nobody can write down; signs of life are taken all the same.
#[tokio::test]
async fn a_sign_of_life_needs_no_room_on_the_disk() {
    let (_dir, path) = store();
    let (full, now) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let (asked, clock) = (full.clone(), now.clone());
    let probe = Probe::new(move |_| if asked.load(Ordering::Relaxed) == 0 { Fate::GoOn } else { Fate::DiskFull });
    let clock = crate::clock::Clock::from_fn(move || clock.load(Ordering::Relaxed));
    let broker = open(&path, Options { probe, clock, ..Options::default() }).unwrap();
    let short = Task { deadline: 1_000, ..task("r2") };
    broker.tasks.submit(vec![task("r1"), short.clone()]).await;
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    full.store(1, Ordering::Relaxed);
    now.store(2_000, Ordering::Relaxed);
    broker.tasks.extend(vec![lease.fence.clone()]).await.remove(0).unwrap();
    full.store(0, Ordering::Relaxed);
    broker.tasks.extend(vec![lease.fence]).await.remove(0).unwrap();
    let outcome = broker.tasks.wait(vec![short.id], Until::All, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!(outcome.status, Status::Expired);
}

/// Changes a stored value behind the store's back, as a fault of the disk would.
fn damage(path: &std::path::Path, sql: &str) {
    assert_eq!(Connection::open(path).unwrap().execute(sql, []).unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_row_is_reported_and_hurts_only_its_own() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    for key in ["global.a", "global.b"] {
        broker.states.put(vec![write(key, 1)]).await.remove(0).unwrap();
    }
    damage(&path, "UPDATE state SET value = '7' WHERE key = 'global.a'");
    let get = |key: &str| broker.states.get(vec![Key::parse(key).unwrap()]);
    assert_eq!(get("global.a").await.unwrap_err().code(), code::CORRUPT_STORE);
    assert!(get("global.b").await.unwrap()[0].is_some());
    let together = vec![write("global.b", 2), write("global.a", 2)];
    assert_eq!(broker.states.put(together).await.remove(0).unwrap_err().code(), code::CORRUPT_STORE);
    assert!(matches!(broker.states.put(vec![write("global.b", 3)]).await[..], [Ok(Put::Applied(3))]));
}

#[tokio::test]
async fn a_task_with_a_damaged_log_is_set_aside_and_its_waiter_told() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    let (bad, good) = (task("r1"), task("r2"));
    broker.tasks.submit(vec![bad.clone(), good.clone()]).await;
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    let step = crate::task::Entry::Step { name: "s".into(), value: json!(1).into(), input: None };
    broker.tasks.append(lease.fence.clone(), vec![step], Vec::new()).await.unwrap();
    damage(&path, "UPDATE journal SET body = replace(body, '1', '2')");
    drop((lease, broker));
    let broker = open(&path, Options::default()).unwrap();
    finish(&broker, &good).await;
    let outcome = broker.tasks.wait(vec![bad.id.clone()], Until::All, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!((outcome.status, outcome.error.unwrap().code.as_str()), (Status::Failed, code::CORRUPT_STORE));
    assert_eq!(broker.dead.list(0, 9).await.unwrap()[0].task, Some(bad.id));
}

#[tokio::test]
async fn a_task_that_was_laid_aside_is_read_from_the_file_when_it_goes_on() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    let (bad, good, awaited) = (task("r1"), task("r2"), task("r3"));
    broker.tasks.submit(vec![bad.clone(), good.clone()]).await;
    for lease in broker.tasks.claim(claim(2)).await.unwrap() {
        broker.tasks.park(Park { fence: lease.fence, on: vec![awaited.id.clone()] }).await.unwrap();
    }
    broker.tasks.submit(vec![awaited.clone()]).await;
    // Nobody can notice it who has the task in memory.
    damage(&path, "UPDATE task SET body = replace(body, 'count', 'cound') WHERE id = 'r1'");
    finish(&broker, &awaited).await;
    finish(&broker, &good).await;
    let outcome = broker.tasks.wait(vec![bad.id.clone()], Until::All, Duration::ZERO).await.unwrap().remove(0);
    assert_eq!((outcome.status, outcome.error.unwrap().code.as_str()), (Status::Failed, code::CORRUPT_STORE));
}

#[tokio::test]
async fn a_damaged_row_keeps_nobody_from_cancelling_its_run() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    let root = task("r1");
    let bad = root.child("bad", root.capability.clone(), json!(1).into(), 1);
    let below = bad.child("below", root.capability.clone(), json!(1).into(), 1);
    let all = vec![root.clone(), bad.clone(), below.clone()];
    assert!(broker.tasks.submit(all.clone()).await.iter().all(Result::is_ok));
    damage(&path, "UPDATE task SET body = replace(body, 'count', 'cound') WHERE seq = 2");
    let cancelled = broker.tasks.cancel(root.id.clone(), "ops".into()).await.unwrap();
    let ids: Vec<_> = all.into_iter().map(|task| task.id).collect();
    assert_eq!(cancelled, ids);
    let outcomes = broker.tasks.wait(ids, Until::All, Duration::ZERO).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Cancelled), "{outcomes:?}");
    assert_eq!(broker.tasks.cancel(bad.id, "ops".into()).await.unwrap_err().code(), code::CORRUPT_STORE);
}

#[tokio::test]
async fn a_damaged_task_in_the_queue_is_found_when_the_store_is_opened() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(vec![task("r1")]).await.remove(0).unwrap();
    drop(broker);
    damage(&path, "UPDATE queue SET claims = 7");
    assert_eq!(code_of(open(&path, Options::default())), code::CORRUPT_STORE);
}

#[tokio::test]
async fn a_look_at_every_row_finds_what_is_damaged_beside_the_owner() {
    let (_dir, path) = store();
    let broker = open(&path, Options { snapshot_every: 1, ..Options::default() }).unwrap();
    broker.tasks.submit(vec![task("r1"), task("r2"), task("r3")]).await;
    finish(&broker, &task("r1")).await;
    broker.states.put(vec![write("global.a", 1)]).await.remove(0).unwrap();
    let sound = verify(&path).await.unwrap();
    assert_eq!(sound.findings, [""; 0]);
    // Three tasks of which two wait and one has ended, an entry with its change and snapshot, and pages of events.
    assert!(sound.rows > 3 + 2 + 1 + 3, "{sound:?}");
    damage(&path, "UPDATE task SET body = replace(body, 'r1', 'rx') WHERE id = 'r1'");
    damage(&path, "DELETE FROM queue WHERE seq = 3");
    damage(&path, "DELETE FROM page WHERE first = 1");
    damage(&path, "UPDATE snapshot SET at = 7");
    let findings = verify(&path).await.unwrap().findings.join("; ");
    for found in ["row 1 of table task", "row 3 of table queue", "row 1 of table page", "row 1 of table snapshot"] {
        assert!(findings.contains(found), "{found}: {findings}");
    }
}

/// A value that cannot be written as JSON.
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no words for it"))
    }
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_refused_alone() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(vec![task("r1"), task("r2")]).await;
    let leases = broker.tasks.claim(claim(2)).await.unwrap();
    let last = |n: usize, output: crate::payload::Payload| {
        let outcome = Outcome { output, ..Outcome::of(&leases[n].task, Status::Completed, None, 5) };
        let step = crate::task::Entry::Step { name: "s".into(), value: json!(1).into(), input: None };
        vec![Finish { fence: leases[n].fence.clone(), entries: vec![step], outcome, dead: None }]
    };
    let bad = broker.tasks.finish(last(0, crate::payload::Payload::of(Unwritable)));
    let good = broker.tasks.finish(last(1, json!(2).into()));
    let (bad, good) = tokio::join!(bad, good);
    assert!(matches!(bad[..], [Err(Error::Decode { .. })]), "{bad:?}");
    assert!(matches!(good[..], [Ok(Recorded::New)]), "{good:?}");
    assert!(matches!(broker.tasks.finish(last(0, json!(1).into())).await[..], [Ok(Recorded::New)]));
}

#[tokio::test]
async fn a_person_sees_tasks_and_events_row_by_row() {
    let (_dir, path) = store();
    let broker = open(&path, Options::default()).unwrap();
    broker.tasks.submit(vec![task("r1"), task("r2")]).await;
    finish(&broker, &task("r1")).await;
    let conn = Connection::open(&path).unwrap();
    let tasks: String = conn
        .query_row("SELECT group_concat(id || ' ' || status || ' ' || attempt, ', ') FROM tasks", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tasks, "r1 completed 1, r2 pending 0");
    let events: i64 = conn.query_row("SELECT count(*) FROM events WHERE type GLOB 'task.*'", [], |r| r.get(0)).unwrap();
    assert_eq!(events, 4);
}

#[tokio::test]
async fn a_command_that_panics_ends_itself_and_nothing_else() {
    let (_dir, path) = store();
    let Taken::Ours(lock, None) = Lock::take(&path).unwrap() else { panic!("the lock is free") };
    let store = Store::open(&path, lock, &Options::default(), Handle::current()).unwrap();
    let put = |bad: bool| {
        store.writer.call(job::Cost::write(1), move |turn| {
            let sql = "INSERT INTO meta VALUES(?1, '', 0)";
            turn.db.exec(sql, [if bad { "bad" } else { "good" }])?;
            assert!(!bad, "as was to be shown");
            Ok(())
        })
    };
    let (bad, good) = (put(true), put(false));
    assert!(matches!(bad.await, Err(Error::Unavailable { .. })));
    good.await.unwrap();
    let conn = Connection::open(&path).unwrap();
    let names: String = conn.query_row("SELECT group_concat(name) FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(names, "good,openings");
}
