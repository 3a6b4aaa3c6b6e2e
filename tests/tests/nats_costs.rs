//! What a node asks of its server for what it does, counted on the wire; and what it makes of copies that are behind and
//! of questions that nobody answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use callboard_broker::clock::Clock;
use callboard_broker::error::Error;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::nats::{self, Layout, Options};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::task::{Status, Task};
use callboard_broker::tasks::{Child, Claim, Lease, Park, TaskFilter};
use callboard_broker::{Broker, nats::names};
use callboard_tests::contract::bench::{capability, claim, delegated, step};
use callboard_tests::nats::{Config, Direction, Message, Proxy, Server, Wire};
use serde_json::{Value, json};

/// Said when all has been asked.
const END: &str = "costs.end";
/// In milliseconds.
const HOUR: u64 = 3_600_000;

fn options(url: String) -> Options {
    Options { servers: vec![url], ..Options::new(NodeName::parse("n").unwrap()) }
}

async fn opened(server: &Server, max_tasks: u64) -> Broker {
    let layout = Layout { max_tasks, ..Layout::default() };
    nats::open(Options { layout, ..options(server.url()) }).await.unwrap()
}

fn tasks(broker: &Broker, many: usize) -> Vec<Task> {
    let task = |_| Task::root(RunId::fresh(), capability("x"), Payload::of(1), broker.clock.now());
    (0..many).map(task).collect()
}

/// Hears what anybody says on a subject from now on.
fn listening(server: &Server, subject: &str) -> Wire {
    let mut wire = server.wire();
    wire.subscribe(subject).unwrap();
    wire.subscribe(END).unwrap();
    wire
}

/// All that was said so far.
fn said(server: &Server, mut wire: Wire) -> Vec<Message> {
    server.wire().publish(END, b"").unwrap();
    std::iter::repeat_with(|| wire.receive().unwrap()).take_while(|message| message.subject != END).collect()
}

