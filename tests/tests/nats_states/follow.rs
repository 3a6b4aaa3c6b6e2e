//! Following: soon, without a gap, through a server that goes and comes back.

use std::time::{Duration, Instant};

use callboard_broker::event::CONTEXT_UPDATED;
use callboard_broker::events::EventFilter;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::state::{Author, Expect, Key, Put, Write};
use serde_json::json;

use super::Real;
use callboard_tests::bounds::within;

fn write(n: u64) -> Write {
    let key = Key::parse("global.n").unwrap();
    Write { key, expect: Expect::Any, value: Some(json!(n).into()), by: "w".into(), task: None }
}

/// From the answer to a write until its fact is told, when nothing happened for a while: the server pushes, nobody polls.
#[tokio::test]
async fn a_new_fact_is_told_within_50_ms() {
    let real = Real::start().await;
    let mut stream = real.broker.events.follow(EventFilter::default(), 1).await.unwrap();
    let mut took = Vec::new();
    for n in 0..100 {
        assert!(matches!(real.broker.states.put(vec![write(n)]).await[0], Ok(Put::Applied(_))));
        let stored = Instant::now();
        let event = stream.next().await.unwrap();
        took.push(stored.elapsed());
        assert_eq!((event.kind.as_str(), event.seq), (CONTEXT_UPDATED, n + 1));
    }
    // The first ones wait for the server to begin with a new stream.
    let mut later = took.split_off(10);
    later.sort();
    println!("from stored to told: first {:?}, p50 {:?}, p99 {:?}", took[0], later[45], later[89]);
    within("p50", later[45], Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_miss_nothing_while_the_server_goes_and_comes_back() {
    let real = Real::start().await;
    let mut watch = real.broker.states.watch("global".into()).await.unwrap();
    let filter = EventFilter { types: vec![CONTEXT_UPDATED.into()], run: None };
    let mut stream = real.broker.events.follow(filter, 1).await.unwrap();
    let states = real.broker.states.clone();
    let writer = tokio::spawn(async move {
        for n in 0..300 {
            let put = states.put(vec![write(n)]).await.remove(0);
            assert!(matches!(put, Ok(Put::Applied(_))), "write {n}: {put:?}");
        }
    });
    let reading = tokio::spawn(async move {
        for n in 0..300_u64 {
            let change = watch.next().await.unwrap();
            assert_eq!(
                (change.value, change.sequence),
                (Some(json!(n).into()), n + 1),
                "no change is left out or told twice"
            );
            let event = stream.next().await.unwrap();
            assert_eq!((event.seq, event.payload.value().unwrap()["value"].clone()), (n + 1, json!(n)));
        }
    });
    for _ in 0..2 {
        let from =
            real.broker.states.get(vec![write(0).key]).await.unwrap()[0].as_ref().map_or(0, |entry| entry.version);
        while real.broker.states.get(vec![write(0).key]).await.unwrap()[0].as_ref().map_or(0, |entry| entry.version)
            < from + 40
        {
            tokio::task::yield_now().await;
        }
        real.server.kill();
        real.server.restart();
    }
    writer.await.unwrap();
    reading.await.unwrap();
}

/// What belongs to a run is told on subjects of several kinds, and comes in the order of the log all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_one_run_gets_what_a_reader_gets() {
    let real = Real::start().await;
    let filter = EventFilter { run: Some(RunId::parse("r1").unwrap()), ..EventFilter::default() };
    let mut stream = real.broker.events.follow(filter.clone(), 1).await.unwrap();
    let states = real.broker.states.clone();
    let changing = tokio::spawn(async move {
        for n in 0..400 {
            let key = Key::parse(["run.r1.a", "run.r2.a", "global.a"][n % 3]).unwrap();
            let task = (n % 3 == 2).then(|| Author { task: TaskId::parse("r1").unwrap(), attempt: 1, record: 0 });
            let value = Some(json!(n).into());
            states.put(vec![Write { key, expect: Expect::Any, value, by: "w".into(), task }]).await;
        }
    });
    for n in 0..400 {
        let run = n % 2 + 1;
        let seq = real.store(&format!("cb.v1.run.r{run}.r{run}.submitted"), "{}").await;
        real.seen.note_run(seq, "submitted");
    }
    changing.await.unwrap();
    let read = real.broker.events.read(filter, 1, 1_000).await.unwrap();
    assert!(read.len() > 400 && read.iter().any(|event| event.task.is_some()), "{}", read.len());
    for event in read {
        assert_eq!(stream.next().await.unwrap(), event);
    }
}
