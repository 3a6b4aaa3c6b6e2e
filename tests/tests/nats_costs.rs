//! What a node asks of its server for what it does, counted on the wire.

use std::time::Instant;

use callboard_broker::error::Error;
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::nats::{self, Layout, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_broker::{Broker, nats::names};
use callboard_tests::nats::{Message, Server, Wire};

/// Said when all has been asked.
const END: &str = "costs.end";

async fn opened(server: &Server, max_tasks: u64) -> Broker {
    let layout = Layout { max_tasks, ..Layout::default() };
    let options = Options { servers: vec![server.url()], layout, ..Options::new(NodeName::parse("n").unwrap()) };
    nats::open(options).await.unwrap()
}

fn tasks(broker: &Broker, many: usize) -> Vec<Task> {
    let capability = CapabilityName::parse("test.costs").unwrap();
    let task = |_| Task::root(RunId::fresh(), capability.clone(), Payload::of(1), broker.clock.now());
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
