//! Many at once, on several threads and in real time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::messages::Address;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::task::{Outcome, Release, Status};
use callboard_broker::tasks::{Finish, Lease, Recorded, Submitted, Until};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};

use super::bench::{Bench, claim, give_back, message};
use super::invariants;

const RACERS: u64 = 8;
const IDS: u64 = 200;

/// Runs `RACERS` of the same, all from one start, and collects what each came to. Racers step aside between two calls:
/// a wing that answers at once would otherwise let the first one run to the end before the second has begun.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    b: &Arc<Bench>,
    racer: impl Fn(Arc<Bench>, u64) -> F,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(RACERS as usize));
    let racers: JoinSet<T> = (0..RACERS)
        .map(|n| {
            let (start, racer) = (start.clone(), racer(b.clone(), n));
            async move {
                start.wait().await;
                racer.await
            }
        })
        .collect();
    racers.join_all().await
}

async fn submit_all(b: &Bench) {
    let tasks = (0..IDS).map(|n| b.task(&format!("t{n}"))).collect();
    assert!(b.broker.tasks.submit(tasks).await.iter().all(Result::is_ok));
}

/// What has to hold at every quiet point.
async fn sound(b: &Bench) {
    let (tasks, events) = (b.tasks().await, b.events().await);
    invariants::gapless(&events).unwrap();
    invariants::accounted(&tasks).unwrap();
    invariants::told(&tasks, &events).unwrap();
}

pub async fn every_task_is_claimed_once(b: Bench) {
    let b = Arc::new(b);
    let done = Arc::new(AtomicU64::new(0));
    let claiming = race(&b, |b, n| {
        let done = done.clone();
        async move {
            let mut mine = Vec::new();
            loop {
                let leases = b.broker.tasks.claim(claim(1 + n as usize % 3, Duration::from_millis(500))).await.unwrap();
                // They may all wait for the first one to be stored.
                if leases.is_empty() && done.load(Ordering::SeqCst) >= IDS {
                    return mine;
                }
                for lease in leases {
                    yield_now().await;
                    b.complete(&lease, json!(n)).await;
                    done.fetch_add(1, Ordering::SeqCst);
                    mine.push(lease);
                }
            }
        }
    });
    let (leases, ()) = tokio::join!(claiming, submit_all(&b));
    let leases: Vec<Lease> = leases.into_iter().flatten().collect();
    let tasks: HashSet<_> = leases.iter().map(|lease| &lease.task.id).collect();
    assert_eq!((leases.len() as u64, tasks.len() as u64), (IDS, IDS));
    assert_eq!(leases.iter().map(|lease| lease.fence.lease).collect::<HashSet<_>>().len() as u64, IDS);
    assert!(b.tasks().await.iter().all(|view| view.status == Status::Completed && view.attempt == 1));
    sound(&b).await;
}

pub async fn one_finish_of_many_is_the_outcome(b: Bench) {
    let b = Arc::new(b);
    submit_all(&b).await;
    let leases = Arc::new(b.claim_all(IDS as usize).await);
    assert_eq!(leases.len() as u64, IDS);
    let answers = race(&b, |b, n| {
        let leases = leases.clone();
        async move {
            let mut new = Vec::new();
            for lease in leases.iter() {
                yield_now().await;
                if b.finish(b.completed(lease, json!(n))).await.unwrap() == Recorded::New {
                    new.push((lease.task.id.clone(), n));
                }
            }
            new
        }
    });
    let new: Vec<_> = answers.await.into_iter().flatten().collect();
    assert_eq!(new.len() as u64, IDS, "one new outcome each");
    let winners: HashMap<_, _> = new.into_iter().collect();
    for view in b.tasks().await {
        assert_eq!(view.outcome.unwrap().output, json!(winners[&view.task.id]).into());
    }
    sound(&b).await;
}

