//! Shared state: versions, watchers, the past.

use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Author, Change, Expect, Key, Moment, Put, WATCH_BACKLOG, Watch, Write};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::bench::Bench;
use super::invariants;

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

fn write(name: &str, expect: Expect, value: impl Into<Value>) -> Write {
    Write { key: key(name), expect, value: Some(value.into().into()), by: "writer".into(), task: None }
}

fn delete(name: &str, expect: Expect) -> Write {
    Write { value: None, ..write(name, expect, 0) }
}

async fn put(b: &Bench, write: Write) -> Put {
    b.broker.states.put(vec![write]).await.remove(0).unwrap()
}

async fn applied(b: &Bench, write: Write) -> u64 {
    match put(b, write).await {
        Put::Applied(version) => version,
        other => panic!("{other:?}"),
    }
}

async fn value(b: &Bench, name: &str) -> Option<Value> {
    let entry = b.broker.states.get(vec![key(name)]).await.unwrap().remove(0);
    entry.map(|entry| entry.value.value().unwrap())
}

pub async fn a_write_is_applied_or_meets_a_conflict(b: Bench) {
    let first = applied(&b, write("global.a", Expect::Version(0), 1)).await;
    assert!(first > 0);
    let Put::Conflict(Some(there)) = put(&b, write("global.a", Expect::Version(0), 2)).await else { panic!() };
    assert_eq!((there.version, &there.value, there.updated_by.as_str()), (first, &json!(1).into(), "writer"));
    assert_eq!(there.updated_at, b.now());
    let Put::Conflict(Some(_)) = put(&b, write("global.a", Expect::Version(first + 1), 2)).await else { panic!() };
    let second = applied(&b, write("global.a", Expect::Version(first), 2)).await;
    assert!(second > first);
    assert_eq!(put(&b, write("global.b", Expect::Version(first), 2)).await, Put::Conflict(None), "there is nothing");
    let third = applied(&b, write("global.a", Expect::Any, 3)).await;
    assert!(matches!(put(&b, delete("global.a", Expect::Version(second))).await, Put::Conflict(Some(_))));
    applied(&b, delete("global.a", Expect::Version(third))).await;
    assert_eq!(value(&b, "global.a").await, None);
    assert_eq!(put(&b, write("global.a", Expect::Version(third), 4)).await, Put::Conflict(None), "nor is there now");
    applied(&b, delete("global.a", Expect::Any)).await;
    applied(&b, delete("global.a", Expect::Version(0))).await;
}

pub async fn a_version_is_never_used_twice(b: Bench) {
    let mut last = 0;
    for round in 0..5 {
        for n in 0..3 {
            let version = applied(&b, write("global.a", Expect::Any, round * 10 + n)).await;
            assert!(version > last, "{version} after {last}");
            last = version;
        }
        last = applied(&b, delete("global.a", Expect::Version(last))).await.max(last);
        applied(&b, write("global.b", Expect::Any, round)).await;
    }
    let again = applied(&b, write("global.a", Expect::Version(0), "again")).await;
    assert!(again > last, "also not after a delete");
}

pub async fn writes_are_answered_in_order_and_each_alone(b: Bench) {
    #[derive(Debug)]
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words for it"))
        }
    }
    let broken = Write { value: Some(Payload::of(Unwritable)), ..write("global.c", Expect::Any, 0) };
    let writes = vec![
        write("global.a", Expect::Version(0), 1),
        write("global.a", Expect::Version(0), 2),
        broken,
        write("global.b", Expect::Any, 3),
    ];
    let answers = b.broker.states.put(writes).await;
    assert!(matches!(answers[0], Ok(Put::Applied(_))));
    assert!(matches!(&answers[1], Ok(Put::Conflict(Some(there))) if there.value == json!(1).into()));
    assert!(matches!(answers[2], Err(Error::Decode { .. })), "{:?}", answers[2]);
    assert!(matches!(answers[3], Ok(Put::Applied(_))));
    let got = b.broker.states.get(vec![key("global.b"), key("global.c"), key("global.a")]).await.unwrap();
    let got: Vec<_> = got.into_iter().map(|entry| entry.map(|e| e.value.value().unwrap())).collect();
    assert_eq!(got, [Some(json!(3)), None, Some(json!(1))]);
}

