//! Nodes that come and go under ever new names: those that are there still find each other among what the others have left
//! behind, and that goes by itself.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::id::NodeName;
use callboard_broker::messages::{Address, DeadMessages, Message, Messages};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{self, Layout, Link, Made, Options, Wing, names, provision, service};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_tests::nats::{Server, Wire};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(60);
/// More than the server gives of one kind in one answer.
const MANY: usize = 1_100;
/// More lanes than a node has in use.
const LANES: usize = 4_096;
/// What is kept of a node that did not say that it goes.
const DAY: &str = "Nats-TTL: 86400s";

fn options(server: &Server, name: &str) -> Options {
    Options { servers: vec![server.url()], ..Options::new(NodeName::parse(name).unwrap()) }
}

async fn joined(server: &Server, name: &str) -> Wing {
    nats::connect(options(server, name)).await.unwrap()
}

fn capability(name: &str) -> CapabilityName {
    CapabilityName::parse(name).unwrap()
}

fn clerk(name: &str) -> Address {
    Address::Agent(name.into())
}

fn message(to: &Address) -> Message {
    Message {
        to: to.clone(),
        capability: capability("x"),
        from: "asker".into(),
        body: Payload::of(1),
        deadline: Instant::now() + LONG,
        run: None,
        hops: Vec::new(),
        traceparent: None,
    }
}

/// What somebody serves, or has served, who may be there.
fn says(name: &str) -> Vec<u8> {
    json!({ "boot": 7, "capabilities": { "left.behind": 1 }, "agents": [name] }).to_string().into_bytes()
}

fn present(name: &str) -> Vec<u8> {
    json!({ "node": name, "boot": 7, "since": 1, "state": "up" }).to_string().into_bytes()
}

