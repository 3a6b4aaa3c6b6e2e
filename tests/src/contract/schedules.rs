//! Work that is submitted at its time: each tick once, whoever makes the round and whatever happens in between.

use std::time::Duration;

use callboard::schedule::{Added, Missed, Schedule, Schedules, When, turn};
use callboard_broker::error::Error;
use callboard_broker::state::{Expect, Key, Write};
use callboard_broker::task::Status;
use serde_json::{Value, json};

use super::bench::{Bench, capability};

const MINUTE: Duration = Duration::from_secs(60);

fn every(name: &str, period: Duration) -> Schedule {
    Schedule::of(name, capability("x"), json!({ "of": name }).into(), When::every(period))
}

fn book(b: &Bench) -> Schedules {
    Schedules::of(&b.broker, "ann")
}

/// The write that puts a schedule where the book would, past all that the book would say to it.
fn by_hand(name: &str, schedule: Value) -> Write {
    Write {
        key: Key::parse(&format!("global.callboard-schedule.{name}")).unwrap(),
        expect: Expect::Any,
        value: Some(schedule.into()),
        by: "ann".into(),
        task: None,
    }
}

async fn find(b: &Bench, name: &str) -> Option<Schedule> {
    book(b).list().await.unwrap().into_iter().find(|one| one.name == name)
}

/// The ticks of a schedule that were submitted, as minutes after `from`.
async fn ticks(b: &Bench, name: &str, from: u64) -> Vec<u64> {
    let prefix = format!("{name}-");
    let ids = b.tasks().await.into_iter().map(|view| view.task.id.to_string());
    let mut ticks: Vec<u64> =
        ids.filter_map(|id| Some((id.strip_prefix(&prefix)?.parse::<u64>().ok()? - from) / 60_000)).collect();
    ticks.sort_unstable();
    ticks
}

pub async fn a_tick_is_one_task_however_many_rounds_are_made(b: Bench) {
    let from = b.now();
    book(&b).add(every("hourly", 60 * MINUTE)).await.unwrap();
    assert_eq!(turn(&b.broker, "n").await.unwrap(), Some(from + 3_600_000), "the first comes one period later");
    assert!(b.tasks().await.is_empty());
    for hour in 1..=3 {
        b.pass(60 * MINUTE).await;
        for node in ["n", "m", "n"] {
            assert_eq!(turn(&b.broker, node).await.unwrap(), Some(from + (hour + 1) * 3_600_000));
        }
        assert_eq!(ticks(&b, "hourly", from).await.len() as u64, hour);
    }
    let task = b.tasks().await.remove(0).task;
    assert_eq!(task.id.as_str(), format!("hourly-{}", from + 3_600_000));
    assert_eq!((task.input, task.from.as_deref()), (json!({ "of": "hourly" }).into(), Some("schedule hourly")));
    let stands = find(&b, "hourly").await.unwrap();
    assert_eq!((stands.fired, stands.skipped, stands.last), (3, 0, Some(from + 3 * 3_600_000)));
}

pub async fn what_was_missed_is_handled_as_declared(b: Bench) {
    let from = b.now();
    for (name, missed) in [("skip", Missed::Skip), ("once", Missed::Once), ("all", Missed::All)] {
        book(&b).add(every(name, 10 * MINUTE).missed(missed)).await.unwrap();
    }
    // Nobody is there for 52 minutes: five ticks, the last of them two minutes ago.
    b.pass(52 * MINUTE).await;
    turn(&b.broker, "n").await.unwrap();
    for (name, made_up) in [("skip", vec![]), ("once", vec![50]), ("all", vec![10, 20, 30, 40, 50])] {
        assert_eq!(ticks(&b, name, from).await, made_up, "{name}");
        let stands = find(&b, name).await.unwrap();
        assert_eq!((stands.fired as usize, stands.skipped as usize), (made_up.len(), 5 - made_up.len()), "{name}");
        assert_eq!(stands.next, Some(from + 3_600_000), "{name}");
    }
    // A tick that is seen half a minute late is in time; only so many are made up for.
    b.pass(8 * MINUTE + MINUTE / 2).await;
    turn(&b.broker, "n").await.unwrap();
    assert_eq!(ticks(&b, "skip", from).await, [60]);
    b.pass(200 * 10 * MINUTE).await;
    turn(&b.broker, "n").await.unwrap();
    assert_eq!(ticks(&b, "all", from).await.len(), 6 + 100 + 1);
}

