//! What only this wing does: it forgets. The rest is in the contract suite.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::dead_letter::{MAX_DEAD_MESSAGES, Reason};
use crate::error::Error;
use crate::event::NewEvent;
use crate::events::EventFilter;
use crate::id::{NodeName, RunId, TaskId};
use crate::messages::{Address, Message};
use crate::payload::Payload;
use crate::state::{Expect, Key, Moment, Put, Write};
use crate::subject::CapabilityName;
use crate::task::{Outcome, Status, Task};
use crate::tasks::{Claim, Finish, Until};

fn small() -> Options {
    Options { clock: Clock::following_tokio(), finished: 2, events: 3, changes: 10, keys: 4, ..Options::default() }
}

fn claim(slots: usize) -> Claim {
    Claim {
        capability: CapabilityName::parse("x").unwrap(),
        slots,
        bulk: slots,
        node: NodeName::parse("n").unwrap(),
        wait: Duration::from_secs(1),
        declined: Vec::new(),
        serving: None,
    }
}

fn root(n: u32, now: Millis) -> Task {
    let run = RunId::parse(&format!("r{n}")).unwrap();
    Task::root(run, CapabilityName::parse("x").unwrap(), json!({ "n": n }).into(), now)
}

async fn run(broker: &Broker, n: u32) {
    let now = broker.clock.now();
    broker.tasks.submit(vec![root(n, now)]).await.remove(0).unwrap();
    let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    let outcome = Outcome::of(&lease.task, Status::Completed, None, now);
    let turn = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
    broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_runs_that_ended_longest_ago_are_forgotten_and_unfinished_ones_never() {
    let broker = open(small());
    broker.tasks.submit(vec![Task { deadline: u64::MAX, ..root(0, 0) }]).await.remove(0).unwrap();
    broker.tasks.claim(claim(1)).await.unwrap();
    for n in 1..=4 {
        run(&broker, n).await;
    }
    let ids = (0..=4).map(|n| TaskId::parse(&format!("r{n}")).unwrap()).collect();
    let kept = broker.tasks.get(ids).await.unwrap();
    assert_eq!(kept.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_dead_letter_is_kept_until_that_is_purged() {
    let broker = open(small());
    let now = broker.clock.now();
    broker.tasks.submit(vec![Task { deadline: now + 10, ..root(9, now) }]).await.remove(0).unwrap();
    let id = TaskId::parse("r9").unwrap();
    let ended = broker.tasks.wait(vec![id.clone()], Until::All, Duration::from_secs(1)).await.unwrap();
    assert_eq!(ended[0].status, Status::Expired);
    for n in 1..=4 {
        run(&broker, n).await;
    }
    assert!(broker.tasks.get(vec![id.clone()]).await.unwrap()[0].is_some());
    assert_eq!(broker.dead.purge(None).await.unwrap(), 1);
    for n in 5..=8 {
        run(&broker, n).await;
    }
    assert!(broker.tasks.get(vec![id]).await.unwrap()[0].is_none());
}

/// What cannot be forgotten took the place of what can: with enough of it, each run went as soon as the next one ended.
#[tokio::test(start_paused = true)]
async fn what_is_kept_for_an_open_run_or_a_dead_letter_takes_no_room_from_other_runs() {
    let broker = open(small());
    let now = broker.clock.now();
    let parent = Task { deadline: u64::MAX, ..root(0, now) };
    broker.tasks.submit(vec![parent.clone()]).await.remove(0).unwrap();
    let held = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
    for n in 0..3 {
        let child = parent.child(&format!("c{n}"), parent.capability.clone(), Payload::of(n), now);
        broker.tasks.submit(vec![child]).await.remove(0).unwrap();
        let lease = broker.tasks.claim(claim(1)).await.unwrap().remove(0);
        let outcome = Outcome::of(&lease.task, Status::Completed, None, now);
        let turn = Finish { fence: lease.fence, entries: Vec::new(), outcome, dead: None };
        broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
    }
    for n in 7..=9 {
        let late = Task { deadline: now + 10, ..root(n, now) };
        broker.tasks.submit(vec![late.clone()]).await.remove(0).unwrap();
        broker.tasks.wait(vec![late.id], Until::All, Duration::from_secs(1)).await.unwrap();
    }
    for n in 1..=3 {
        run(&broker, n).await;
    }
    let ids = (1..=9).filter(|n| *n < 4 || *n > 6).map(|n| TaskId::parse(&format!("r{n}")).unwrap()).collect();
    let kept = broker.tasks.get(ids).await.unwrap();
    assert_eq!(kept.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, true, true, true]);

    // The run that was open counts from its end on, as a whole: nothing else is kept beside it.
    let outcome = Outcome::of(&parent, Status::Completed, None, now);
    let turn = Finish { fence: held.fence, entries: Vec::new(), outcome, dead: None };
    broker.tasks.finish(vec![turn]).await.remove(0).unwrap();
    let ids = ["r0", "r2", "r3", "r7"].map(|id| TaskId::parse(id).unwrap()).to_vec();
    let kept = broker.tasks.get(ids).await.unwrap();
    assert_eq!(kept.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_a_run_that_is_forgotten_before_he_is_awake() {
    let broker = open(Options { finished: 1, ..small() });
    let ids = |all: &[u32]| -> Vec<TaskId> { all.iter().map(|n| root(*n, 0).id).collect() };
    run(&broker, 1).await;
    let asked = [(ids(&[2]), Until::All), (ids(&[3, 2]), Until::Any), (ids(&[3, 1, 2]), Until::All)];
    let wait = |(ids, until)| broker.tasks.wait(ids, until, Duration::from_secs(9));
    let mut waiting: Vec<_> = asked.into_iter().map(wait).collect();
    for wait in &mut waiting {
        assert!(poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await.is_pending());
    }
    for n in 2..=5 {
        run(&broker, n).await;
    }
    assert!(broker.tasks.get(ids(&[1, 2, 3])).await.unwrap().iter().all(Option::is_none), "they are forgotten");
    for (wait, told) in waiting.into_iter().zip([ids(&[2]), ids(&[3, 2]), ids(&[3, 1, 2])]) {
        let outcomes = wait.await.unwrap();
        assert_eq!(outcomes.into_iter().map(|outcome| outcome.task).collect::<Vec<_>>(), told);
    }
}

fn entry(key: &str) -> Write {
    let key = Key::parse(key).unwrap();
    Write { key, expect: Expect::Version(0), value: Some(Payload::of(1)), by: "a".into(), task: None }
}

async fn keys(broker: &Broker) -> Vec<String> {
    broker.states.list(String::new()).await.unwrap().into_iter().map(|entry| entry.key.to_string()).collect()
}

/// It stayed, so a store of many runs became full, and a run of the same name found the results of another.
#[tokio::test(start_paused = true)]
async fn the_state_of_a_run_is_forgotten_with_it_and_seen_to_go() {
    let broker = open(small());
    broker.states.put(["run.r1.a", "run.r1.b.c", "run.r10.a"].map(entry).to_vec()).await;
    let mut watch = broker.states.watch("run.r1.a".into()).await.unwrap();
    assert!(watch.next().await.unwrap().value.is_some());
    for n in 1..=3 {
        run(&broker, n).await;
    }
    assert_eq!(keys(&broker).await, ["run.r10.a"]);
    assert!(watch.next().await.unwrap().value.is_none());
    let before = broker.states.at(Moment::Sequence(3), "run.r1".into()).await.unwrap();
    assert_eq!(before.len(), 2, "the past is what it was");
}

/// It refused every new entry from the first on for which there was no room.
#[tokio::test(start_paused = true)]
async fn the_state_of_runs_that_are_over_makes_room_and_no_other() {
    let broker = open(Options { finished: 100, ..small() });
    let now = broker.clock.now();
    let late = Task { deadline: now + 10, ..root(9, now) };
    broker.tasks.submit(vec![late.clone()]).await.remove(0).unwrap();
    broker.tasks.wait(vec![late.id], Until::All, Duration::from_secs(1)).await.unwrap();
    run(&broker, 1).await;
    run(&broker, 2).await;
    broker.tasks.submit(vec![Task { deadline: u64::MAX, ..root(3, now) }]).await.remove(0).unwrap();
    let put = |key: &'static str| async { broker.states.put(vec![entry(key)]).await.remove(0) };
    for key in ["run.r9.a", "run.r3.a", "run.r2.a", "run.r1.a"] {
        put(key).await.unwrap();
    }
    assert!(matches!(put("run.r2.a").await.unwrap(), Put::Conflict(Some(_))), "nothing goes for what is not written");
    put("global.a").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "run.r1.a", "run.r3.a", "run.r9.a"]);
    put("team.t.a").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "run.r3.a", "run.r9.a", "team.t.a"]);
    let refused = put("global.b").await.unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }) && refused.to_string().contains("at most 4 entries"), "{refused}");

    // The dead letter goes, and a second later somebody looks again.
    broker.dead.purge(None).await.unwrap();
    put("global.b").await.unwrap_err();
    tokio::time::advance(Duration::from_secs(1)).await;
    put("global.b").await.unwrap();
    assert_eq!(keys(&broker).await, ["global.a", "global.b", "run.r3.a", "team.t.a"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_forgotten_events_is_told_how_many_and_goes_on() {
    let broker = open(small());
    let fact = |n: u32| NewEvent {
        kind: "shop.paid".into(),
        agent: "till".into(),
        run: None,
        task: None,
        payload: Payload::of(n),
    };
    broker.events.publish((0..5).map(fact).collect()).await;
    let mut stream = broker.events.follow(EventFilter::default(), 1).await.unwrap();
    assert!(matches!(stream.next().await, Err(Error::Lagged { missed: 2 })));
    assert_eq!(stream.next().await.unwrap().seq, 3);
    assert_eq!(broker.events.read(EventFilter::default(), 1, 10).await.unwrap().len(), 3);
    assert_eq!(broker.events.last().await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_past_reaches_back_as_far_as_the_changes_that_are_kept() {
    let broker = open(Options { snapshot_every: 4, ..small() });
    let key = |n: u64| Key::parse(&format!("global.k{}", n % 3)).unwrap();
    for n in 1..=40 {
        let write = Write { key: key(n), expect: Expect::Any, value: Some(Payload::of(n)), by: "a".into(), task: None };
        assert_eq!(broker.states.put(vec![write]).await.remove(0).unwrap(), Put::Applied(n));
    }
    for n in 30..=40 {
        let then = broker.states.at(Moment::Sequence(n), String::new()).await.unwrap();
        let mut values: Vec<u64> = then.iter().map(|entry| entry.value.read().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, [n - 2, n - 1, n]);
    }
    assert!(matches!(broker.states.at(Moment::Sequence(29), String::new()).await, Err(Error::NotFound { .. })));
    assert_eq!(broker.states.history(key(40)).await.unwrap().len(), 4);
    let more = (0..3).map(|n| Write {
        key: Key::parse(&format!("global.new{n}")).unwrap(),
        expect: Expect::Any,
        value: Some(Payload::null()),
        by: "a".into(),
        task: None,
    });
    let put = broker.states.put(more.collect()).await;
    assert!(put[0].is_ok() && matches!(put[1], Err(Error::Busy { .. })));
}

#[tokio::test(start_paused = true)]
async fn readers_learn_that_the_store_has_gone() {
    let broker = open(small());
    let mut events = broker.events.follow(EventFilter::default(), 1).await.unwrap();
    let mut watch = broker.states.watch(String::new()).await.unwrap();
    drop(broker);
    assert!(matches!(events.next().await, Err(Error::Unavailable { .. })));
    assert!(matches!(watch.next().await, Err(Error::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_dead_messages_make_room_and_tasks_never_do() {
    let broker = open(Options { finished: 100, ..small() });
    let now = broker.clock.now();
    broker.tasks.submit(vec![Task { deadline: now, ..root(1, now) }]).await.remove(0).unwrap();
    let lost = |n: usize| Message {
        to: Address::Agent("nobody".into()),
        capability: CapabilityName::parse("x").unwrap(),
        from: "asker".into(),
        body: Payload::of(n),
        deadline: Instant::now() + Duration::from_secs(1),
        run: None,
        hops: Vec::new(),
        traceparent: None,
    };
    broker.messages.tell((0..MAX_DEAD_MESSAGES + 4).map(lost).collect()).await;
    let first = broker.dead.list(0, 2).await.unwrap();
    assert_eq!(first[0].reason, Reason::Expired, "the task is the oldest and stays");
    assert_eq!(first[1].body.read::<usize>().unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_finds_a_queue_full_is_told_to_wait_about_as_long_as_a_place_takes() {
    let broker = open(small());
    let inbox = broker.messages.serve(Address::Agent("clerk".into()), 1);
    let note = || Message {
        to: Address::Agent("clerk".into()),
        capability: CapabilityName::parse("x").unwrap(),
        from: "asker".into(),
        body: Payload::null(),
        deadline: Instant::now() + Duration::from_secs(60),
        run: None,
        hops: Vec::new(),
        traceparent: None,
    };
    for _ in 0..10 {
        broker.messages.tell(vec![note()]).await.remove(0).unwrap();
        inbox.next().await;
        tokio::time::advance(Duration::from_millis(700)).await;
    }
    broker.messages.tell(vec![note()]).await.remove(0).unwrap();
    let refused = broker.messages.tell(vec![note()]).await.remove(0);
    assert_eq!(refused.unwrap_err().retry_after(), Some(Duration::from_millis(700)));
}
