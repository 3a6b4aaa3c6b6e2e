//! Commands beside a process that owns the store.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bounds::within;
use crate::kit::{Begun, Did, SLOW, World, endless};

fn world() -> World {
    let world = World::new();
    world.file("slow.toml", endless());
    world
}

#[test]
fn short_verbs_answer_at_once_beside_a_run() {
    let world = world();
    let run = world.start_slow(&[]);
    let agents = world.json(&["agent", "ls"]);
    let echo = agents.as_array().unwrap().iter().find(|agent| agent["agent"] == "diag.echo").unwrap();
    assert_eq!((&echo["done"], &echo["running"]), (&2.into(), &1.into()));
    let tree = world.json(&["tree"]);
    assert_eq!((&tree["running"], &tree["info"]["pid"]), (&true.into(), &run.pid().into()));
    let text = world.run(&["tree"]).out;
    assert!(text.contains("research.database x2") && text.contains("working"), "{text}");
    for columns in ["40", "80", "120"] {
        let output = world.command(&["tree"]).env("COLUMNS", columns).output().unwrap();
        let widest = String::from_utf8(output.stdout).unwrap().lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= columns.parse().unwrap(), "{columns}: {widest:?}");
    }
    for verb in [&["tree"][..], &["task", "ls"], &["agent", "ls"]] {
        let best = (0..5).map(|_| {
            let began = Instant::now();
            assert_eq!(world.run(verb).exit, 0);
            began.elapsed()
        });
        within(&verb.join(" "), best.min().unwrap(), Duration::from_millis(200));
    }
    run.kill();
}

#[test]
fn what_is_submitted_beside_a_run_is_done_by_it() {
    let world = world();
    let run = world.start_slow(&[]);
    let submitted = world.json(&["task", "submit", "qa.style", "--input", "{}", "--run", "beside", "--attempts", "1"]);
    assert_eq!(submitted["running"], true);
    world.until("its end", || world.json(&["task", "show", "beside"])["status"] != "pending");
    let unserved = world.run(&["task", "submit", "no.such"]);
    assert!(unserved.exit == 2 && unserved.err.contains("CB0024"), "{}", unserved.err);
    assert_eq!(world.run(&["state", "set", "global.beside", "1"]).exit, 0);
    run.kill();
}

#[test]
fn a_cancelled_run_ends_where_it_is_worked_on() {
    let world = world();
    let run = world.start_slow(&["--run", "doomed"]);
    assert_eq!(world.json(&["task", "cancel", "doomed"])["cancelled"][0], "doomed");
    let did = run.end();
    assert_eq!(did.exit, 1, "{}", did.err);
    assert!(did.err.contains("error[CB0007]"), "{}", did.err);
}

#[test]
fn a_second_run_is_worked_on_by_the_owner_and_taken_over_when_it_dies() {
    let world = World::new();
    // Both are done to their end.
    world.file("slow.toml", SLOW);
    let begun = Begun::follow(&world);
    let mut owner = world.start(&["run", "slow.toml", "--run", "first"]);
    owner.until_err("completed  a");
    let second = world.start(&["run", "slow.toml", "--run", "second"]);
    begun.thirds(2);
    owner.kill();
    let did = second.end();
    assert_eq!(did.exit, 0, "{}", did.err);
    assert!(did.out.contains("four"), "{}", did.out);
    // Whoever takes over works on all that is queued, the first run too.
    world.run(&["workflow", "resume", "first"]);
    assert_eq!(world.json(&["task", "show", "first"])["status"], "completed");
}

/// The owner works on it with its own models, and for once `--model` was taken and did nothing.
#[test]
fn models_are_not_taken_for_a_run_that_another_process_works_on() {
    let world = world();
    world.file("docs/otter.md", "The otter eats fish.\n");
    let owner = world.start_slow(&["--run", "first"]);
    let ask = ["run", "--ask", "What does the otter eat?", "--sources", "docs"];
    let model = ["--model", "openai/mock", "--model-url", "http://127.0.0.1:9/v1"];
    let did = world.run(&[&ask[..], &model].concat());
    assert_eq!(did.exit, 2, "{}", did.err);
    let pid = owner.pid().to_string();
    assert!(did.err.contains("--model is for a run of this process") && did.err.contains(&pid), "{}", did.err);
    assert!(did.err.contains("--store PATH"), "{}", did.err);
    let did = Did::of(world.command(&ask).env("CALLBOARD_MODEL", "ollama/mock").output().unwrap());
    assert_eq!(did.exit, 0, "{}", did.err);
    assert!(did.err.contains(&format!("that of process {pid}, which owns the store")), "{}", did.err);
    owner.kill();
}

#[test]
fn events_and_state_are_followed_beside_a_run() {
    let world = world();
    let run = world.start_slow(&[]);
    let mut tail = world.start(&["event", "tail", "--type", "task.cancelled", "--limit", "1", "--json"]);
    assert!(tail.err().starts_with("following store.db from event "));
    world.run(&["state", "set", "global.note", "1"]);
    let mut watch = world.start(&["state", "watch", "global.note", "--limit", "2", "--json"]);
    let read = |line: String| serde_json::from_str::<Value>(&line).unwrap();
    assert_eq!(read(watch.out())["value"], 1);
    world.run(&["state", "set", "global.note", "2"]);
    let change = read(watch.out());
    assert_eq!((&change["key"], &change["value"], &change["previous"]), (&"global.note".into(), &2.into(), &1.into()));
    world.run(&["task", "cancel", "last"]);
    assert_eq!(read(tail.out())["type"], "task.cancelled");
    assert_eq!((tail.end().exit, watch.end().exit, run.end().exit), (0, 0, 1));
}

#[test]
fn an_owner_that_does_not_answer_is_told_soon() {
    let world = world();
    let run = world.start_slow(&[]);
    run.signal("STOP");
    for verb in [&["tree"][..], &["agent", "ls"], &["task", "submit", "diag.echo"]] {
        let began = Instant::now();
        let did = world.run(verb);
        assert_eq!(did.exit, 3, "{verb:?}: {}", did.err);
        assert!(did.err.contains("CB0004") && did.err.contains(&run.pid().to_string()), "{}", did.err);
        within(&verb.join(" "), began.elapsed(), Duration::from_secs(5));
    }
    // What is stored can be read beside it all the same.
    assert_eq!(world.completed(), 2);
    run.signal("CONT");
    run.kill();
}
