//! What processes that are nodes end with, as a service manager sees it.
#![cfg(unix)]

use std::process::Command;
use std::time::Duration;

use callboard_tests::process::{Child, Ended};
use callboard_tests::programs;

/// How long between two signals to one process.
const AGAIN: Duration = Duration::from_millis(50);

fn node(how: &str, words: &[&str]) -> Child {
    Child::start(Command::new(env!("CARGO_BIN_EXE_exit_node")).args(words).env("EXIT_NODE", how))
}

/// What was told, as one line: the width of the page breaks it anywhere.
fn told(ended: &Ended) -> String {
    ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_node_whose_agents_crash_until_every_level_has_given_up_exits_with_70_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "name = \"n\"\n[limits]\nrestarts = 1\n").unwrap();
    let ended = node("broken", &["--config", file.to_str().unwrap()]).end();
    assert_eq!((ended.code, ended.signal), (Some(70), None), "{}", ended.stderr);
    let told = told(&ended);
    assert!(told.starts_with("error[CB0032]: supervision gave up: "), "{told}");
    assert!(told.contains("agents/lead/broken/#1 failed too often, at last with error: the disk is on fire"), "{told}");
    assert!(told.contains("failures: broken 4 in 30s, lead 2 in 60s, agents 6 in 30s, root 2 in 60s"), "{told}");
}

#[test]
fn a_node_that_is_told_to_end_exits_with_0() {
    let mut idle = node("idle", &[]);
    assert!(idle.says("ready"));
    idle.terminate();
    let ended = idle.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_second_signal_cuts_a_drain_short_and_exits_with_130() {
    let mut busy = node("busy", &[]);
    assert!(busy.says("ready"));
    busy.terminate();
    assert!(!busy.ends_within(AGAIN), "it drains");
    // Two signals that come together may be told as one, so there are more.
    while !busy.ends_within(AGAIN) {
        busy.terminate();
    }
    let ended = busy.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(told(&ended).contains("cancelled by a second signal"), "{}", ended.stderr);
}

#[test]
fn a_program_around_an_own_agent_exits_as_the_command_line_does() {
    let start = |words: &[&str]| Child::start(Command::new(programs::example("own_node")).args(words));
    let cli = |words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut cli = Command::new(programs::callboard());
        let start = cli.args(["node", "start"]).args(words).env("HOME", folder.path()).env("COLUMNS", "80");
        Child::start(start).end()
    };
    for (words, code, why) in [
        (&["--nmae", "a"][..], 2, "--nmae"),
        (&["--name", "a b"], 2, "a b"),
        (&["--broker", "nats://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (&["--config", "/no/such/node.toml"], 2, "/no/such/node.toml"),
    ] {
        let own = start(words).end();
        assert_eq!(own.code, Some(code), "{words:?}: {}", own.stderr);
        assert!(told(&own).starts_with("error[CB") && told(&own).contains(why), "{words:?}: {}", own.stderr);
        assert_eq!(cli(words).code, own.code, "{words:?}");
    }
}
