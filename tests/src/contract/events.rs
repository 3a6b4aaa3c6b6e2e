//! The log of facts.

use callboard_broker::error::Error;
use callboard_broker::event::{CONTEXT_UPDATED, NewEvent};
use callboard_broker::events::{EventFilter, MAX_EVENTS};
use callboard_broker::id::RunId;
use callboard_broker::state::{Author, Expect, Key, Write};
use callboard_broker::task::{Release, Task};
use callboard_broker::tasks::{Child, LEASE};
use serde_json::json;

use super::bench::{Bench, capability, delegated, give_back};
use super::invariants;

fn fact(kind: &str, n: u64) -> NewEvent {
    NewEvent { kind: kind.into(), agent: "till".into(), run: None, task: None, payload: json!(n).into() }
}

async fn publish(b: &Bench, facts: Vec<NewEvent>) -> Vec<u64> {
    b.broker.events.publish(facts).await.into_iter().map(Result::unwrap).collect()
}

pub async fn published_facts_have_numbers_without_gaps(b: Bench) {
    assert_eq!(b.broker.events.last().await.unwrap(), 0);
    assert_eq!(publish(&b, vec![fact("shop.paid", 1), fact("shop.sent", 2)]).await, [1, 2]);
    b.submit("one").await;
    let mixed = vec![fact("shop.paid", 3), fact("Shop", 4), fact("shop.paid", 5)];
    let answers = b.broker.events.publish(mixed).await;
    assert_eq!(*answers[0].as_ref().unwrap(), 4);
    assert!(matches!(answers[1], Err(Error::Decode { .. })), "{:?}", answers[1]);
    assert_eq!(*answers[2].as_ref().unwrap(), 5, "a refused one leaves no gap");
    assert_eq!(b.broker.events.last().await.unwrap(), 5);
    let events = b.events().await;
    invariants::gapless(&events).unwrap();
    assert_eq!((events[0].agent.as_str(), &events[4].payload), ("till", &json!(5).into()));
    assert!(events.iter().all(|event| event.time == b.now()));
}

pub async fn a_reader_gets_what_passes_from_where_it_asked(b: Bench) {
    let run = RunId::parse("run").unwrap();
    for n in 0..700 {
        let of_run = NewEvent { run: Some(run.clone()), ..fact("shop.paid", n) };
        publish(&b, vec![fact("shop.sent", n), of_run, fact("shopping.done", n)]).await;
    }
    let read = async |filter: EventFilter, from, limit| -> Vec<u64> {
        b.broker.events.read(filter, from, limit).await.unwrap().iter().map(|event| event.seq).collect()
    };
    let of = |types: &[&str]| EventFilter { types: types.iter().map(ToString::to_string).collect(), run: None };
    assert_eq!(read(EventFilter::default(), 0, 2).await, [1, 2]);
    assert_eq!(read(EventFilter::default(), 2_099, 10).await, [2_099, 2_100]);
    assert!(read(EventFilter::default(), 2_101, 10).await.is_empty());
    assert_eq!(read(of(&["shop"]), 2, 3).await, [2, 4, 5], "a group is not every type that begins alike");
    assert_eq!(read(of(&["shop.paid", "shopping.done"]), 1, 3).await, [2, 3, 5]);
    assert_eq!(read(EventFilter { run: Some(run), ..of(&["shop"]) }, 1, 2).await, [2, 5]);
    assert_eq!(read(EventFilter::default(), 1, usize::MAX).await.len(), MAX_EVENTS, "a page has its limit");
}

pub async fn following_has_no_seam_between_stored_and_new(b: Bench) {
    publish(&b, (1..=5).map(|n| fact("shop.paid", n)).collect()).await;
    let filter = EventFilter { types: vec!["shop".into()], run: None };
    let mut stream = b.broker.events.follow(filter, 3).await.unwrap();
    let events = b.broker.events.clone();
    let writer = tokio::spawn(async move {
        for n in 6..=40 {
            events.publish(vec![fact("shop.paid", n), fact("other.fact", n)]).await;
            tokio::task::yield_now().await;
        }
    });
    for n in 3..=40_u64 {
        let event = stream.next().await.unwrap();
        assert_eq!(event.payload.read::<u64>().unwrap(), n);
    }
    writer.await.unwrap();
    let waiting = tokio::spawn(async move { stream.next().await.unwrap().payload });
    b.settle().await;
    assert!(!waiting.is_finished());
    publish(&b, vec![fact("shop.paid", 41)]).await;
    assert_eq!(waiting.await.unwrap(), json!(41).into());
}