/// For that the server goes through the subjects of all that ever happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_not_looked_for_with_each_task() {
    let server = Server::start();
    let wire = listening(&server, "$JS.API.DIRECT.GET.>");
    let began = Instant::now();
    let broker = opened(&server, 1_000).await;
    for task in tasks(&broker, 100) {
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
    }
    let asked = said(&server, wire);
    let looks =
        asked.iter().filter(|message| String::from_utf8_lossy(&message.payload).contains(names::PARKED)).count();
    let most = 2 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((1..=most).contains(&looks), "{looks} looks of {} requests, {most} at most", asked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_for_a_full_queue_only_the_first_tasks_are_sent() {
    let server = Server::start();
    let broker = opened(&server, 10).await;
    assert!(broker.tasks.submit(tasks(&broker, 10)).await.iter().all(Result::is_ok));
    let wire = listening(&server, "cb.v1.task.>");
    let refused = broker.tasks.submit(tasks(&broker, 100)).await;
    assert!(refused.iter().all(|one| matches!(one, Err(Error::Busy { .. }))), "{refused:?}");
    assert_eq!((refused.len(), said(&server, wire).len()), (100, 32));
}

/// What waits for a capability that has no node just now may be much, and stand before what others work on.
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_for_what_a_node_held_does_not_read_what_nobody_has_begun() {
    const WAITING: usize = 300;
    let server = Server::start();
    let broker = opened(&server, 1_000).await;
    let other = |task| Task { capability: capability("y"), ..task };
    let mut waiting: Vec<Task> = tasks(&broker, WAITING).into_iter().map(other).collect();
    waiting.splice(1..1, tasks(&broker, 2));
    waiting.extend(tasks(&broker, 1));
    assert!(broker.tasks.submit(waiting).await.iter().all(Result::is_ok));
    let of_y = Claim { capability: capability("y"), ..claim(1, Duration::from_secs(30)) };
    let first = broker.tasks.claim(of_y).await.unwrap().remove(0);
    let leases = begun(&broker, 3).await;

    let other = Options { servers: vec![server.url()], ..Options::new(NodeName::parse("o").unwrap()) };
    let wing = nats::connect(other).await.unwrap();
    let wire = listening(&server, "_INBOX_o.>");
    let taken = wing.take_over(&NodeName::parse("n").unwrap(), None).await.unwrap();
    let read =
        said(&server, wire).iter().filter(|message| message.headers.contains("Nats-Subject: cb.v1.task.")).count();
    let held: BTreeSet<_> = leases.into_iter().chain([first]).map(|lease| lease.task.id).collect();
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), held);
    // Pulls bring more than was asked for, which is handed out for a moment too.
    assert!((4..WAITING / 2).contains(&read), "{read} of the {WAITING} that wait were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_tasks_cost_as_much_after_many_as_after_few() {
    const ALL: usize = 3_000;
    let server = Server::start();
    let broker = opened(&server, 10_000).await;
    let mut ids = Vec::new();
    for _ in 0..ALL / 500 {
        let tasks = tasks(&broker, 500);
        ids.extend(tasks.iter().map(|task| task.id.clone()));
        assert!(broker.tasks.submit(tasks).await.iter().all(Result::is_ok));
    }
    let wire = listening(&server, "_INBOX_n.>");
    let newest =
        broker.tasks.list(TaskFilter { newest_first: true, limit: 10, ..TaskFilter::default() }).await.unwrap();
    let is_record = |message: &&Message| message.headers.contains("Nats-Subject: cb.v1.run.");
    let read = said(&server, wire).iter().filter(is_record).count();
    assert!((20..=200).contains(&read), "{read} documents for the newest 10 of {ALL}");

    // Of a run from long ago nothing stands at the end of the log.
    let oldest = TaskFilter { run: Some(ids[0].run()), newest_first: true, limit: 1, ..TaskFilter::default() };
    let wire = listening(&server, "$JS.API.DIRECT.GET.>");
    let found = broker.tasks.list(oldest).await.unwrap();
    let looks = said(&server, wire).len();
    assert_eq!(found.iter().map(|view| &view.task.id).collect::<Vec<_>>(), [&ids[0]]);
    assert!(looks <= 16, "{looks} looks for one of {ALL}");

    let mut listed = newest;
    while let Some(last) = listed.last().map(|view| view.seq) {
        let filter = TaskFilter { newest_first: true, limit: 1_000, after: Some(last), ..TaskFilter::default() };
        let more = broker.tasks.list(filter).await.unwrap();
        if more.is_empty() {
            break;
        }
        listed.extend(more);
    }
    assert!(listed.windows(2).all(|two| two[0].seq > two[1].seq));
    let listed: BTreeSet<TaskId> = listed.into_iter().map(|view| view.task.id).collect();
    assert_eq!(listed, ids.into_iter().collect(), "page by page none is missing");
}

/// Hands out so many tasks that are there.
async fn begun(broker: &Broker, many: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    while leases.len() < many {
        leases.extend(broker.tasks.claim(claim(many - leases.len(), Duration::from_secs(30))).await.unwrap());
    }
    leases
}

