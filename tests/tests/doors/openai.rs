//! OpenAI's own clients, unmodified, use a team as a model.

use std::process::Command;
use std::time::{Duration, Instant};

use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use callboard_tests::{javascript, programs, python};
use serde_json::Value;

use crate::kit::{Door, KEY, callboard};

/// How long a run may take to end once its caller has gone.
const PATIENCE: Duration = Duration::from_secs(60);

fn in_python(door: &Door) -> Child {
    let script = python::script("tests/python/openai_door.py");
    Child::start(Command::new(python::interpreter()).arg(script).args([&door.url, KEY]))
}

/// The status of a run, as a person sees it.
fn status(door: &Door, run: &str) -> String {
    let store = door.folder.path().join("main.db");
    let mut show = callboard(door.folder.path());
    let shown = show.args(["task", "show", run, "--json", "--store"]).arg(store).output().expect("it runs");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    shown["status"].as_str().unwrap_or_default().to_owned()
}

/// Waits until a node can be asked.
fn until_there(server: &Server, name: &str) {
    let (home, until) = (tempfile::tempdir().expect("a folder"), Instant::now() + PATIENCE);
    loop {
        let mut list = callboard(home.path());
        let listed = list.args(["node", "ls", "--json", "--broker", &server.url()]).output().expect("it runs");
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        if listed.as_array().is_some_and(|nodes| nodes.iter().any(|node| node["node"] == name && node["state"] == "up"))
        {
            return;
        }
        assert!(Instant::now() < until, "{listed}");
    }
}

#[test]
fn the_python_client_streams_an_answer_of_the_team_and_hears_errors() {
    let door = Door::on_a_store(&["--limit", "20s"]);
    let mut client = in_python(&door);
    for step in ["models", "whole", "stream", "file", "errors", "failing_stream"] {
        if !client.says(step) {
            panic!("{step}: {:?}", client.end());
        }
    }
    let left = client.word().unwrap_or_else(|| panic!("it left nothing"));
    let run = left.strip_prefix("left ").unwrap_or_else(|| panic!("{left}"));
    let until = Instant::now() + PATIENCE;
    while status(&door, run) != "cancelled" {
        assert!(Instant::now() < until, "{run} is {}", status(&door, run));
        std::thread::yield_now();
    }
    let ended = client.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    door.close();
}

#[test]
fn the_javascript_client_streams_an_answer_of_the_team() {
    let door = Door::on_a_store(&[]);
    let client = Child::start(javascript::script("openai_door.mjs").args([&door.url, KEY]));
    door.says(client, &["stream", "whole", "errors"]);
    door.close();
}

#[test]
fn a_door_beside_the_nodes_of_a_broker_does_the_same() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(programs::callboard());
    command.args(["node", "start", "--name", "a", "--team", "research", "--serve", "diag.echo=4"]);
    let node = Child::start(command.args(["--broker", &server.url()]).env("HOME", folder.path()));
    until_there(&server, "a");
    let door = Door::on_a_broker(&server.url(), &["--limit", "20s"]);
    door.says(in_python(&door), &["models", "whole", "stream", "file", "errors", "failing_stream"]);
    door.close();
    node.terminate();
    assert_eq!(node.end().code, Some(0));
}