pub async fn state_changes_are_facts_with_what_was_there_before(b: Bench) {
    let key = Key::parse("run.run.plan").unwrap();
    let write = |expect, value| Write {
        key: key.clone(),
        expect,
        value,
        by: "lead".into(),
        task: Some(Author { task: b.task("run").id, attempt: 1, record: 0 }),
    };
    let writes = vec![
        write(Expect::Version(0), Some(json!(1).into())),
        write(Expect::Version(0), Some(json!("conflict").into())),
        write(Expect::Any, Some(json!(2).into())),
        write(Expect::Any, None),
    ];
    b.broker.states.put(writes).await;
    let filter = EventFilter { types: vec![CONTEXT_UPDATED.into()], run: Some(RunId::parse("run").unwrap()) };
    let events = b.events_that(filter).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let payload = event.payload.value().unwrap();
            (payload["key"].clone(), payload["previous"].clone(), payload["value"].clone(), payload["change"].clone())
        })
        .collect();
    let plan = json!("run.run.plan");
    assert_eq!(
        told,
        [
            (plan.clone(), json!(null), json!(1), json!(1)),
            (plan.clone(), json!(1), json!(2), json!(2)),
            (plan, json!(2), json!(null), json!(3)),
        ]
    );
    assert!(events.iter().all(|event| event.agent == "lead" && event.task == Some(b.task("run").id)));
    // The audit of a key says the same as its history.
    let history = b.broker.states.history(key).await.unwrap();
    assert_eq!(history.len(), events.len());
    for (change, event) in history.iter().zip(&events) {
        assert_eq!(event.payload.value().unwrap()["version"], json!(change.version));
        assert_eq!(event.time, change.at);
    }
}

/// A bit of everything, then: no gap, and every task's events are exactly what the task itself says.
pub async fn the_log_says_exactly_what_happened(b: Bench) {
    let mut root = b.begin("run").await;
    let kids: Vec<Task> = ["done", "failed", "skipped", "left", "lapsed", "retried"]
        .map(|key| root.task.child(key, capability("x"), json!(key).into(), b.now()))
        .into();
    let stored = kids.iter().map(|kid| match kid.key.as_deref() {
        Some("skipped") => Child::Skipped(Box::new(kid.clone()), "not needed".into()),
        _ => Child::Queued(Box::new(kid.clone())),
    });
    let entries = kids.iter().map(delegated).collect();
    root.fence = b.broker.tasks.append(root.fence, entries, stored.collect()).await.unwrap();
    b.submit_task(Task { deadline: b.now() + 40_000, capability: capability("y"), ..b.task("expires") }).await;
    for lease in b.claim(5).await {
        match lease.task.key.as_deref() {
            Some("done") => b.complete(&lease, json!(1)).await,
            Some("failed") => drop(b.finish(b.failed(&lease, "no luck")).await.unwrap()),
            Some("retried") => b.broker.tasks.release(give_back(&lease.fence, Release::Retry)).await.unwrap(),
            _ => {}
        }
    }
    b.pass(LEASE).await;
    b.claim(1).await;
    b.broker.tasks.cancel(root.task.id.clone(), "operator".into()).await.unwrap();
    b.broker.tasks.retry(root.task.id.clone()).await.unwrap();
    b.pass(LEASE).await;

    let (tasks, events) = (b.tasks().await, b.events().await);
    assert_eq!(tasks.len(), 9);
    invariants::gapless(&events).unwrap();
    invariants::told(&tasks, &events).unwrap();
    invariants::accounted(&tasks).unwrap();
    let from = events.len() as u64 / 2;
    let tail = b.broker.events.read(EventFilter::default(), from, MAX_EVENTS).await.unwrap();
    assert_eq!(tail, events[from as usize - 1..], "a replay from the middle is the rest of the whole");
}
