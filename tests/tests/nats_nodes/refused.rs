//! A node that its server no longer takes: it ends, with the reason, instead of looking alive for ever.

use std::time::Duration;

use callboard::{Node, diag};
use callboard_broker::error::Error;
use callboard_tests::nats::{Config, Server};

fn accounts(users: &[&str]) -> Config {
    let users: Vec<String> = users.iter().map(|user| format!("{{ user: {user}, password: p }}")).collect();
    Config::text(&format!("authorization {{ users = [ {} ] }}", users.join(", ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_credentials_are_taken_back_ends_and_says_so() {
    let server = Server::with(accounts(&["worker", "other"]));
    let node = Node::on(server.url_as("worker", "p")).name("one").serve(diag::echo()).start().await.unwrap();
    let ended = tokio::spawn(node.until_ended());
    server.reload(&accounts(&["other"]));
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends").unwrap();
    let error = ended.expect_err("a process that ends for this fails");
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("its credentials are no longer accepted"), "{error}");
}
