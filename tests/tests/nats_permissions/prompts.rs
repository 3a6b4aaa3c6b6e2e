//! The outside door between accounts: the vendor's client prompts a node with what a client may, and nothing of the
//! answer is lost on its way back.

use std::process::Command;

use callboard::Node;
use callboard::config::Config;
use callboard_broker::nats::{Layout, provision};
use callboard_broker::subject::CapabilityName;
use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use callboard_tests::python;

use super::{link, server};

fn name(text: &str) -> CapabilityName {
    CapabilityName::parse(text).unwrap()
}

/// The node `a` with all that it may serve, two of it public.
fn config(server: &Server) -> Config {
    let teams = vec!["research".into()];
    Config { teams, serve: [(name("diag.echo"), 2)].into(), ..named(server, &["executive", "diag.echo"]) }
}

/// The node `a`, with what is public of what it serves.
pub(crate) fn named(server: &Server, public: &[&str]) -> Config {
    let mut config = Config { name: Some("a".into()), owner: Some("acme".into()), ..Config::default() };
    config.public = public.iter().map(|text| name(text)).collect();
    config.broker.servers = vec![server.url()];
    config.broker.user = Some("a".into());
    config.broker.password = Some("secret-a".into());
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_account_prompts_a_node_with_what_it_may() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let url = server.url_as("client", "secret-client");
    // Not `figures`: a client may not ask for them.
    let steps = ["find", "words", "request", "attachment", "broken", "failing", "alive"];
    let script = python::script("tests/python/prompt.py");
    let mut client = Child::start(Command::new(python::interpreter()).arg(script).arg(url).args(steps));
    assert!(client.says("listening"), "{:?}", client.end());
    let node = Node::configured(config(&server)).start().await.unwrap();
    for step in steps {
        assert!(client.says(step), "{step}: {:?}", client.end());
    }
    assert_eq!(client.end().code, Some(0));
    node.shutdown().await.unwrap();
}
