//! People between accounts: an operator answers with our program and with a plain request, and whoever prompts a node is
//! asked back with what a client may.

use std::process::Command;

use callboard::human::{CALLER, Question};
use callboard::{Capability, Context, Node};
use callboard_broker::nats::{Layout, provision};
use callboard_tests::process::Child;
use callboard_tests::{programs, python};
use serde_json::json;

use super::prompts::named;
use super::{link, server, wire};

/// One that the node `a` may serve.
const ORDER: Capability<String, String> = Capability::new("research.web");

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_answers_and_a_client_is_asked_back() {
    let program = programs::callboard();
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let agent = ORDER.by_fn(|ctx: Context, what: String| async move {
        let which: String = ctx.human(Question::new("which one?")).queue(CALLER).await?;
        Ok(format!("{what}: {which}"))
    });
    let node = Node::configured(named(&server, &["research.web"])).serve(agent).start().await.unwrap();

    let url = server.url_as("client", "secret-client");
    let script = python::script("tests/python/people.py");
    let mut client = Child::start(Command::new(python::interpreter()).arg(script).args([&url, "asked_back"]));
    assert!(client.says("asked_back"), "{:?}", client.end());
    assert_eq!(client.end().code, Some(0));

    let mut operator = wire(&server, "operator");
    for id in ["q1", "q2"] {
        let question = json!({ "input": { "question": "ship it?", "choices": ["yes", "no"] } });
        operator.ask(&format!("cb.v1.task.human-default.normal.{id}"), &question).unwrap();
    }
    let answer =
        operator.ask("cb.v1.ctl.inbox.answer", &json!({ "task": "q1", "answer": "yes", "by": "ann" })).unwrap();
    assert_eq!(answer["recorded"], "new", "{answer}");
    let folder = tempfile::tempdir().unwrap();
    let cli = |answer: &str| {
        let mut command = Command::new(&program);
        command.args(["inbox", "answer", "q2", answer, "--as", "bob", "--broker", &server.url()]);
        command.env("CALLBOARD_USER", "operator").env("CALLBOARD_PASSWORD", "secret-operator");
        command.env("HOME", folder.path()).output().unwrap()
    };
    let answered = cli("no");
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
    let second = cli("yes");
    assert!(String::from_utf8_lossy(&second.stderr).contains("was answered by bob"), "{second:?}");
    node.shutdown().await.unwrap();
}
