//! What the nodes of a broker share of their models, on each wing.

use std::sync::Arc;

use callboard::agents::testing::Script;
use callboard::broker::{Broker, memory, nats, sqlite};
use callboard::llm::{Cache, CacheConfig, CachePlace, Cached, Model, Response};
use callboard_broker::id::NodeName;
use callboard_tests::nats::Server;

/// A connection of its own to this server.
pub(super) async fn connected(server: &Server, name: &str) -> Broker {
    let name = NodeName::parse(name).unwrap();
    nats::open(nats::Options { servers: vec![server.url()], ..nats::Options::new(name) }).await.unwrap()
}

/// A node that asks for what nobody knows yet, and how often it asked.
async fn asks(broker: &Broker, name: &str, questions: &[&str]) -> usize {
    let script = Script::by(|request| Ok(Response::text(format!("an answer to {}", request.messages[0].text))));
    let config = CacheConfig { place: CachePlace::Store, entries: 3, ..CacheConfig::default() };
    let cache = Cache::in_store(config, broker.clock.clone(), broker.states.clone(), name);
    let model = Cached::new(Arc::new(script.clone()), Arc::new(cache), Arc::default());
    for question in questions {
        let answer = model.complete(&(*question).into()).await.unwrap();
        assert_eq!(answer.text, format!("an answer to {question}"));
    }
    script.asked().len()
}

/// The first asks for three; the second finds two of them, and what it asks for itself pushes out the one that nobody
/// found; the third finds what is left.
async fn found(first: &Broker, second: &Broker, third: &Broker) {
    assert_eq!(asks(first, "a", &["1?", "2?", "3?"]).await, 3);
    assert_eq!(asks(second, "b", &["1?", "3?", "4?"]).await, 1);
    assert_eq!(asks(third, "c", &["1?", "3?", "4?"]).await, 0);
    assert_eq!(asks(first, "d", &["2?"]).await, 1);
    assert_eq!(third.states.list("global.callboard-answers".into()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_answer_is_found_by_others_in_memory() {
    let broker = memory::open(memory::Options::default());
    found(&broker, &broker, &broker).await;
}

#[tokio::test]
async fn an_answer_is_found_by_the_next_process_over_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let open = || sqlite::open(folder.path().join("store"), sqlite::Options::default()).unwrap();
    assert_eq!(asks(&open(), "a", &["1?", "2?", "3?"]).await, 3);
    assert_eq!(asks(&open(), "b", &["1?", "3?", "4?"]).await, 1);
    assert_eq!(asks(&open(), "c", &["1?", "3?", "4?", "2?"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_found_by_other_nodes_of_a_broker() {
    let server = Server::start();
    let [first, second, third] =
        [connected(&server, "a").await, connected(&server, "b").await, connected(&server, "c").await];
    found(&first, &second, &third).await;
}
