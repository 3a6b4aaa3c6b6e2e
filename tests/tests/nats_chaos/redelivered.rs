//! What the server hands out twice, or to somebody who never begins, staged without a fault.

use std::time::Duration;

use callboard_broker::id::{NodeName, TaskId};
use callboard_broker::nats::{self, Options, Wing};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status};
use callboard_broker::tasks::{Claim, Finish, Lease, Recorded};
use callboard_tests::nats::{Proxy, Server, Wire, recorded};
use serde_json::{Value, json};

use super::fleet::WORK;
use super::{client, submit};

/// The consumer of the tasks here.
const CONSUMER: &str = "CB_TASKS.cap-work-sleep-normal";

async fn join(url: String, name: &str) -> Wing {
    nats::connect(Options { servers: vec![url], ..Options::new(NodeName::parse(name).unwrap()) }).await.unwrap()
}

async fn claim(wing: &Wing, wait: Duration) -> Vec<Lease> {
    let claim = Claim {
        capability: CapabilityName::parse(WORK).unwrap(),
        node: wing.link.node.clone(),
        slots: 1,
        bulk: 1,
        declined: Vec::new(),
        serving: None,
        wait,
    };
    wing.broker.tasks.claim(claim).await.unwrap()
}

async fn finish(wing: &Wing, lease: &Lease) -> Recorded {
    let now = wing.broker.clock.now();
    let outcome = Outcome { output: Payload::of(1), ..Outcome::of(&lease.task, Status::Completed, None, now) };
    let turn = Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome, dead: None };
    wing.broker.tasks.finish(vec![turn]).await.remove(0).unwrap()
}

/// Takes the next message as somebody who does nothing with it; its subject.
fn pull(wire: &mut Wire) -> String {
    let ask = json!({ "batch": 1, "expires": 5_000_000_000_u64 }).to_string();
    wire.request(&format!("$JS.API.CONSUMER.MSG.NEXT.{CONSUMER}"), ask.as_bytes()).unwrap().subject
}

async fn stored(server: &Server) -> TaskId {
    submit(client(server.url()).await, vec![1]).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_was_on_its_way_when_a_connection_broke_is_begun() {
    let server = Server::start();
    let proxy = Proxy::to(&server.address());
    let node = join(proxy.url(), "a").await;
    assert!(claim(&node, Duration::ZERO).await.is_empty(), "nothing is there yet");
    let task = stored(&server).await;
    assert_eq!(pull(&mut server.wire()), format!("cb.v1.task.work-sleep.normal.{task}"));
    proxy.disconnect();
    // The server itself would hand it out again after 30 s.
    let leases = claim(&node, Duration::from_secs(10)).await;
    assert_eq!(leases.iter().map(|lease| &lease.task.id).collect::<Vec<_>>(), [&task]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_again_does_not_end_the_claim_of_a_node_that_is_well() {
    let server = Server::start();
    let (one, two) = (join(server.url(), "a").await, join(server.url(), "b").await);
    stored(&server).await;
    let lease = claim(&one, Duration::from_secs(10)).await.remove(0);
    let mut wire = server.wire();
    let info = wire.ask(&format!("$JS.API.CONSUMER.INFO.{CONSUMER}"), &Value::Null).unwrap();
    let (seq, delivered) = (&info["delivered"]["stream_seq"], &info["delivered"]["consumer_seq"]);
    wire.publish(&format!("$JS.ACK.{CONSUMER}.1.{seq}.{delivered}.0.0"), b"-NAK").unwrap();
    assert!(claim(&two, Duration::from_secs(1)).await.is_empty(), "it is held");
    assert_eq!(finish(&one, &lease).await, Recorded::New);
    assert_eq!(recorded::queued(&mut wire), 0, "its holder has acknowledged it");
}