pub async fn an_older_claim_never_beats_a_newer_one(b: Bench) {
    let b = Arc::new(b);
    submit_all(&b).await;
    let mut generations = vec![b.claim_all(IDS as usize).await];
    for _ in 1..RACERS {
        for lease in generations.last().unwrap() {
            b.broker.tasks.release(give_back(&lease.fence, Release::Retry)).await.unwrap();
        }
        generations.push(b.claim_all(IDS as usize).await);
    }
    let generations = Arc::new(generations);
    let refused = race(&b, |b, n| {
        let generations = generations.clone();
        async move {
            let mut refused = 0;
            for lease in &generations[n as usize] {
                yield_now().await;
                match b.finish(b.completed(lease, json!(n))).await {
                    Ok(recorded) => assert_eq!((recorded, n), (Recorded::New, RACERS - 1)),
                    Err(Error::Replaced) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            refused
        }
    });
    assert_eq!(refused.await.into_iter().sum::<u64>(), (RACERS - 1) * IDS);
    assert!(b.tasks().await.iter().all(|view| view.outcome.as_ref().unwrap().output == json!(RACERS - 1).into()));
    sound(&b).await;
}

pub async fn one_submit_of_many_is_new(b: Bench) {
    let b = Arc::new(b);
    let created = b.now();
    let new = race(&b, |b, _| async move {
        let mut new = 0;
        for n in 0..IDS {
            yield_now().await;
            let task = callboard_broker::task::Task { created_at: created, ..b.task(&format!("t{n}")) };
            new += u64::from(b.broker.tasks.submit(vec![task]).await.remove(0).unwrap() == Submitted::New);
        }
        new
    });
    assert_eq!(new.await.into_iter().sum::<u64>(), IDS);
    assert_eq!(b.claim_all(IDS as usize).await.len() as u64, IDS);
    sound(&b).await;
}

/// Counting by compare-and-set from all sides at once.
pub async fn counting_under_contention_loses_nothing(b: Bench) {
    let b = Arc::new(b);
    let key = Key::parse("global.count").unwrap();
    let counting = race(&b, |b, n| {
        let key = key.clone();
        async move {
            for _ in 0..IDS {
                count_one(&b, &key, n).await;
            }
        }
    });
    counting.await;
    let history = b.broker.states.history(key.clone()).await.unwrap();
    invariants::chained(&history).unwrap();
    let counts: Vec<u64> = history.iter().map(|change| change.value.as_ref().unwrap().read().unwrap()).collect();
    assert_eq!(counts, (1..=RACERS * IDS).collect::<Vec<_>>(), "every count once, in order");
    invariants::gapless(&b.events().await).unwrap();
}

async fn count_one(b: &Bench, key: &Key, n: u64) {
    loop {
        let there = b.broker.states.get(vec![key.clone()]).await.unwrap().remove(0);
        let count: u64 = there.as_ref().map_or(0, |entry| entry.value.read().unwrap());
        let expect = Expect::Version(there.map_or(0, |entry| entry.version));
        yield_now().await;
        let value = Some(Payload::of(count + 1));
        let write = Write { key: key.clone(), expect, value, by: format!("racer {n}"), task: None };
        match b.broker.states.put(vec![write]).await.remove(0).unwrap() {
            Put::Applied(_) => return,
            Put::Conflict(_) => {}
            Put::Unknown => panic!("nothing was lost here"),
        }
    }
}

pub async fn a_cancel_and_a_finish_leave_one_outcome(b: Bench) {
    let b = Arc::new(b);
    submit_all(&b).await;
    let leases = Arc::new(b.claim_all(IDS as usize).await);
    let ends = race(&b, |b, n| {
        let leases = leases.clone();
        async move {
            let (mut completed, mut cancelled) = (0, 0);
            for lease in leases.iter() {
                yield_now().await;
                if n % 2 == 0 {
                    let by = format!("racer {n}");
                    cancelled += b.broker.tasks.cancel(lease.task.id.clone(), by).await.unwrap().len();
                    continue;
                }
                let turn = Finish {
                    outcome: Outcome { node: None, ..b.completed(lease, json!(n)).outcome },
                    ..b.completed(lease, json!(n))
                };
                match b.finish(turn).await {
                    Ok(recorded) => completed += usize::from(recorded == Recorded::New),
                    Err(Error::Cancelled { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            (completed, cancelled)
        }
    });
    let (completed, cancelled) = ends.await.into_iter().fold((0, 0), |sum, end| (sum.0 + end.0, sum.1 + end.1));
    assert_eq!((completed + cancelled) as u64, IDS);
    let tasks = b.tasks().await;
    assert_eq!(tasks.iter().filter(|view| view.status == Status::Completed).count(), completed);
    assert_eq!(tasks.iter().filter(|view| view.status == Status::Cancelled).count(), cancelled);
    sound(&b).await;
}

pub async fn asks_from_everywhere_get_their_own_answers(b: Bench) {
    let b = Arc::new(b);
    let inbox = b.broker.messages.serve(Address::Agent("clerk".into()), 4_096);
    let clerk = tokio::spawn(async move {
        loop {
            let incoming = inbox.next().await;
            tokio::spawn(async move {
                let asked: u64 = incoming.message.body.read().unwrap();
                yield_now().await;
                incoming.reply.unwrap().send(Ok(Payload::of(asked * 2)));
            });
        }
    });
    race(&b, |b, n| async move {
        let asks: JoinSet<()> = (0..IDS)
            .map(|i| {
                let (messages, asked) = (b.broker.messages.clone(), n * 10_000 + i);
                async move {
                    let answer = messages.ask(message("clerk", asked, Duration::from_secs(60))).await.unwrap();
                    assert_eq!(answer.read::<u64>().unwrap(), asked * 2);
                }
            })
            .collect();
        asks.join_all().await;
    })
    .await;
    clerk.abort();
    assert_eq!((b.broker.messages.counts().answered, b.broker.messages.counts().late), (RACERS * IDS, 0));
}

pub async fn a_wait_never_misses_an_end(b: Bench) {
    let b = Arc::new(b);
    submit_all(&b).await;
    let ids: Vec<_> = b.tasks().await.into_iter().map(|view| view.task.id).collect();
    let waiting = race(&b, |b, n| {
        let ids = ids.clone();
        async move {
            let until = if n % 2 == 0 { Until::All } else { Until::Any };
            (until, b.broker.tasks.wait(ids, until, Duration::from_secs(60)).await.unwrap().len())
        }
    });
    let working = async {
        for lease in b.claim_all(IDS as usize).await {
            b.complete(&lease, json!(1)).await;
            yield_now().await;
        }
    };
    let (ends, ()) = tokio::join!(waiting, working);
    for (until, ended) in ends {
        assert!(if until == Until::All { ended as u64 == IDS } else { ended >= 1 }, "{until:?}: {ended}");
    }
}