pub async fn history_tells_who_changed_what_from_what_to_what(b: Bench) {
    let task = Author { task: TaskId::parse("run").unwrap(), attempt: 2, record: 7 };
    let first = b.now();
    applied(&b, write("global.a", Expect::Any, 1)).await;
    applied(&b, write("global.other", Expect::Any, 0)).await;
    b.pass(Duration::from_millis(5)).await;
    let by_agent = Write { by: "agent".into(), task: Some(task.clone()), ..write("global.a", Expect::Any, 2) };
    applied(&b, by_agent).await;
    applied(&b, delete("global.a", Expect::Any)).await;
    applied(&b, write("global.a", Expect::Version(0), 3)).await;
    let history = b.broker.states.history(key("global.a")).await.unwrap();
    invariants::chained(&history).unwrap();
    let told: Vec<_> = history.iter().map(|c| (c.sequence, c.by.as_str(), c.at - first)).collect();
    assert_eq!(told, [(1, "writer", 0), (3, "agent", 5), (4, "writer", 5), (5, "writer", 5)]);
    let values: Vec<_> = history.iter().map(|c| c.value.as_ref().map(|v| v.value().unwrap())).collect();
    assert_eq!(values, [Some(json!(1)), Some(json!(2)), None, Some(json!(3))]);
    assert_eq!(history[1].task, Some(task));
    assert!(b.broker.states.history(key("global.nothing")).await.unwrap().is_empty());
}

pub async fn a_key_and_what_lies_below_it_are_listed(b: Bench) {
    for name in ["global.a.c", "global.ab", "global.a-b", "global.a", "team.qa.a", "run.r-1.a"] {
        applied(&b, write(name, Expect::Any, name)).await;
    }
    let list = async |prefix: &str| -> Vec<String> {
        let entries = b.broker.states.list(prefix.into()).await.unwrap();
        entries.into_iter().map(|entry| entry.key.to_string()).collect()
    };
    assert_eq!(list("global.a").await, ["global.a", "global.a.c"]);
    assert_eq!(list("team").await, ["team.qa.a"]);
    assert_eq!(list("run.r-1").await, ["run.r-1.a"]);
    assert_eq!(list("").await, ["global.a", "global.a-b", "global.a.c", "global.ab", "run.r-1.a", "team.qa.a"]);
    assert!(list("global.").await.is_empty() && list("nowhere").await.is_empty());
}

async fn next(watch: &mut Box<dyn Watch>) -> (String, Option<Value>) {
    let change = watch.next().await.unwrap();
    (change.key.to_string(), change.value.map(|value| value.value().unwrap()))
}

pub async fn a_watcher_sees_what_is_there_and_then_every_change(b: Bench) {
    applied(&b, write("global.a", Expect::Any, 1)).await;
    let version = applied(&b, write("global.a", Expect::Any, 2)).await;
    applied(&b, write("global.ab", Expect::Any, 0)).await;
    applied(&b, write("global.a.c", Expect::Any, 3)).await;
    let mut watch = b.broker.states.watch("global.a".into()).await.unwrap();
    let writes = [
        write("global.a.c", Expect::Any, 4),
        write("global.ab", Expect::Any, 0),
        delete("global.a", Expect::Any),
        write("global.a", Expect::Any, 5),
    ];
    for write in writes {
        applied(&b, write).await;
    }
    let first = watch.next().await.unwrap();
    assert_eq!((first.key.as_str(), first.version, &first.previous), ("global.a", version, &None));
    assert_eq!(first.value, Some(json!(2).into()), "what is there, not what was");
    assert_eq!(next(&mut watch).await, ("global.a.c".into(), Some(json!(3))));
    let change = watch.next().await.unwrap();
    assert_eq!((change.key.as_str(), change.previous), ("global.a.c", Some(json!(3).into())));
    assert_eq!(next(&mut watch).await, ("global.a".into(), None), "deletes too");
    assert_eq!(next(&mut watch).await, ("global.a".into(), Some(json!(5))));

    let waiting = tokio::spawn(async move { next(&mut watch).await });
    b.settle().await;
    assert!(!waiting.is_finished());
    applied(&b, write("global.a.new", Expect::Any, 6)).await;
    assert_eq!(waiting.await.unwrap(), ("global.a.new".into(), Some(json!(6))));
}

