//! Facts that the server derives are the very facts that every wing tells, and no document stops those who read.

use std::time::{Duration, Instant};

use callboard_broker::error::{Class, Remote};
use callboard_broker::event::{Event, NewEvent};
use callboard_broker::events::{EventFilter, MAX_EVENTS};
use callboard_broker::facts;
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use serde_json::{Value, json};

use super::Real;

const PATIENCE: Duration = Duration::from_secs(60);

async fn record(real: &Real, task: &Task, kind: &str, document: Value) {
    let subject = format!("cb.v1.run.{}.{}.{kind}", task.run, task.id);
    let seq = real.store(&subject, &document.to_string()).await;
    real.seen.note_run(seq, kind);
}

/// All facts, once there are so many: a reader waits no longer than 2 s for what the server has to derive.
async fn all(real: &Real, many: usize) -> Vec<Event> {
    let begun = Instant::now();
    loop {
        let events = real.broker.events.read(EventFilter::default(), 1, MAX_EVENTS).await.unwrap();
        if events.len() >= many {
            return events;
        }
        assert!(begun.elapsed() < PATIENCE, "{many} facts are not there: {events:?}");
    }
}

fn as_told(event: &Event) -> (Value, u64) {
    let told = NewEvent {
        kind: event.kind.clone(),
        agent: event.agent.clone(),
        run: event.run.clone(),
        task: event.task.clone(),
        payload: event.payload.clone(),
    };
    (serde_json::to_value(told).unwrap(), event.time)
}

#[tokio::test]
async fn records_become_the_facts_that_every_wing_tells() {
    let real = Real::start().await;
    let (run, node) = (RunId::parse("run").unwrap(), NodeName::parse("node-1").unwrap());
    let capability = CapabilityName::parse("research.web").unwrap();
    let root = Task { from: Some("client".into()), ..Task::root(run, capability.clone(), json!({ "q": 1 }).into(), 1) };
    let kid = root.child("first", capability.clone(), json!(1).into(), 2);
    let fault = Remote {
        class: Class::Permanent,
        code: "CB0001".into(),
        message: "no luck".into(),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    };
    let done = Outcome {
        output: json!([1, 2]).into(),
        attempt: 2,
        node: Some(node.clone()),
        agent: Some("worker".into()),
        ..Outcome::of(&kid, Status::Completed, None, 7)
    };
    let failed = Outcome { attempt: 1, ..Outcome::of(&root, Status::Failed, Some(fault), 8) };

    let started = json!({ "writer": "w", "at": 4, "capability": capability, "attempt": 1, "node": node });
    let noted =
        |n: u64, entry: Value| json!({ "writer": "w", "n": n, "at": 5, "capability": capability, "entry": entry });
    let ended = |outcome: &Outcome, key: Option<&str>| {
        let mut document = serde_json::to_value(outcome).unwrap();
        document["writer"] = "w".into();
        document["key"] = key.into();
        document
    };
    record(&real, &root, "submitted", json!({ "writer": "w", "at": 3, "task": root })).await;
    record(&real, &kid, "submitted", json!({ "writer": "w", "at": 3, "task": kid })).await;
    record(&real, &kid, "started", started).await;
    record(&real, &kid, "step", noted(1, json!({ "step": { "name": "s", "value": 1 } }))).await;
    record(&real, &kid, "claimed", noted(2, json!({ "claimed": { "attempt": 2, "node": node } }))).await;
    record(&real, &kid, "completed", ended(&done, Some("first"))).await;
    record(&real, &root, "failed", ended(&failed, None)).await;

    let mut expected = vec![
        (facts::created(&root), 3),
        (facts::created(&kid), 3),
        (facts::started(&kid, 1, &node), 4),
        (facts::started(&kid, 2, &node), 5),
    ];
    expected.extend(facts::ended(&kid, &done).into_iter().map(|fact| (fact, 7)));
    expected.extend(facts::ended(&root, &failed).into_iter().map(|fact| (fact, 8)));
    let mut expected: Vec<_> =
        expected.into_iter().map(|(fact, at)| (serde_json::to_value(fact).unwrap(), at)).collect();
    let events = all(&real, expected.len()).await;
    assert!(events.iter().zip(1..).all(|(event, n)| event.seq == n), "numbered without gaps: {events:?}");
    let mut told: Vec<_> = events.iter().map(as_told).collect();
    // A result is copied beside the other facts, so its place among them is not fixed.
    let is_result = |(fact, _): &(Value, u64)| fact["type"] == "context.updated";
    assert_eq!(
        told.iter().position(is_result).map(|at| told.remove(at)),
        expected.iter().position(is_result).map(|at| expected.remove(at))
    );
    assert_eq!(told, expected);
    let of_run = EventFilter { run: Some(RunId::parse("run").unwrap()), ..EventFilter::default() };
    assert_eq!(real.broker.events.read(of_run, 1, MAX_EVENTS).await.unwrap(), events);
}

