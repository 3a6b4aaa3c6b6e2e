//! People on a broker without our programs: answers by a plain request, questions to whoever prompts a node by the client
//! of Synadia's own SDK, and a schedule that is put into the state by hand.
#![cfg(unix)]

use std::process::Command;
use std::time::{Duration, Instant};

use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use callboard_tests::{programs, python};

const STEPS: [&str; 4] = ["answer_by_request", "query", "query_answered_elsewhere", "schedule_by_hand"];
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn people_need_nothing_but_a_client_of_the_server() {
    // Built before anybody waits for it.
    let program = programs::callboard();
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(program);
    command.args(["node", "start", "--name", "a", "--serve", "diag.relay=4", "--public", "diag.relay"]);
    command.args(["--owner", "acme", "--broker", &server.url()]);
    let mut node = Child::start(command.env("HOME", folder.path()));
    let (mut wire, begun) = (server.wire(), Instant::now());
    // Before it is there nobody answers.
    while wire.request("cb.v1.ctl.a.info", b"").is_err() {
        assert!(begun.elapsed() < PATIENCE, "the node does not answer");
    }
    let script = python::script("tests/python/people.py");
    let mut client = Child::start(Command::new(python::interpreter()).arg(script).arg(server.url()));
    for step in STEPS {
        if !client.says(step) {
            node.terminate();
            panic!("{step}: {:?}\n{:?}", client.end(), node.end());
        }
    }
    let ended = client.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    node.terminate();
    assert!(node.ends_within(PATIENCE), "it drains");
    assert_eq!(node.end().code, Some(0));
}