/// Until every end was looked at by whoever wakes parked tasks.
async fn until_handed_on(server: &Server) {
    let mut wire = server.wire();
    let ask = format!("$JS.API.CONSUMER.INFO.{}.{}", names::RUNS, names::JOIN);
    loop {
        let info = wire.ask(&ask, &Value::Null).unwrap();
        if info["num_pending"] == 0 && info["num_ack_pending"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Records of runs that are read when a task is cancelled that waits for so many children.
async fn read_for_a_cancel(children: usize) -> usize {
    let server = Server::start();
    let broker = opened(&server, 1_000).await;
    broker.tasks.submit(tasks(&broker, 1)).await.remove(0).unwrap();
    let Lease { task, fence, .. } = begun(&broker, 1).await.remove(0);
    let child = |n| task.child(&format!("{n}"), capability("y"), Payload::of(n), broker.clock.now());
    let children: Vec<Task> = (0..children).map(child).collect();
    let on = children.iter().map(|child| child.id.clone()).collect();
    let entries = children.iter().map(delegated).collect();
    let stored = children.into_iter().map(|child| Child::Queued(Box::new(child))).collect();
    let fence = broker.tasks.append(fence, entries, stored).await.unwrap();
    broker.tasks.park(Park { fence, on }).await.unwrap();
    let wire = listening(&server, "_INBOX_n.>");
    broker.tasks.cancel(task.id, "ops".into()).await.unwrap();
    until_handed_on(&server).await;
    let is_record = |message: &&Message| message.headers.contains("Nats-Subject: cb.v1.run.");
    said(&server, wire).iter().filter(is_record).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_who_waits_reads_as_much_again_for_each_child() {
    let (few, many) = (read_for_a_cancel(10).await, read_for_a_cancel(60).await);
    assert!(few > 0 && many <= 8 * few, "{few} records for 10 children, {many} for 60");
}

/// Lays tasks aside that nobody will wake and that have ended long before their deadline, an hour from now.
async fn lay_aside_and_end(broker: &Broker, many: usize) -> Vec<TaskId> {
    let late = |task| Task { deadline: broker.clock.now() + HOUR, ..task };
    let roots: Vec<Task> = tasks(broker, many).into_iter().map(late).collect();
    assert!(broker.tasks.submit(roots).await.iter().all(Result::is_ok));
    let mut ended = Vec::new();
    for Lease { task, fence, .. } in begun(broker, many).await {
        let nobody = TaskId::root(&RunId::fresh());
        broker.tasks.park(Park { fence, on: vec![nobody] }).await.unwrap();
        broker.tasks.cancel(task.id.clone(), "ops".into()).await.unwrap();
        ended.push(task.id);
    }
    ended
}

/// A process that begins to work finds all that was ever laid aside, most of it long ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_holds_up_no_deadline_of_the_queue() {
    const ASIDE: usize = 200;
    let server = Server::start();
    let broker = nats::open(Options { works: false, ..options(server.url()) }).await.unwrap();
    let ended = lay_aside_and_end(&broker, ASIDE).await;
    let queued = tasks(&broker, 1).remove(0);
    let queued = Task { deadline: broker.clock.now() + HOUR, ..queued };
    broker.tasks.submit(vec![queued.clone()]).await.remove(0).unwrap();

    let mut wire = server.wire();
    wire.subscribe("$JS.API.DIRECT.GET.CB_RUNS").unwrap();
    wire.subscribe(&names::records(&queued.id)).unwrap();
    let clock = Clock::from_fn(|| Clock::system().now() + 2 * HOUR);
    let later = nats::open(Options { clock, ..options(server.url()) }).await.unwrap();
    let (mut looks, mut stories, mut before) = (0, 0, None);
    while looks < ASIDE || before.is_none() {
        let message = wire.receive().unwrap();
        let text = String::from_utf8_lossy(&message.payload);
        looks += usize::from(text.contains("\"seq\"") && !text.contains("_by_subj"));
        stories += usize::from(ended.iter().any(|task| text.contains(&format!("\"{}\"", names::records(task)))));
        if message.subject.ends_with(".expired") {
            before = Some(looks);
        }
    }
    assert_eq!(later.tasks.get(vec![queued.id]).await.unwrap()[0].as_ref().unwrap().status, Status::Expired);
    assert_eq!((before, stories), (Some(0), 0), "looks before the end of what is queued, stories of what has ended");
}

/// A copy of a stream that is behind for as long as the test wants: what is asked of copies goes to an empty stream.
struct Behind(Server, Proxy);

impl Behind {
    fn start() -> Self {
        let server = Server::with(Self::of("CB_NONE"));
        let stream = json!({"name": "CB_BEHIND", "subjects": ["cb.behind"], "allow_direct": true, "storage": "memory"});
        assert!(server.wire().ask("$JS.API.STREAM.CREATE.CB_BEHIND", &stream).unwrap()["error"].is_null());
        let proxy = Proxy::to(&server.address());
        Self(server, proxy)
    }

    fn of(stream: &str) -> Config {
        Config::text(&format!("mappings {{ \"$JS.API.DIRECT.GET.{stream}\": \"$JS.API.DIRECT.GET.CB_BEHIND\" }}"))
    }

    /// From now on copies of this stream are behind.
    fn is(&self, stream: &str) {
        self.0.reload(&Self::of(stream));
        let (mut wire, get) = (self.0.wire(), format!("$JS.API.DIRECT.GET.{stream}"));
        let ask = json!({"last_by_subj": ">"}).to_string();
        while wire.request(&get, ask.as_bytes()).is_ok_and(|answer| !answer.headers.contains("404")) {
            std::thread::yield_now();
        }
    }

    /// Makes a call whose answer is lost once a message on `subject` was stored.
    async fn lose<T: Send + 'static>(&self, subject: &str, call: impl Future<Output = T> + Send + 'static) -> T {
        let mut wire = self.0.wire();
        wire.subscribe(subject).unwrap();
        self.1.cut_one_way(Direction::Down);
        let answer = tokio::spawn(call);
        wire.receive().unwrap();
        self.1.disconnect();
        self.1.heal();
        answer.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_no_copy_has_yet_is_not_said_to_have_come_to_nothing() {
    let behind = Behind::start();
    let broker = nats::open(options(behind.1.url())).await.unwrap();
    let key = Key::parse("global.a").unwrap();
    let write =
        |to: u64, expect| Write { key: key.clone(), expect, value: Some(json!(to).into()), by: "c".into(), task: None };
    let Put::Applied(version) = broker.states.put(vec![write(1, Expect::Version(0))]).await.remove(0).unwrap() else {
        panic!("nobody else writes");
    };
    behind.is(names::STATE);
    let (states, second) = (broker.states.clone(), write(2, Expect::Version(version)));
    let put = behind.lose(&names::state("global.a"), async move { states.put(vec![second]).await.remove(0) }).await;
    assert!(matches!(put, Ok(Put::Unknown)), "{put:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_copy_has_yet_is_not_taken_for_anothers() {
    let behind = Behind::start();
    let broker = nats::open(options(behind.1.url())).await.unwrap();
    broker.tasks.submit(tasks(&broker, 1)).await.remove(0).unwrap();
    let Lease { fence, task, .. } = begun(&broker, 1).await.remove(0);
    behind.is(names::RUNS);
    let mut wire = behind.0.wire();
    wire.subscribe(&format!("$JS.API.STREAM.MSG.GET.{}", names::RUNS)).unwrap();
    let (all, last) = (broker.tasks.clone(), fence.last);
    let append = async move { all.append(fence, vec![step("one")], Vec::new()).await };
    let looked = async {
        tokio::task::block_in_place(|| wire.receive()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        behind.0.reload(&Behind::of("CB_NONE"));
    };
    let subject = names::record(&task.id, "step");
    let (appended, ()) = tokio::join!(behind.lose(&subject, append), looked);
    assert_eq!(appended.unwrap().last, last + 1);
}

/// As in a cluster whose servers do not agree yet whether a stream is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_no_server_answers_is_put_anew() {
    let elsewhere = |stream: &str| {
        let (from, to) = (format!("$JS.API.STREAM.INFO.{stream}"), "costs.unanswered");
        Config::text(&format!("mappings {{ \"{from}\": \"{to}\" }}"))
    };
    let server = Server::with(elsewhere(names::NODES));
    let mut wire = server.wire();
    wire.subscribe("costs.unanswered").unwrap();
    let opened = tokio::spawn(nats::open(options(server.url())));
    tokio::task::block_in_place(|| wire.receive()).unwrap();
    server.reload(&elsewhere("CB_NONE"));
    opened.await.unwrap().expect("the second question was answered");
}
