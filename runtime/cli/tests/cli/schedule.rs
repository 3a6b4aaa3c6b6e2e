//! Work that is submitted at its time.

use crate::kit::World;

#[test]
fn a_schedule_is_added_listed_paused_resumed_and_removed() {
    let world = World::new();
    let add = ["schedule", "add", "hourly", "diag.echo", "--every", "1h", "--input", r#"{"text": "x"}"#];
    let added = world.run(&add);
    assert!(added.exit == 0 && added.err.contains("nothing is running here"), "{}{}", added.out, added.err);
    assert_eq!(world.run(&add).exit, 0, "the same again is the same");
    let other = world.run(&["schedule", "add", "hourly", "diag.echo", "--every", "2h"]);
    assert!(other.exit == 2 && other.err.contains("another schedule named hourly"), "{}", other.err);
    let all = world.json(&["schedule", "ls"]);
    assert_eq!((&all[0]["when"], &all[0]["fired"], &all[0]["missed"]), (&"every 1h".into(), &0.into(), &"once".into()));
    assert_eq!(world.json(&["schedule", "pause", "hourly"])["paused"], true);
    assert!(world.run(&["schedule", "ls"]).out.contains("paused"));
    assert_eq!(world.json(&["schedule", "resume", "hourly"])["paused"], false);
    let unknown = world.run(&["schedule", "rm", "hourli"]);
    assert!(unknown.exit == 2 && unknown.err.contains("hourly"), "{}", unknown.err);
    assert_eq!(world.run(&["schedule", "rm", "hourly"]).exit, 0);
    assert_eq!(world.json(&["schedule", "ls"]), serde_json::json!([]));
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_stored() {
    let world = World::new();
    for (when, why) in [
        (["--cron", "never"], "no cron expression"),
        (["--at", "tomorrow"], "is no date"),
        (["--every", "1ms"], "more often than each second"),
    ] {
        let did = world.run(&[&["schedule", "add", "x", "diag.echo"], &when[..]].concat());
        assert!(did.exit == 2 && did.err.contains(why), "{when:?}: {}", did.err);
    }
    assert_eq!(world.run(&["schedule", "add", "x", "diag.echo"]).exit, 2, "a time is needed");
}

#[test]
fn what_is_due_is_done_by_a_node_that_runs_and_by_the_next_one_after_a_kill() {
    let world = World::new();
    let input = r#"{"text": "tick"}"#;
    let every = ["schedule", "add", "often", "diag.echo", "--every", "1s", "--missed", "all", "--input", input];
    assert_eq!(world.run(&every).exit, 0);
    let all = ["task", "ls", "--limit", "1000"];
    // While a node begins or has just been killed, a look may fail.
    let ticks =
        || world.look(&[&all[..], &["--status", "completed"]].concat()).map(|done| done.as_array().unwrap().len());
    let waits =
        "name = \"w\"\n[[task]]\nid = \"a\"\ncapability = \"human.default\"\ninput = { question = \"well?\" }\n";
    world.file("waits.toml", waits);
    let node = world.start(&["run", "waits.toml", "--stay"]);
    world.until("two ticks", || ticks() >= Some(2));
    node.kill();
    let before = ticks().unwrap();
    let node = world.start(&["run", "waits.toml", "--stay"]);
    world.until("two more", || ticks() >= Some(before + 2));
    node.kill();
    let stands = world.json(&["schedule", "ls"]);
    let ids = world.json(&all);
    let of_it = ids.as_array().unwrap().iter().filter(|one| one["id"].as_str().unwrap().starts_with("often-")).count();
    assert!(of_it as u64 - stands[0]["fired"].as_u64().unwrap() <= 1, "{stands} {of_it}");
}