pub async fn one_that_rests_submits_nothing_and_makes_nothing_up(b: Bench) {
    let from = b.now();
    book(&b).add(every("it", 10 * MINUTE).missed(Missed::All)).await.unwrap();
    assert!(book(&b).pause("it").await.unwrap().paused);
    b.pass(35 * MINUTE).await;
    assert_eq!(turn(&b.broker, "n").await.unwrap(), None);
    assert_eq!(book(&b).resume("it").await.unwrap().next, Some(from + 40 * 60_000));
    turn(&b.broker, "n").await.unwrap();
    assert!(ticks(&b, "it", from).await.is_empty());
    b.pass(5 * MINUTE).await;
    turn(&b.broker, "n").await.unwrap();
    assert_eq!(ticks(&b, "it", from).await, [40]);
    assert!(book(&b).remove("it").await.unwrap());
    assert!(!book(&b).remove("it").await.unwrap());
    b.pass(60 * MINUTE).await;
    assert_eq!(turn(&b.broker, "n").await.unwrap(), None);
    assert_eq!(ticks(&b, "it", from).await, [40], "what it had submitted stands");
    assert!(matches!(book(&b).pause("it").await, Err(Error::NotFound { .. })));
}

pub async fn a_single_time_comes_once_and_leaves_no_schedule(b: Bench) {
    let from = b.now();
    let at = |name: &str, minutes: u64| {
        Schedule::of(name, capability("x"), json!(1).into(), When::At(from + minutes * 60_000))
    };
    for one in [at("soon", 5), at("later", 30), at("lost", 5).missed(Missed::Skip), at("past", 0)] {
        book(&b).add(one).await.unwrap();
    }
    assert_eq!(turn(&b.broker, "n").await.unwrap(), Some(from + 5 * 60_000));
    assert_eq!(ticks(&b, "past", from).await, [0], "what has passed is due at once");
    b.pass(15 * MINUTE).await;
    assert_eq!(turn(&b.broker, "n").await.unwrap(), Some(from + 30 * 60_000));
    assert_eq!((ticks(&b, "soon", from).await, ticks(&b, "lost", from).await), (vec![5], vec![]));
    let names: Vec<String> = book(&b).list().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["later"]);
    book(&b).pause("later").await.unwrap();
    b.pass(30 * MINUTE).await;
    turn(&b.broker, "n").await.unwrap();
    book(&b).resume("later").await.unwrap();
    turn(&b.broker, "n").await.unwrap();
    assert_eq!(ticks(&b, "later", from).await, [30], "otherwise it would never come");
}

pub async fn a_poor_schedule_is_refused_and_the_same_is_known(b: Bench) {
    let poor = [
        every("no_name", MINUTE),
        every("a-name-that-is-too-long", MINUTE),
        every("", MINUTE),
        every("often", Duration::from_millis(10)),
        Schedule::of("cron", capability("x"), json!(1).into(), When::cron("never")),
        Schedule::of("never", capability("x"), json!(1).into(), When::cron("0 0 30 2 *")),
    ];
    for schedule in poor {
        let refused = book(&b).add(schedule.clone()).await;
        assert!(matches!(refused, Err(Error::Decode { .. })), "{}: {refused:?}", schedule.name);
    }
    assert_eq!(book(&b).add(every("it", MINUTE)).await.unwrap(), Added::New);
    b.pass(MINUTE / 2).await;
    assert_eq!(book(&b).add(every("it", MINUTE)).await.unwrap(), Added::Known);
    let other = book(&b).add(every("it", 2 * MINUTE)).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    let nightly = Schedule::of("nightly", capability("x"), json!(1).into(), When::cron("0 3 * * *"));
    book(&b).add(nightly).await.unwrap();
    let next = find(&b, "nightly").await.unwrap().next.unwrap();
    assert_eq!(next % 86_400_000, 3 * 3_600_000, "in UTC");
    assert!(next > b.now() && next <= b.now() + 86_400_000);
}

