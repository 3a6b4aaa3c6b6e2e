//! What people do to a broker by hand: streams that they have made to their measure, tasks that they put into the queue.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Layout, Link, Options, provision, service};
use callboard_broker::subject::CapabilityName;
use callboard_broker::tasks::Claim;
use callboard_tests::nats::Server;
use serde_json::{Value, json};

fn options(server: &Server, name: &str) -> Options {
    Options { servers: vec![server.url()], ..Options::new(NodeName::parse(name).unwrap()) }
}

async fn config(server: &Server, stream: &str) -> Value {
    let mut wire = server.wire();
    wire.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).unwrap()["config"].clone()
}

#[tokio::test]
async fn a_node_leaves_streams_as_their_operator_has_made_them() {
    let server = Server::start();
    let link = Link::connect(&options(&server, "deploy")).await.unwrap();
    let layout = Layout { event_days: 7, max_tasks: 5, ..Layout::default() };
    provision::provision(&link, &layout).await.unwrap();
    let before = (config(&server, "CB_EVENTS").await, config(&server, "CB_TASKS").await);

    nats::open(options(&server, "a")).await.unwrap();
    assert_eq!((config(&server, "CB_EVENTS").await, config(&server, "CB_TASKS").await), before);

    // What is missing is made, and nothing else.
    server.wire().ask("$JS.API.STREAM.DELETE.CB_DEAD", &json!({})).unwrap();
    nats::open(options(&server, "b")).await.unwrap();
    assert_eq!(config(&server, "CB_DEAD").await["name"], "CB_DEAD");
    assert_eq!((config(&server, "CB_EVENTS").await, config(&server, "CB_TASKS").await), before);
}

#[tokio::test]
async fn a_task_under_a_name_that_is_none_is_kept_as_a_dead_letter_and_leaves_the_queue() {
    let server = Server::start();
    let broker = nats::open(options(&server, "a")).await.unwrap();
    let mut wire = server.wire();
    for name in ["my_task", "not ours/but possible".replace(' ', "-").as_str()] {
        let ack = wire.ask(&format!("cb.v1.task.x.normal.{name}"), &json!({ "input": 1 })).unwrap();
        assert!(ack["error"].is_null(), "{ack}");
    }
    let claim = Claim {
        capability: CapabilityName::parse("x").unwrap(),
        slots: 4,
        bulk: 4,
        node: NodeName::parse("a").unwrap(),
        wait: Duration::ZERO,
        declined: Vec::new(),
        serving: None,
    };
    assert!(broker.tasks.claim(claim).await.unwrap().is_empty());
    let letters = broker.dead.list(0, 10).await.unwrap();
    let kept: Vec<_> = letters.iter().map(|one| (one.reason, one.to.as_str(), one.body.value().unwrap())).collect();
    let body = json!({ "input": 1 });
    assert_eq!(
        kept,
        [(Reason::Undecodable, "my_task", body.clone()), (Reason::Undecodable, "not-ours/but-possible", body),]
    );
    let queue = wire.ask("$JS.API.STREAM.INFO.CB_TASKS", &json!({})).unwrap();
    assert_eq!(queue["state"]["messages"], 0, "{queue}");
}

#[tokio::test]
async fn a_priority_that_is_none_is_refused_at_the_door() {
    let server = Server::start();
    let _broker = nats::open(options(&server, "a")).await.unwrap();
    let refused = server.wire().ask("cb.v1.task.x.soon.t1", &json!({ "input": 1 }));
    assert!(refused.is_err(), "{refused:?}");
}

/// Whoever may configure a stream or a consumer can have it speak on any subject.
#[tokio::test]
async fn what_comes_by_way_of_a_stream_is_neither_a_message_nor_a_command() {
    let server = Server::start();
    let wing = nats::connect(options(&server, "b")).await.unwrap();
    let (obeyed, mut heard) = tokio::sync::mpsc::channel(8);
    let answer: service::Answer = Arc::new(move |verb, _| {
        obeyed.try_send(verb).unwrap();
        Box::pin(async { Ok(json!("done")) })
    });
    let desk = service::Desk { verbs: vec!["drain".into(), "info".into()], answer, figures: Arc::new(Vec::new) };
    let _control = service::Control::start(wing.link.clone(), desk).await.unwrap();

    let mut wire = server.wire();
    let detour = json!({"name": "DETOUR", "subjects": ["detour.>"], "storage": "memory",
        "republish": {"src": "detour.lane", "dest": "cb.v1.lane.b.a"}});
    assert!(wire.ask("$JS.API.STREAM.CREATE.DETOUR", &detour).unwrap()["error"].is_null());
    wire.ask("detour.lane", &json!("forged")).unwrap();
    for dest in ["cb.v1.ctl.b.drain", "cb.v1.ctl.b.x"] {
        let consumer =
            json!({"stream_name": "DETOUR", "config": {"deliver_subject": dest, "filter_subject": "detour.drain"}});
        assert!(wire.ask("$JS.API.CONSUMER.CREATE.DETOUR", &consumer).unwrap()["error"].is_null());
    }
    wire.ask("detour.drain", &json!({})).unwrap();

    // What is asked in the end is heard first, and nothing before it.
    let node = NodeName::parse("b").unwrap();
    assert_eq!(service::ask(&wing.link, &node, "info", json!(null)).await.unwrap(), json!("done"));
    assert_eq!(heard.recv().await.unwrap(), "info");
    let letters = wing.broker.dead.list(0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason, letters[0].from.as_str()), (1, Reason::Spoofed, "a"));
    assert!(letters[0].error.as_ref().unwrap().contains("by way of a stream"), "{letters:?}");
}
