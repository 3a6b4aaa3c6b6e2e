//! A dead letter is written before the outcome that it tells of. So it may be there without one, and another outcome may
//! come first: a line that stops at the write of the outcome makes both happen.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::clock::Clock;
use callboard_broker::dead_letter::{NewDeadLetter, Reason};
use callboard_broker::error::Error;
use callboard_broker::facts::dead_task;
use callboard_broker::nats::dead::DeadKeeper;
use callboard_broker::nats::{Options, Wing, connect};
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Claim, Finish, Lease, Recorded, Tasks};
use callboard_tests::contract::bench::{capability, claim, failure, node};
use callboard_tests::nats::{Direction, Proxy, Server};
use serde_json::json;

const HOUR: u64 = 3_600_000;

async fn join(url: String, clock: Clock) -> Wing {
    let options = Options { servers: vec![url], works: false, clock, ..Options::new(node("n")) };
    connect(options).await.unwrap()
}

fn an_hour_ahead() -> Clock {
    Clock::from_fn(|| Clock::system().now() + HOUR)
}

fn pull() -> Claim {
    claim(1, Duration::from_secs(5))
}

/// A task with half an hour left.
async fn submit(wing: &Wing, run: &str) -> Task {
    let now = wing.broker.clock.now();
    let task = Task::root(callboard_broker::id::RunId::parse(run).unwrap(), capability("x"), json!(1).into(), now);
    let task = Task { deadline: now + HOUR / 2, ..task };
    wing.broker.tasks.submit(vec![task.clone()]).await.remove(0).unwrap();
    task
}

async fn take(tasks: &Arc<dyn Tasks>) -> Lease {
    tasks.claim(pull()).await.unwrap().pop().expect("a task is there")
}

fn end(wing: &Wing, task: &Task, status: Status) -> Outcome {
    let error = (status != Status::Completed).then(|| failure("no luck"));
    Outcome::of(task, status, error, wing.broker.clock.now())
}

async fn finish(wing: &Wing, lease: &Lease, status: Status, dead: Option<Reason>) -> Result<Recorded, Error> {
    let turn =
        Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome: end(wing, &lease.task, status), dead };
    wing.broker.tasks.finish(vec![turn]).await.remove(0)
}

/// How many letters the stream has, and how many there ever were.
fn stored(server: &Server) -> (u64, u64) {
    let said = server.wire().ask("$JS.API.STREAM.INFO.CB_DEAD", &json!({})).unwrap();
    let number = |what: &str| said["state"][what].as_u64().unwrap();
    (number("messages"), number("last_seq"))
}

async fn reasons(wing: &Wing) -> Vec<Reason> {
    wing.broker.dead.list(0, 10).await.unwrap().iter().map(|letter| letter.reason).collect()
}

/// Stores a letter as a node does that dies before it writes the outcome.
async fn bury_and_die(wing: &Wing, letter: NewDeadLetter) {
    DeadKeeper::new(wing.link.clone()).bury_task(&letter).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_whose_outcome_was_never_written_is_neither_shown_nor_put_back() {
    let server = Server::start();
    let wing = join(server.url(), Clock::system()).await;
    let task = submit(&wing, "done").await;
    bury_and_die(&wing, dead_task(&task, Reason::Expired, None)).await;
    let dead = &wing.broker.dead;
    for status in [None, Some(Status::Completed)] {
        if let Some(status) = status {
            let lease = take(&wing.broker.tasks).await;
            assert_eq!(finish(&wing, &lease, status, None).await.unwrap(), Recorded::New);
        }
        assert_eq!((reasons(&wing).await, dead.get(1).await.unwrap()), (Vec::new(), None), "{status:?}");
        assert!(matches!(dead.retry(1).await, Err(Error::NotFound { .. })), "{status:?}");
    }

    // A letter of an end that did not come about stands in the way of none that does, on this page or the next.
    let task = submit(&wing, "late").await;
    bury_and_die(&wing, dead_task(&task, Reason::Failed, None)).await;
    let late = join(server.url(), an_hour_ahead()).await;
    let nothing = late.broker.tasks.claim(Claim { wait: Duration::ZERO, ..pull() }).await.unwrap();
    assert!(nothing.is_empty());
    assert_eq!((reasons(&wing).await, stored(&server)), (vec![Reason::Expired], (3, 3)));
    assert_eq!(dead.list(0, 1).await.unwrap()[0].seq, 3, "as many as were asked for");

    // The same end, repeated by whoever came next, has the letter that is there.
    let task = submit(&wing, "failed").await;
    bury_and_die(&wing, dead_task(&task, Reason::Failed, Some("no luck".into()))).await;
    let lease = take(&wing.broker.tasks).await;
    finish(&wing, &lease, Status::Failed, Some(Reason::Failed)).await.unwrap();
    assert_eq!(reasons(&wing).await, [Reason::Expired, Reason::Failed]);
    let again = dead.retry(4).await.unwrap();
    assert_eq!(dead.get(4).await.unwrap().unwrap().retried_as, Some(again));
}

/// Whoever finds a task late has stored its letter when somebody else ends it with `first`.
async fn late_and_ended_first(first: Status) -> (Server, Wing) {
    let server = Server::start();
    let (proxy, wing) = (Proxy::to(&server.address()), join(server.url(), Clock::system()).await);
    let late = join(proxy.url(), an_hour_ahead()).await;
    let task = submit(&wing, "t").await;
    proxy.stop_at(Direction::Up, "cb.v1.run.t.t.expired");
    let claiming = tokio::spawn(async move { late.broker.tasks.claim(pull()).await });
    proxy.stopped().await;
    assert_eq!((stored(&server), reasons(&wing).await), ((1, 1), Vec::new()), "nothing has come of it yet");
    assert_eq!(wing.broker.tasks.conclude(end(&wing, &task, first)).await.unwrap(), Recorded::New);
    proxy.heal();
    assert!(claiming.await.unwrap().unwrap().is_empty());
    (server, wing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_taken_back_when_its_task_was_done_meanwhile() {
    let (server, wing) = late_and_ended_first(Status::Completed).await;
    assert_eq!((stored(&server), reasons(&wing).await), ((0, 1), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_stays_when_somebody_else_wrote_the_outcome_that_it_tells_of() {
    let (server, wing) = late_and_ended_first(Status::Expired).await;
    assert_eq!((stored(&server), reasons(&wing).await), ((1, 1), vec![Reason::Expired]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_of_an_attempt_is_taken_back_when_its_task_was_cancelled_meanwhile() {
    let server = Server::start();
    let (proxy, wing) = (Proxy::to(&server.address()), join(server.url(), Clock::system()).await);
    let worker = join(proxy.url(), Clock::system()).await;
    let task = submit(&wing, "t").await;
    let lease = take(&worker.broker.tasks).await;
    proxy.stop_at(Direction::Up, "cb.v1.run.t.t.failed");
    let failing = tokio::spawn(async move { finish(&worker, &lease, Status::Failed, Some(Reason::Failed)).await });
    proxy.stopped().await;
    assert_eq!((stored(&server), reasons(&wing).await), ((1, 1), Vec::new()), "nothing has come of it yet");
    assert_eq!(wing.broker.tasks.cancel(task.id.clone(), "ops".into()).await.unwrap(), [task.id]);
    proxy.heal();
    let failed = failing.await.unwrap();
    assert!(matches!(failed, Err(Error::Cancelled { .. })), "{failed:?}");
    assert_eq!((stored(&server), reasons(&wing).await), ((0, 1), Vec::new()));
}