pub async fn a_watcher_that_falls_behind_sees_all_or_is_told_and_ends(b: Bench) {
    let mut watch = b.broker.states.watch("global.a".into()).await.unwrap();
    let all = WATCH_BACKLOG + 1_000;
    for batch in 0..all.div_ceil(100) {
        let writes = (0..100).map(|n| write("global.a", Expect::Any, batch * 100 + n)).collect();
        b.broker.states.put(writes).await;
    }
    for read in 0..all {
        match watch.next().await {
            Ok(change) => assert_eq!(change.value, Some(json!(read).into()), "in order, without a gap"),
            Err(Error::Lagged { missed }) => {
                assert!(read >= WATCH_BACKLOG && missed > 0, "read {read}, missed {missed}");
                assert!(watch.next().await.is_err(), "it has ended");
                return;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub async fn the_past_is_there_by_number_and_by_time(b: Bench) {
    let b = b.with(|setup| setup.snapshot_every = 3).await;
    let started = b.now();
    applied(&b, write("global.a", Expect::Any, 1)).await;
    b.pass(Duration::from_millis(10)).await;
    applied(&b, write("global.b", Expect::Any, 2)).await;
    applied(&b, write("global.a", Expect::Any, 3)).await;
    b.pass(Duration::from_millis(10)).await;
    applied(&b, delete("global.b", Expect::Any)).await;
    applied(&b, write("team.qa.c", Expect::Any, 5)).await;
    let at = async |moment, prefix: &str| -> Vec<Value> {
        let entries = b.broker.states.at(moment, prefix.into()).await.unwrap();
        entries.into_iter().map(|entry| entry.value.value().unwrap()).collect()
    };
    let expected: [&[i32]; 7] = [&[], &[1], &[1, 2], &[3, 2], &[3], &[3, 5], &[3, 5]];
    for (n, values) in (0..).zip(expected) {
        assert_eq!(at(Moment::Sequence(n), "").await, values, "after {n} changes");
    }
    assert_eq!(at(Moment::Sequence(5), "team").await, [5]);
    assert!(at(Moment::Time(started - 1), "").await.is_empty());
    assert_eq!(at(Moment::Time(started), "").await, [1]);
    assert_eq!(at(Moment::Time(started + 9), "").await, [1]);
    assert_eq!(at(Moment::Time(started + 10), "").await, [3, 2]);
    assert_eq!(at(Moment::Time(started + 10_000), "").await, [3, 5]);
}

/// Random writes and deletes over a few keys, with a random distance of snapshots: at every sequence, the past that the
/// wing rebuilds is the one that replaying all changes from nothing gives.
pub async fn any_snapshot_and_its_tail_are_the_whole_replay(b: Bench) {
    let mut runner = TestRunner::default();
    let step = (0..6_u8, prop_oneof![3 => any::<u8>().prop_map(Some), 1 => Just(None)]);
    let plan = (1..40_u64, prop::collection::vec(step, 1..80));
    let mut b = b;
    for _ in 0..12 {
        let (snapshot_every, steps) = plan.new_tree(&mut runner).unwrap().current();
        b = b.with(|setup| setup.snapshot_every = snapshot_every).await;
        for (n, value) in &steps {
            let name = format!("global.k{n}");
            match value {
                Some(value) => applied(&b, write(&name, Expect::Any, *value)).await,
                None => applied(&b, delete(&name, Expect::Any)).await,
            };
        }
        let mut changes: Vec<Change> = Vec::new();
        for n in 0..6 {
            changes.extend(b.broker.states.history(key(&format!("global.k{n}"))).await.unwrap());
        }
        changes.sort_by_key(|change| change.sequence);
        let last = changes.len() as u64;
        assert!(changes.iter().zip(1..).all(|(change, n)| change.sequence == n), "numbered without gaps");
        for sequence in 0..=last {
            let then = b.broker.states.at(Moment::Sequence(sequence), String::new()).await.unwrap();
            let (then, whole) = (invariants::entries(then), invariants::replayed(&changes, sequence));
            assert_eq!(then, whole, "after {sequence} of {steps:?}, snapshots every {snapshot_every}");
        }
        let now = invariants::entries(b.broker.states.list(String::new()).await.unwrap());
        assert_eq!(now, invariants::replayed(&changes, last));
    }
}
