//! A node as the server's own tools see it: listed, asked and measured by plain requests.

use std::time::Duration;

use callboard::{Capability, Context, Error, Node, Result, Stateful, StatefulAgent, diag, stateful};
use callboard_broker::id::NodeName;
use callboard_broker::nats::service;
use callboard_tests::nats::Server;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::blobs::link;

async fn node(server: &Server, name: &str) -> Node {
    Node::on(server.url()).name(name).serve(diag::echo().workers(2)).start().await.unwrap()
}

#[tokio::test]
async fn it_is_listed_and_measured_as_a_micro_service() {
    let server = Server::start();
    let node = node(&server, "a").await;
    let link = link(&server).await;
    let asked = async |subject: &str| -> Value {
        let said = link.client.request(subject.to_owned(), "".into()).await.unwrap();
        serde_json::from_slice(&said.payload).unwrap()
    };
    assert_eq!(asked("$SRV.PING").await["metadata"]["node"], "a");
    let info = asked("$SRV.INFO.callboard-node").await;
    let endpoint = |told: &Value, name: &str| {
        told["endpoints"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!(endpoint(&info, "drain")["subject"], "cb.v1.ctl.a.drain");
    let echo = diag::Echo { text: "x".into(), delay_ms: 0, fail_times: 0, panic: false };
    node.ask(diag::ECHO, echo).await.unwrap();
    let stats = asked("$SRV.STATS.callboard-node").await;
    let served = endpoint(&stats, "diag-echo");
    assert_eq!((&served["num_requests"], &served["data"]["slots"]), (&json!(1), &json!(2)), "{served}");
    assert!(served["data"]["p95_ms"].is_number(), "{served}");
    node.shutdown().await.unwrap();
    let gone = link.client.request("$SRV.PING.callboard-node", "".into()).await;
    assert!(gone.is_err(), "a node that has left answers nothing");
}

#[tokio::test]
async fn verbs_take_json_or_nothing_and_refuse_in_headers() {
    let server = Server::start();
    let node = node(&server, "a").await;
    let link = link(&server).await;
    let name = NodeName::parse("a").unwrap();
    let info = service::ask(&link, &name, "info", Value::Null).await.unwrap();
    assert_eq!((&info["node"], &info["state"]), (&json!("a"), &json!("up")));
    let scaled = service::ask(&link, &name, "scale", json!({ "capability": "diag.echo", "workers": 3 })).await;
    assert_eq!(scaled.unwrap()["slots"], 3);
    assert!(matches!(service::ask(&link, &name, "fly", Value::Null).await, Err(Error::NotFound { .. })));
    assert!(matches!(service::ask(&link, &name, "scale", json!({})).await, Err(Error::Decode { .. })));
    let refused = link.client.request("cb.v1.ctl.a.scale", "no json".into()).await.unwrap();
    let headers = refused.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    assert!(headers.get("Nats-Service-Error").is_some());
    let nobody = service::ask(&link, &NodeName::parse("b").unwrap(), "info", Value::Null).await;
    assert!(matches!(nobody, Err(Error::NoRecipient { .. })), "{nobody:?}");

    // Asked to drain by hand, whoever waits for its end goes on.
    let ended = tokio::spawn(node.clone().until_ended());
    service::ask(&link, &name, "drain", Value::Null).await.unwrap();
    timeout(Duration::from_secs(60), ended).await.unwrap().unwrap().unwrap();
    assert!(service::nodes(&link).await.unwrap().is_empty());
}

/// A node that was called `inbox` answered all answers to questions with that it has no such verb.
#[tokio::test]
async fn what_any_node_is_asked_is_answered_once_whatever_a_node_is_called() {
    let server = Server::start();
    let link = link(&server).await;
    for (name, verb, body) in [
        ("inbox", "answer", json!({ "task": "t1", "answer": "yes", "by": "ann" })),
        ("task", "cancel", json!({ "task": "t1" })),
        ("dead", "retry", json!({ "seq": 1 })),
    ] {
        let node = node(&server, name).await;
        let ask = || link.client.request(format!("cb.v1.ctl.{name}.{verb}"), body.to_string().into());
        // Until it listens there.
        let listens = async { while ask().await.is_err() {} };
        timeout(Duration::from_secs(60), listens).await.unwrap();
        for _ in 0..20 {
            let said = String::from_utf8_lossy(&ask().await.unwrap().payload).into_owned();
            assert!(!said.contains("no verb"), "{name}: {said}");
        }
        let info = service::ask(&link, &NodeName::parse(name).unwrap(), "info", Value::Null).await.unwrap();
        assert_eq!(info["node"], name);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_size_that_is_put_into_the_bucket_by_hand_is_taken() {
    let server = Server::start();
    let node = node(&server, "a").await;
    let mut tree = node.tree_events();
    let link = link(&server).await;
    let slots = |node: &Node| node.agents()[0].1["slots"].clone();
    assert_eq!(slots(&node), 2);
    link.client.request("$KV.cb_shared.pool.diag-echo", "5".into()).await.unwrap();
    let grown = async {
        while slots(&node) != 5 {
            let _ = tree.next().await;
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), grown).await.unwrap();
    node.shutdown().await.unwrap();
    // One that comes later finds it.
    let again = self::node(&server, "b").await;
    assert_eq!(slots(&again), 5);
    again.shutdown().await.unwrap();
}

/// Serves two capabilities with the same workers.
struct Both;

const ONE: Capability<String, u32> = Capability::new("both.one");
const OTHER: Capability<String, u32> = Capability::new("both.other");

impl Stateful for Both {
    type State = u32;
}

impl StatefulAgent<String, u32> for Both {
    async fn handle(&self, _ctx: Context, visits: &mut u32, _: String) -> Result<u32> {
        *visits += 1;
        Ok(*visits)
    }
}

#[tokio::test]
async fn a_pool_of_two_capabilities_has_the_size_that_is_asked_for_either() {
    let server = Server::start();
    let link = link(&server).await;
    for (entry, workers) in [("both-one", 5), ("both-other", 7)] {
        link.client.request(format!("$KV.cb_shared.pool.{entry}"), workers.to_string().into()).await.unwrap();
        let both = stateful(Both).on_key(ONE, String::clone).on_key(OTHER, String::clone).service();
        let node = Node::on(server.url()).name("a").serve(both.workers(2)).start().await.unwrap();
        let pools: Vec<_> = node.agents().into_iter().map(|(_, figures)| figures["workers"].clone()).collect();
        assert!(pools.contains(&json!(workers)), "{entry}: {pools:?}");
        node.shutdown().await.unwrap();
    }
}
