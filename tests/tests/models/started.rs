//! The program, told by its command line, its environment or a file which model it asks.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use callboard_tests::llm::Mock;
use callboard_tests::process::Child;
use callboard_tests::{programs, python};
use serde_json::{Value, json};

use super::folder;

const MILL: &str = "The old mill of Gera was built in 1843 by Braun.\n";
/// How long a node may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
const QUESTION: &str = "Who built the old mill of Gera?";

/// The program in a folder of its own, without any setting of whoever runs these tests.
fn callboard(home: &Path) -> Command {
    let mut command = Command::new(programs::callboard());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CALLBOARD_")) {
        command.env_remove(name);
    }
    command.current_dir(home).env("HOME", home).env_remove("XDG_DATA_HOME");
    command
}

fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

/// How often the model was asked.
fn asked(mock: &Mock) -> u64 {
    mock.requests()["count"].as_u64().expect("it counts")
}

#[test]
fn a_run_asks_the_model_of_its_line_or_of_its_environment_and_none_without() {
    let (mock, notes, home) = (Mock::start(&[]), folder(MILL), tempfile::tempdir().expect("a folder"));
    let run = |more: &[&str], variables: &[(&str, &str)]| {
        let mut command = callboard(home.path());
        command.args(["--store", "memory", "run", "--ask", QUESTION, "--sources"]).arg(notes.path()).args(more);
        let before = asked(&mock);
        let said = output(command.envs(variables.iter().copied()));
        assert!(said.contains("1843"), "{said}");
        asked(&mock) - before
    };
    assert_eq!(run(&[], &[]), 0);
    assert!(run(&["--model", "openai/mock", "--model-url", &mock.url()], &[]) > 0);
    let variables = [("CALLBOARD_MODEL", "openai/mock"), ("CALLBOARD_MODEL_URL", &mock.url())];
    assert!(run(&[], &variables) > 0);
    assert_eq!(run(&["--model", "extractive"], &variables), 0, "the line counts for more");
}

#[test]
fn a_door_asks_the_model_that_it_is_started_with() {
    let (mock, notes, home) = (Mock::start(&[]), folder(MILL), tempfile::tempdir().expect("a folder"));
    let mut command = callboard(home.path());
    command.args(["--store", "memory", "serve", "--http", "127.0.0.1:0", "--public", "executive", "--sources"]);
    let model = ["--model", "openai/mock", "--model-url", &mock.url()];
    let mut door = Child::start(command.arg(notes.path()).args(model).env("CALLBOARD_HTTP_KEY", "a-key-for-the-tests"));
    let Some(url) = door.word() else { panic!("{:?}", door.end()) };
    let post = "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode(), \
                {'Authorization': 'Bearer a-key-for-the-tests', 'Content-Type': 'application/json'})).read().decode())";
    let question = json!({ "model": "executive", "messages": [{ "role": "user", "content": QUESTION }] });
    let url = format!("{}/chat/completions", url.trim_end_matches('/'));
    let said = output(Command::new(python::interpreter()).args(["-c", post, &url, &question.to_string()]));
    assert!(said.contains("1843") && asked(&mock) > 0, "{said}");
    let used: Value = serde_json::from_str(&said).expect("JSON");
    assert!(used["usage"]["total_tokens"].as_u64() > Some(0), "{said}");
    door.terminate();
    assert_eq!(door.end().code, Some(0));
}

#[test]
fn tools_of_mcp_ask_the_model_that_it_is_started_with() {
    let (mock, home) = (Mock::start(&[]), tempfile::tempdir().expect("a folder"));
    let notes = folder("# Otters\n\nOtters sleep on their backs. They hold hands so that they do not drift apart.\n");
    let mut command = Command::new(python::interpreter());
    command.arg(python::script("tests/python/mcp_door.py")).arg(programs::callboard());
    command.args(["mcp", "--public", "executive", "diag.echo", "--store", "memory", "--sources"]).arg(notes.path());
    let model = ["--model", "openai/mock", "--model-url", &mock.url()];
    let mut client = Child::start(command.args(model).env("HOME", home.path()));
    for step in ["tools", "call", "progress"] {
        if !client.says(step) {
            panic!("{step}: {:?}", client.end());
        }
    }
    assert!(asked(&mock) > 0);
    client.kill();
}

#[test]
fn an_agent_of_a_file_reads_with_its_tools_and_says_where_it_knows_it_from() {
    let (mock, notes, home) = (Mock::start(&[]), folder(MILL), tempfile::tempdir().expect("a folder"));
    let file = format!(
        "store = \"clerk.db\"\n[models]\ndefault = \"openai/any\"\nurl = \"{}\"\n\
         [tools.docs]\ntype = \"files\"\nroot = {:?}\n\
         [agents.\"shop.clerk\"]\nprompt = \"Answer from the documents.\"\ntools = [\"docs.*\"]\n",
        mock.url(),
        notes.path(),
    );
    std::fs::write(home.path().join("node.toml"), file).expect("a file");
    output(callboard(home.path()).args(["config", "check", "node.toml"]));
    mock.behave(&[
        json!({ "type": "reply", "tool_calls": [{ "name": "docs_read", "arguments": { "path": "mill.md" } }] }),
        json!({ "type": "reply", "text": "Braun did." }),
    ]);
    let node = Child::start(callboard(home.path()).args(["node", "start", "--config", "node.toml"]));
    let input = json!({ "prompt": QUESTION }).to_string();
    let submit = ["--store", "clerk.db", "task", "submit", "shop.clerk", "--wait", "--input", &input];
    let until = Instant::now() + PATIENCE;
    // Whoever looks before the store is there makes it, and has it for a moment in which the node cannot. While the node
    // makes it a look fails.
    let is_up = || {
        home.path().join("clerk.db").exists() && {
            let look = callboard(home.path()).args(["--store", "clerk.db", "tree"]).output().expect("it runs");
            look.status.success() && String::from_utf8_lossy(&look.stdout).contains("shop.clerk")
        }
    };
    while !is_up() {
        assert!(Instant::now() < until, "the node does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = output(callboard(home.path()).args(submit));
    assert!(said.contains("Braun did.") && said.contains("tool docs.read"), "{said}");
    let requests = mock.requests()["requests"].to_string();
    assert!(requests.contains("built in 1843"), "what the tool gave was shown to the model: {requests}");
    node.terminate();
    assert_eq!(node.end().code, Some(0));
}