/// The headers of the entry that says what a node serves, while there is one.
fn entry(wire: &mut Wire, node: &str) -> Option<String> {
    let ask = format!("$JS.API.DIRECT.GET.{}.{}", names::SHARED, names::served(node));
    let answer = wire.request(&ask, b"").unwrap();
    (!answer.headers.contains("NATS/1.0 404")).then_some(answer.headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_more_have_left_behind_than_one_answer_holds_hides_nobody() {
    let server = Server::start();
    let a = joined(&server, "a").await;
    let mut wire = server.wire();
    for n in 0..MANY {
        wire.publish(&names::served(&format!("gone{n}")), &says("nobody")).unwrap();
        wire.publish(&names::pool(&capability("x"), Some(&NodeName::parse(&format!("gone{n}")).unwrap())), b"3")
            .unwrap();
    }
    let _inbox = a.messages.serve(Address::Capability(capability("diag.x")), 1);
    let served = async {
        while !service::served(&a.link).await.unwrap().contains("diag.x") {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, served).await.expect("a client sees what a serves");
    assert!(!service::served(&a.link).await.unwrap().contains("left.behind"));
    let (sizes, _) = service::sizes(&a.link).await.unwrap();
    assert_eq!(sizes.of(&capability("x"), &NodeName::parse("gone7").unwrap()), Some(3));

    // It has said all that it says before b is there, and does not hear of b.
    wire.publish(&names::served("zoe"), &says("zoe")).unwrap();
    wire.publish(&names::presence("zoe"), &present("zoe")).unwrap();
    let b = joined(&server, "b").await;
    assert!(b.messages.is_served(&clerk("zoe")), "b has read what was said before");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_nodes_than_one_answer_holds_are_all_seen() {
    let server = Server::start();
    let link = joined(&server, "a").await.link;
    let mut wire = server.wire();
    let seen = async {
        loop {
            for n in 0..MANY {
                wire.publish(&names::presence(&format!("n{n}")), &present(&format!("n{n}"))).unwrap();
            }
            // On a slow machine the first are too old already.
            let nodes = service::nodes(&link).await.unwrap();
            if nodes.iter().filter(|one| one.boot == 7).count() == MANY {
                return nodes;
            }
        }
    };
    let nodes = timeout(LONG, seen).await.expect("all are there");
    assert!(nodes.windows(2).all(|two| two[0].node.as_str() < two[1].node.as_str()), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_served_goes_with_it_and_of_one_that_says_nothing_a_day_later() {
    let server = Server::start();
    let (a, b) = (joined(&server, "a").await, joined(&server, "b").await);
    let mut wire = server.wire();
    wire.publish(&names::pool(&capability("x"), None), b"3").unwrap();
    for node in ["a", "b"] {
        let headers = entry(&mut wire, node).expect("it has said what it serves");
        assert!(headers.contains(DAY), "{headers}");
    }
    a.messages.leave().await;
    let gone = async {
        while entry(&mut wire, "a").is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, gone).await.expect("the server removes it");
    assert!(entry(&mut wire, "b").is_some(), "who is there has said so");
    let info = wire.ask(&format!("$JS.API.STREAM.INFO.{}", names::SHARED), &Value::Null).unwrap();
    assert_eq!(info["state"]["messages"], 2, "what b serves and what people set: {info}");
    drop(b);
}

/// The time of the test is that of its thread, so it goes on faster for nobody else; by so much at a time that each sign of
/// life of the connection is answered.
#[tokio::test]
async fn who_is_there_says_what_it_serves_again_before_that_is_too_old() {
    const STEP: Duration = Duration::from_secs(5);
    let server = Server::start();
    let a = joined(&server, "a").await;
    let mut wire = server.wire();
    while entry(&mut wire, "a").is_none() {
        tokio::task::yield_now().await;
    }
    let (began, mut notices) = (Instant::now(), a.link.notices());
    wire.subscribe(&names::served("a")).unwrap();
    while began.elapsed() < Duration::from_secs(3_610) {
        tokio::time::pause();
        tokio::time::advance(STEP).await;
        tokio::time::resume();
        service::nodes(&a.link).await.unwrap();
    }
    assert!(notices.try_recv().is_err(), "a connection that comes back is another reason to say it");
    let said = tokio::task::spawn_blocking(move || wire.receive()).await.unwrap().expect("it is said again");
    assert!(said.headers.contains(DAY), "{}", said.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_under_one_name_the_later_has_the_last_word() {
    let server = Server::start();
    let a = joined(&server, "a").await;
    let (mut wire, mut other) = (server.wire(), server.wire());
    let (served, presence) = (names::served("a"), names::presence("a"));
    wire.subscribe(&served).unwrap();
    other.publish(&served, &says("a")).unwrap();
    let said: Vec<Value> = (0..2).map(|_| serde_json::from_slice(&wire.receive().unwrap().payload).unwrap()).collect();
    assert_eq!((said[0]["boot"].as_u64(), said[1]["boot"].as_u64()), (Some(7), Some(a.link.boot.into())));

    let later = json!({ "node": "a", "boot": 7, "since": u64::MAX, "state": "up" }).to_string();
    other.publish(&presence, later.as_bytes()).unwrap();
    timeout(LONG, a.messages.replaced()).await.unwrap();
    let mut wire = server.wire();
    for subject in [&served, &presence, "names.end"] {
        wire.subscribe(subject).unwrap();
    }
    other.publish(&served, &says("a")).unwrap();
    a.messages.leave().await;
    other.publish("names.end", b"").unwrap();
    let heard = [wire.receive().unwrap().subject, wire.receive().unwrap().subject];
    assert_eq!(heard, [served.as_str(), "names.end"], "and the earlier one takes its leave without one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_keeps_everything_for_ever_is_put_right_by_who_may() {
    let server = Server::start();
    let kept = json!({
        "name": names::SHARED, "subjects": ["$KV.cb_shared.>"], "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": true, "allow_direct": true, "duplicate_window": 120_000_000_000_u64,
    });
    let made = server.wire().ask(&format!("$JS.API.STREAM.CREATE.{}", names::SHARED), &kept).unwrap();
    assert!(made["error"].is_null(), "{made}");
    let refused = nats::open(options(&server, "a")).await.expect_err("it is not as it should be").to_string();
    assert!(refused.contains("allow_msg_ttl") && refused.contains("callboard provision"), "{refused}");
    let link = Link::connect(&options(&server, "deploy")).await.unwrap();
    let report = provision::refresh(&link, &Layout::default(), provision::Asked::default()).await.unwrap();
    assert!(report.streams.contains(&(names::SHARED.to_owned(), Made::Updated)), "{report:?}");
    joined(&server, "a").await;
}

#[derive(Debug)]
struct Nobody;

impl DeadMessages for Nobody {
    fn bury(&self, _: &Message, _: Reason, _: &str) {}
}

async fn started(server: &Server, name: &str) -> Arc<NatsMessages> {
    let link = Link::connect(&options(server, name)).await.unwrap();
    NatsMessages::start(Arc::new(link), Arc::new(Nobody)).await.unwrap()
}

/// Tells it to somebody who is not known yet, or for whom there is no room yet.
async fn told(node: &NatsMessages, to: &Address) {
    let telling = async {
        while let Err(error) = node.tell(vec![message(to)]).await.remove(0) {
            tracing::trace!(%error, "not yet");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, telling).await.expect("it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_node_has_talked_to_takes_no_place_of_those_who_come_after() {
    let server = Server::start();
    let a = started(&server, "a").await;
    let inbox = a.serve(clerk("a"), 2 * LANES);
    let mut wire = server.wire();
    wire.subscribe("cb.v1.lane.a.x").unwrap();
    let x = started(&server, "x").await;
    told(&x, &clerk("a")).await;
    let frame = wire.receive().unwrap().payload;
    for n in 0..LANES {
        wire.publish(&format!("cb.v1.lane.a.n{n}"), &frame).unwrap();
    }
    let taken = async {
        for _ in 0..LANES {
            inbox.consume(LONG).await.expect("each of them was heard");
        }
    };
    timeout(LONG, taken).await.expect("it hears them all");
    let b = started(&server, "b").await;
    let late = b.serve(clerk("b"), 1);
    told(&a, &clerk("b")).await;
    assert!(late.consume(LONG).await.is_some());
    // Who rested goes on where it was.
    told(&x, &clerk("a")).await;
    assert!(inbox.consume(LONG).await.is_some());
    assert!(a.lanes().frames.1 > LANES as u64, "{:?}", a.lanes());
}