#[tokio::test]
async fn what_is_written_by_hand_is_a_fact_and_stops_nobody() {
    let real = Real::start().await;
    let by_hand = [
        ("cb.v1.run.r1.r1.submitted", "no JSON", "task.created", json!("no JSON")),
        ("cb.v1.run.r1.r1.claimed", "{}", "task.started", json!({})),
        ("cb.v1.run.r1.not_an_id.started", "[]", "task.started", json!([])),
        ("cb.v1.event.shop_paid.r1", "17", "shop.paid", json!(17)),
        ("$KV.cb_state.mine", "1", "context.updated", json!(1)),
    ];
    for (n, (subject, body, kind, payload)) in by_hand.iter().enumerate() {
        let seq = real.store(subject, body).await;
        match subject.split('.').collect::<Vec<_>>()[..] {
            ["$KV", ..] => real.seen.note_state(seq),
            [_, _, "run", .., kind] => real.seen.note_run(seq, kind),
            _ => {}
        }
        let events = all(&real, n + 1).await;
        assert_eq!(events.len(), n + 1, "{subject}");
        assert_eq!((events[n].kind.as_str(), &events[n].payload), (*kind, &payload.clone().into()), "{subject}");
        assert_eq!(events[n].agent, "external");
    }
    // A worker that says no more than it has to.
    let seq = real.store("cb.v1.run.r1.r1.completed", "{\"output\":1}").await;
    real.seen.note_run(seq, "completed");
    let events = all(&real, by_hand.len() + 2).await;
    let kinds: Vec<&str> = events[by_hand.len()..].iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.contains(&"task.completed") && kinds.contains(&"context.updated"), "{kinds:?}");
    let seq = real.store("$KV.cb_state.global.price", "3").await;
    real.seen.note_state(seq);
    let changed = all(&real, events.len() + 1).await.pop().unwrap();
    let told = changed.payload.value().unwrap();
    assert_eq!(
        (told["key"].as_str(), &told["value"], &changed.agent[..]),
        (Some("global.price"), &json!(3), "external")
    );
}

#[tokio::test]
async fn a_published_fact_comes_after_what_its_process_stored_before() {
    let real = Real::start().await;
    let fact = |n: u64| NewEvent {
        kind: "shop.paid".into(),
        agent: "till".into(),
        run: None,
        task: None,
        payload: json!(n).into(),
    };
    assert_eq!(real.broker.events.last().await.unwrap(), 0);
    for n in 0..20 {
        let seq = real.store(&format!("cb.v1.run.r{n}.r{n}.submitted"), "{}").await;
        real.seen.note_run(seq, "submitted");
        let number = real.broker.events.publish(vec![fact(n)]).await.remove(0).unwrap();
        assert_eq!(number, 2 * n + 2);
        assert_eq!(real.broker.events.last().await.unwrap(), number);
    }
}
