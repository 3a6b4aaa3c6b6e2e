//! The client of Synadia's own SDK, unmodified, finds a node, prompts it and hears when something is wrong.

use std::process::Command;
use std::time::Duration;

use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use callboard_tests::{programs, python};

const STEPS: [&str; 9] =
    ["listening", "find", "words", "request", "attachment", "broken", "failing", "alive", "figures"];
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_vendors_client_finds_prompts_and_hears_errors() {
    // Built before anybody waits for it.
    let program = programs::callboard();
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let script = python::script("tests/python/prompt.py");
    let mut client = Child::start(Command::new(python::interpreter()).arg(script).arg(server.url()));
    let mut steps = STEPS.iter();
    // Before the node begins to give signs of life.
    assert!(steps.next().is_some_and(|step| client.says(step)), "{:?}", client.end());
    let mut command = Command::new(program);
    command.args(["node", "start", "--name", "a", "--team", "research", "--serve", "diag.echo=2"]);
    command.args(["--public", "executive", "diag.echo", "--owner", "acme", "--broker", &server.url()]);
    let mut node = Child::start(command.env("HOME", folder.path()));
    for step in steps {
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