pub async fn one_that_was_put_by_hand_counts_from_when_it_is_seen(b: Bench) {
    let schedule = json!({ "name": "hand", "capability": "x", "input": 1, "when": { "every": { "period": "10m" } } });
    for write in [by_hand("hand", schedule), by_hand("poor", json!("no schedule"))] {
        b.broker.states.put(vec![write]).await.remove(0).unwrap();
    }
    let from = b.now();
    assert_eq!(turn(&b.broker, "n").await.unwrap(), Some(from + 600_000));
    b.pass(10 * MINUTE).await;
    turn(&b.broker, "n").await.unwrap();
    assert_eq!(ticks(&b, "hand", from).await, [10]);
    assert_eq!(book(&b).list().await.unwrap().len(), 1);
}

pub async fn one_whose_time_a_round_cannot_tell_is_left_to_those_who_can(b: Bench) {
    let due = b.now();
    // As it is to a node whose build knows nothing of cron, or of what an expression of a later one means.
    let unknown = Schedule { next: Some(due), ..every("unknown", MINUTE) };
    let unknown = Schedule { when: When::cron("when the moon is full"), ..unknown };
    // An expression that is one and has no further time.
    let never = Schedule { when: When::cron("0 0 30 2 *"), name: "never".into(), ..unknown.clone() };
    for one in [&unknown, &never] {
        b.broker.states.put(vec![by_hand(&one.name, json!(one))]).await.remove(0).unwrap();
    }
    b.pass(MINUTE / 2).await;
    for _ in 0..2 {
        assert_eq!(turn(&b.broker, "n").await.unwrap(), None, "it is not looked at all the time");
        assert_eq!(find(&b, "unknown").await.as_ref(), Some(&unknown));
        assert_eq!(find(&b, "never").await, Some(Schedule { next: None, ..never.clone() }));
        b.pass(MINUTE * 2).await;
    }
    assert!(b.tasks().await.is_empty());
    book(&b).pause("unknown").await.unwrap();
    let refused = book(&b).resume("unknown").await;
    assert!(matches!(refused, Err(Error::Decode { .. })), "its next time would be forgotten: {refused:?}");
    assert_eq!(find(&b, "unknown").await, Some(Schedule { paused: true, ..unknown }));
}

pub async fn what_is_due_after_a_crash_is_submitted_once(b: Bench) {
    let from = b.now();
    book(&b).add(every("it", 10 * MINUTE)).await.unwrap();
    b.pass(10 * MINUTE).await;
    // The process died after it had submitted, and before it had moved the schedule on.
    let due = find(&b, "it").await.unwrap();
    let run = due.run(due.next.unwrap()).unwrap();
    let task = callboard_broker::task::Task::root(run, due.capability.clone(), due.input.clone(), b.now());
    b.submit_task(task).await;
    // On a wing that forgets, the rest holds without the crash.
    let Some(b) = b.crash().await else { return };
    turn(&b.broker, "m").await.unwrap();
    assert_eq!(ticks(&b, "it", from).await, [10]);
    let stands = find(&b, "it").await.unwrap();
    assert_eq!((stands.fired, stands.next), (1, Some(from + 20 * 60_000)));
    assert_eq!(b.tasks().await[0].status, Status::Pending);
}

pub async fn rounds_at_the_same_time_submit_each_tick_once(b: Bench) {
    // Two seconds late from the start, for in a check with threads time cannot be made to pass.
    let due = b.now() - 2_000;
    for name in ["a", "b"] {
        let late = Schedule { next: Some(due), ..every(name, Duration::from_secs(1)).missed(Missed::All) };
        b.broker.states.put(vec![by_hand(name, json!(late))]).await.remove(0).unwrap();
    }
    let rounds = (0..8).map(|n| {
        let broker = b.broker.clone();
        tokio::spawn(async move { turn(&broker, &format!("n{n}")).await.unwrap() })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
    // A round that was late may have met the next tick, and another one's note of those before.
    turn(&b.broker, "last").await.unwrap();
    for name in ["a", "b"] {
        let stands = find(&b, name).await.unwrap();
        let ids: Vec<_> = b.tasks().await.into_iter().map(|view| view.task.id.to_string()).collect();
        let of_it = ids.iter().filter(|id| id.starts_with(&format!("{name}-"))).count();
        assert_eq!(stands.fired as usize, of_it, "{ids:?}");
        assert!(of_it >= 2, "{ids:?}");
    }
}
