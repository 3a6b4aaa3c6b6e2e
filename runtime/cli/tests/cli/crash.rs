//! Processes that are killed, interrupted or told to end, and what is kept of their work.

use crate::kit::{SLOW, World, endless};

fn world() -> World {
    let world = World::new();
    world.file("slow.toml", SLOW);
    world
}

#[test]
fn after_a_kill_what_was_recorded_is_kept_and_the_rest_is_done() {
    let world = world();
    let run = world.start_slow(&[]);
    run.kill();
    let left = world.run(&["tree"]);
    assert!(left.err.starts_with("nothing is running"), "{}", left.err);

    let resumed = world.run(&["workflow", "resume", "last"]);
    assert_eq!(resumed.exit, 0, "{}", resumed.err);
    assert!(resumed.out.contains("one, two, three, four"), "{}", resumed.out);
    assert_eq!(resumed.err.lines().last(), Some("2 tasks kept, 3 done now"));

    // Nothing that had been recorded was begun again.
    let tasks = world.json(&["task", "ls", "--run", "last"]);
    let begun = |task: &serde_json::Value| {
        let shown = world.json(&["task", "show", task["id"].as_str().unwrap()]);
        shown["attempts"].as_array().unwrap().len() > 1
    };
    let again: Vec<_> = tasks.as_array().unwrap().iter().map(begun).collect();
    assert_eq!(again, [true, false, false, true, false]);
    // Two were under way together, so the death of their process counts against neither.
    assert!(tasks.as_array().unwrap().iter().all(|task| task["attempt"] == 1), "{tasks}");
    let completed = world.run(&["event", "replay", "--type", "task.completed", "--json"]);
    assert_eq!(completed.out.lines().count(), 5);

    let again = world.run(&["workflow", "resume", "last"]);
    assert_eq!(again.err.lines().last(), Some("it had ended: 5 tasks kept, 0 done now"));
}

#[test]
fn what_a_run_was_configured_with_is_repeated_by_the_command_that_goes_on() {
    let world = world();
    std::fs::write(world.path().join("own node.toml"), "[limits]\nfiles = 7\n").unwrap();
    let run = world.start_slow(&["--config", "own node.toml"]);
    run.signal("INT");
    let did = run.end();
    assert_eq!(did.exit, 130, "{}", did.err);
    let resume = did.err.lines().last().unwrap();
    assert!(resume.ends_with(" --config 'own node.toml'"), "{resume}");
    let resumed = world.run(&["workflow", "resume", "last", "--config", "own node.toml"]);
    assert_eq!(resumed.err.lines().last(), Some("2 tasks kept, 3 done now"));
    let wrong = world.run(&["workflow", "resume", "last", "--config", "nowhere.toml"]);
    assert_eq!(wrong.exit, 2, "{}", wrong.err);
}

#[test]
fn a_run_that_is_told_to_end_hands_back_and_says_how_to_go_on() {
    for signal in ["INT", "TERM"] {
        let world = world();
        let run = world.start_slow(&[]);
        run.signal(signal);
        let did = run.end();
        assert_eq!(did.exit, 130, "{signal}: {}", did.err);
        let resume = did.err.lines().last().unwrap().strip_prefix("resume  callboard ").unwrap().to_owned();
        let resumed = world.run(&resume.split(' ').collect::<Vec<_>>());
        assert!(resumed.exit == 0 && resumed.out.contains("four"), "{signal}: {}", resumed.err);
        assert_eq!(resumed.err.lines().last(), Some("2 tasks kept, 3 done now"), "{signal}");
        // Handing back costs no attempt.
        let tasks = world.json(&["task", "ls", "--run", "last"]);
        assert!(tasks.as_array().unwrap().iter().all(|task| task["attempt"] == 1), "{signal}: {tasks}");
    }
}

#[test]
fn a_second_signal_ends_it_on_the_spot() {
    let world = world();
    let run = world.start_slow(&[]);
    // Both are there when it wakes up, so there is no time to hand anything back between them.
    for signal in ["STOP", "INT", "TERM", "CONT"] {
        run.signal(signal);
    }
    let did = run.end();
    assert_eq!(did.exit, 130, "{}", did.err);
    assert!(!did.err.contains("handed back"), "{}", did.err);
    let resumed = world.run(&["workflow", "resume", "last"]);
    assert!(resumed.exit == 0 && resumed.out.contains("four"), "{}", resumed.err);
    assert_eq!(resumed.err.lines().last(), Some("2 tasks kept, 3 done now"));
}

#[test]
fn a_run_in_memory_says_that_it_is_gone() {
    let world = World::new();
    world.file("slow.toml", endless());
    let mut run = world.start(&["--store", "memory", "run", "slow.toml"]);
    run.until_err("completed  b");
    run.signal("INT");
    let did = run.end();
    assert_eq!(did.exit, 130, "{}", did.err);
    assert!(did.err.ends_with("interrupted: this run was in memory and is gone\n"), "{}", did.err);
}

#[test]
fn a_failed_run_is_tried_again_without_what_had_completed() {
    let world = World::with_runs();
    assert_eq!(world.run(&["task", "retry", "last"]).exit, 0);
    let resumed = world.run(&["workflow", "resume", "last"]);
    // The same failure: `b` is told to fail nine times, whoever asks. But `a` was not done again.
    assert_eq!(resumed.exit, 1, "{}", resumed.err);
    assert!(!resumed.err.contains("CB0016"), "{}", resumed.err);
    assert!(!resumed.err.contains("completed  a"), "{}", resumed.err);
    assert_eq!(resumed.err.lines().last(), Some("1 task kept, 3 done now"));
    // Whichever generation is named, it is the next one that is made.
    let run = world.json(&["workflow", "ls"])[0]["run"].as_str().unwrap().to_owned();
    assert_eq!(world.json(&["task", "retry", &run])["generation"], 3);
    assert_eq!(
        world.json(&["task", "retry", &run])["generation"],
        3,
        "it waits, so there is nothing to be tried again"
    );
}

#[test]
fn what_nobody_serves_is_not_waited_for() {
    let world = World::new();
    assert_eq!(world.run(&["task", "submit", "shop.pay", "--queue-anyway"]).exit, 0);
    let did = world.run(&["workflow", "resume", "last"]);
    assert!(did.exit == 2 && did.err.contains("CB0024") && did.err.contains("shop.pay"), "{}", did.err);
    assert_eq!(world.json(&["task", "show", "last"])["status"], "pending");
}
