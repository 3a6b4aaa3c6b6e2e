//! What each verb answers, to people and to programs.

use serde_json::{Value, json};

use crate::kit::{BAD, Did, GOOD, World, endless, same};

#[test]
fn a_question_is_answered_with_its_sources() {
    let world = World::with_runs();
    let did = world.run(&["run", "--ask", "What does the otter eat?", "--sources", "docs"]);
    assert_eq!(did.exit, 0, "{}", did.err);
    let mut lines = did.out.lines();
    assert_eq!(lines.next(), Some("The otter eats fish. [1] It lives in rivers. [2]"));
    assert!(did.out.contains("\n[1] otter.md:3"), "{}", did.out);
    assert!(did.out.contains("\ncoverage    1.00 of the question; extractive engine"), "{}", did.out);
    assert!(did.out.lines().last().is_some_and(|line| line.starts_with("figures     ")), "{}", did.out);
    let first = did.err.lines().next().unwrap();
    assert!(first.starts_with("run     ") && first.len() == 8 + 36, "{first}");
    assert!(did.err.contains("\nread    1 document,"), "{}", did.err);
}

#[test]
fn the_json_of_a_question_has_what_is_promised_and_nothing_else() {
    let world = World::with_runs();
    let brief = world.json(&["run", "--ask", "What does the otter eat?", "--sources", "docs"]);
    let keys = |value: &Value| {
        let mut keys = value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        keys.sort_unstable();
        keys
    };
    let mut expected =
        ["run", "status", "engine", "brief", "claims", "coverage", "not_found", "dropped", "tasks", "metrics"];
    expected.sort_unstable();
    assert_eq!(keys(&brief), expected);
    assert_eq!(keys(&brief["claims"][0]), ["locator", "quote", "source", "text"]);
    assert_eq!(brief["claims"][0]["source"], "otter.md");
    assert_eq!(brief["claims"][0]["quote"], "The otter eats fish.");
    let task = ["agent", "attempt", "capability", "id", "ms", "node", "parent", "status"];
    assert_eq!(keys(&brief["tasks"][0]), task);
    let metrics =
        ["cache_hit_rate", "error_rate", "failed", "p50_ms", "p95_ms", "tasks", "tasks_per_minute", "wall_ms"];
    assert_eq!(keys(&brief["metrics"]), metrics);
    assert_eq!((&brief["status"], &brief["engine"]), (&"completed".into(), &"extractive".into()));
}

#[test]
fn a_question_that_no_source_covers_is_no_failure() {
    let world = World::with_runs();
    let did = world.run(&["run", "--ask", "Who composed the Ninth Symphony?", "--sources", "docs"]);
    assert_eq!(did.exit, 0);
    assert!(did.out.starts_with("The sources "), "{}", did.out);
    assert!(did.out.contains("not found ") && did.out.contains("the sources do not cover it"), "{}", did.out);
}

#[test]
fn a_workflow_prints_its_output_and_nothing_beside_it() {
    let world = World::with_runs();
    let did = world.run(&["run", "good.toml", "-i", "who=you"]);
    same(
        &did,
        "
exit 0
-- out
hello you!
-- err
run RUN
completed a T
again b attempt 2
completed b T
completed workflow T
figures 3 tasks, 0 failed, p50 T, p95 T, wall T
",
    );
    let run = world.json(&["run", "good.toml"]);
    assert_eq!(
        (&run["status"], &run["name"], &run["output"]),
        (&"completed".into(), &"intro".into(), &"hello board!".into())
    );
    assert_eq!(run["tasks"].as_array().unwrap().len(), 3);
}

#[test]
fn a_workflow_that_fails_says_where_and_what_to_look_at() {
    let world = World::with_runs();
    same(
        &world.run(&["run", "bad.toml"]),
        "
exit 1
-- err
run RUN
completed a T
again b attempt 2
failed b T told to fail 9 times, this is attempt 2
skipped c T b did not complete
failed workflow T 1 of 3 tasks failed: b (told to fail 9 times, this…
figures 4 tasks, 2 failed, p50 T, p95 T, wall T
error[CB0006]: workflow failed: 1 of 3 tasks failed: b (told to fail 9 times,
  this is attempt 2)
  fix: callboard task show ID
  more: callboard explain CB0006
",
    );
}

#[test]
fn a_failed_task_explains_itself() {
    let world = World::with_runs();
    let failed = world.json(&["task", "ls", "--status", "failed", "--capability", "diag.echo"]);
    let id = failed[0]["id"].as_str().unwrap();
    let did = world.run(&["task", "show", &id[id.len() - 8..]]);
    assert!(did.out.lines().count() <= 30);
    let node = format!(" {} ", failed[0]["node"].as_str().unwrap());
    let out = did.out.replace(node.trim_end(), " NODE");
    same(
        &Did { out, ..did },
        r#"
exit 0
-- out
task TASK
status failed attempt 2 of 2, T, ended DATE
capability diag.echo
key b
agent diag.echo on NODE
parent RUN
after ID
input {"fail_times":9,"text":"hello!"}
error CB0006 transient: told to fail 9 times, this is attempt 2
attempts 2
   1 CLOCK - retry, again CLOCK: told to fail 9 times, this is attempt…
   2 CLOCK NODE failed: told to fail 9 times, this is attempt 2
next callboard task retry ID
"#,
    );
    let detail = world.json(&["task", "show", id]);
    // The run has ended, so trying the task alone would help nobody: it is tried again as a part of the run.
    let run = failed[0]["run"].as_str().unwrap();
    assert_eq!(detail["next"], format!("callboard task retry {}", &run[run.len() - 8..]));
    assert_eq!(detail["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(detail["chain"][0]["class"], "transient");
    // The run's own task leads to the one at which it began.
    let next = world.json(&["task", "show", "last"])["next"].as_str().unwrap().to_owned();
    assert_eq!(next, format!("callboard task show {}", &id[id.len() - 8..]));
}

#[test]
fn tasks_and_runs_are_listed() {
    let world = World::with_runs();
    let runs = world.json(&["workflow", "ls"]);
    let row = |run: &Value| (run["name"].clone(), run["status"].clone());
    assert_eq!(row(&runs[0]), ("broken".into(), "failed".into()));
    assert_eq!(row(&runs[1]), ("intro".into(), "completed".into()));
    let tasks = world.json(&["task", "ls", "--run", "last"]);
    let statuses: Vec<&str> = tasks.as_array().unwrap().iter().map(|task| task["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["failed", "completed", "failed", "skipped"]);
    assert!(tasks[1]["id"].as_str().unwrap().starts_with(runs[0]["run"].as_str().unwrap()));
    assert_eq!(world.json(&["task", "ls", "--status", "skipped,failed"]).as_array().unwrap().len(), 3);
    let shown = world.run(&["workflow", "show", "last"]);
    assert!(shown.out.contains("├─ a "), "{}", shown.out);
    assert_eq!(world.json(&["workflow", "show", "last"])["metrics"]["failed"], 2);
}

#[test]
fn a_task_is_submitted_retried_and_cancelled() {
    let world = World::new();
    let submitted = world.run(&["task", "submit", "diag.echo", "--input", r#"{"text":"x"}"#, "--run", "one"]);
    assert_eq!((submitted.exit, submitted.out.as_str()), (0, "submitted  one  diag.echo  pending\n"));
    assert!(submitted.err.contains("nothing is running here"), "{}", submitted.err);
    let again = world.json(&["task", "submit", "diag.echo", "--input", r#"{"text":"x"}"#, "--run", "one"]);
    assert_eq!(again["known"], true);
    let other = world.run(&["task", "submit", "diag.echo", "--input", r#"{"text":"y"}"#, "--run", "one"]);
    assert!(other.exit == 1 && other.err.contains("CB0011"), "{}", other.err);

    assert_eq!(world.json(&["task", "cancel", "one", "--because", "a test"])["cancelled"][0], "one");
    let shown = world.run(&["task", "show", "one"]);
    assert!(shown.out.contains("CB0007 cancelled: cli: a test"), "{}", shown.out);
    let retried = world.json(&["task", "retry", "one"]);
    assert_eq!((&retried["retry_of"], &retried["generation"]), (&"one".into(), &2.into()));
    let resumed = world.run(&["workflow", "resume", "one"]);
    assert!(resumed.exit == 0 && resumed.out.contains("\"x\""), "{}{}", resumed.out, resumed.err);
    assert!(resumed.err.ends_with("0 tasks kept, 1 done now\n"), "{}", resumed.err);
    assert!(world.run(&["task", "watch", "last"]).out.contains("\"x\""));
}

#[test]
fn a_task_can_be_waited_for() {
    let world = World::new();
    let did = world.run(&["task", "submit", "diag.echo", "--input", r#"{"text":"now"}"#, "--wait"]);
    assert!(did.exit == 0 && did.out.contains("now"), "{}{}", did.out, did.err);
    let late =
        ["task", "submit", "diag.echo", "--input", r#"{"text":"x","delay_ms":60000}"#, "--deadline", "300ms", "--wait"];
    let did = world.run(&late);
    assert_eq!(did.exit, 4, "{}", did.err);
}

#[test]
fn state_is_written_by_version_and_its_past_is_kept() {
    let world = World::new();
    assert_eq!(world.run(&["state", "set", "global.plan", r#"{"step":1}"#, "--if-version", "0"]).exit, 0);
    let entry = world.json(&["state", "get", "global.plan"]);
    let version = entry["version"].to_string();
    assert_eq!((&entry["value"]["step"], &entry["updated_by"]), (&1.into(), &"cli".into()));
    let lost = world.run(&["state", "set", "global.plan", "2", "--if-version", "0"]);
    assert!(lost.exit == 1 && lost.err.contains("CB0008") && lost.err.contains("{\"step\":1}"), "{}", lost.err);
    assert_eq!(world.run(&["state", "set", "global.plan", "2", "--if-version", &version]).exit, 0);
    assert_eq!(world.run(&["state", "set", "global.plan", "null"]).exit, 0);
    let history = world.json(&["state", "history", "global.plan"]);
    let ops: Vec<_> = history.as_array().unwrap().iter().map(|row| row["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["set", "set", "delete"]);
    assert_eq!(history[1]["previous"]["step"], 1);
    assert_eq!(world.json(&["state", "at", "1"])[0]["value"]["step"], 1);
    assert_eq!(world.json(&["state", "at", "3"]).as_array().unwrap().len(), 0);
    assert_eq!(world.run(&["state", "set", "global.next", "\"x\""]).exit, 0);
    same(&world.run(&["state", "get", "global.next"]), "exit 0\n-- out\n\"x\"");
    let watched = world.run(&["state", "watch", "global", "--limit", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&watched.out).unwrap()["key"], "global.next");
}

#[test]
fn events_are_replayed_in_order() {
    let world = World::with_runs();
    let did = world.run(&["event", "replay", "--type", "task", "--run", "last", "--json"]);
    let events: Vec<Value> = did.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    assert_eq!(events[0]["type"], "task.created");
    assert_eq!(events.last().unwrap()["type"], "task.failed");
    let from = events[1]["seq"].to_string();
    let some = world.run(&["event", "replay", "--from", &from, "--limit", "2", "--json"]);
    assert_eq!(some.out.lines().count(), 2);
    assert!(some.out.starts_with(&format!("{{\"seq\":{from},")), "{}", some.out);
}

#[test]
fn a_dead_letter_is_shown_put_back_and_purged() {
    let world = World::with_runs();
    let letters = world.json(&["dead", "ls"]);
    assert_eq!((&letters[0]["reason"], &letters[0]["capability"]), (&"failed".into(), &"diag.echo".into()));
    let n = letters[0]["n"].to_string();
    assert_eq!(world.json(&["dead", "show", &n])["body"]["fail_times"], 9);
    let back = world.json(&["dead", "retry", &n]);
    assert_eq!(world.json(&["dead", "retry", &n])["id"], back["id"]);
    assert_eq!(world.json(&["dead", "show", "last"])["retried_as"], back["id"]);
    assert_eq!(world.json(&["dead", "purge", "--yes"])["purged"], 1);
    same(&world.run(&["dead", "ls"]), "exit 0\n-- err\nthere is no dead letter");
}

#[test]
fn a_file_is_checked_and_drawn() {
    let world = World::with_runs();
    let did = world.run(&["workflow", "check", "good.toml"]);
    assert_eq!((did.exit, did.out.as_str()), (0, "good.toml ok: \"intro\" has 2 tasks, at most 10 at once\n"));
    assert_eq!(world.json(&["workflow", "check", "good.toml"])["inputs"][0], "who");
    let drawn = world.run(&["workflow", "graph", "good.toml"]);
    assert_eq!(drawn.out, "a     diag.echo\n└─ b  diag.echo\n");
    assert!(world.run(&["workflow", "graph", "good.toml", "--form", "dot"]).out.starts_with("digraph"));
    assert_eq!(world.json(&["workflow", "graph", "good.toml"])["tasks"][1]["after"][0], "a");
    assert_eq!(world.json(&["config", "check", "good.toml"])["files"][0]["tasks"], 2);
}

#[test]
fn with_nothing_running_it_is_said_and_is_no_failure() {
    let world = World::with_runs();
    for verb in [&["tree"][..], &["agent", "ls"]] {
        let did = world.run(verb);
        assert_eq!((did.exit, did.out.as_str()), (0, ""), "{verb:?}");
        assert!(did.err.starts_with("nothing is running in store.db\nlast run"), "{}", did.err);
        assert!(did.err.contains("broken failed"), "{}", did.err);
    }
    assert_eq!(world.json(&["agent", "ls"]), Value::Array(Vec::new()));
    assert_eq!(world.json(&["tree"])["running"], false);
    let empty = World::new();
    for (verb, said) in
        [("tree", "nothing has been run yet"), ("task ls", "no task"), ("workflow ls", "nothing has been run")]
    {
        let did = empty.run(&verb.split(' ').collect::<Vec<_>>());
        assert!(did.exit == 0 && did.err.contains(said), "{verb}: {}", did.err);
    }
    assert!(!empty.path().join("store.db").exists(), "a store was made by looking");
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let world = World::with_runs();
    let well = world.json(&["doctor"]);
    assert_eq!(well["ok"], true);
    let found = |name: &str| {
        let checks = well["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap()["found"].as_str().unwrap().to_owned()
    };
    assert!(found("store").starts_with("store.db, "));
    assert_eq!(found("dead letters"), "1: callboard dead ls");
    assert!(found("errors").contains("target under 1 %: missed"));
    let sick = world.run(&["--store", "good.toml", "doctor"]);
    assert!(
        sick.exit == 3 && sick.out.contains("BAD store") && sick.err.contains("CB0206"),
        "{}{}",
        sick.out,
        sick.err
    );
}

#[test]
fn pages_are_in_the_binary() {
    let world = World::new();
    assert!(world.run(&["explain", "cb0004"]).out.starts_with("# CB0004: "));
    assert!(world.run(&["explain", "my", "agent", "keeps", "stopping"]).out.starts_with("# CB0031: "));
    let contents = world.json(&["explain"]);
    assert!(contents["topics"].as_array().unwrap().iter().any(|topic| topic["name"] == "resume"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(world.run(&["completions", shell]).out.contains("callboard"), "{shell}");
    }
    for help in [&[][..], &["--help"], &["-h"], &["help"], &["help", "task"], &["task", "--help"], &["run", "--help"]] {
        let did = world.run(help);
        assert!(did.exit == 0 && did.out.contains("Usage: callboard") && did.err.is_empty(), "{help:?}");
        assert!(did.out.lines().all(|line| line.chars().count() <= 100), "{help:?}");
    }
    assert_eq!(world.run(&["--version"]).out, format!("callboard {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn less_than_was_asked_for_is_said_and_fails_only_where_that_is_wanted() {
    let world = World::with_runs();
    let optional = BAD.replace("[[task]]\nid = \"c\"", "on_failure = \"skip\"\n[[task]]\nid = \"c\"");
    world.file("optional.toml", optional.replace("\"{{b.text}}\"", "\"without {{b.text}}\""));
    let did = world.run(&["run", "optional.toml"]);
    assert!(did.exit == 0 && did.err.contains("degraded without b\n"), "{}", did.err);
    assert_eq!(world.run(&["run", "optional.toml", "--strict"]).exit, 5);
    assert_eq!(world.json(&["run", "optional.toml"])["degraded"], "without b");
    assert_eq!(world.run(&["run", "good.toml", "--strict"]).exit, 0);
}

#[test]
fn a_run_that_is_not_done_in_time_ends_with_4() {
    let world = World::new();
    world.file("slow.toml", endless());
    let did = world.run(&["run", "slow.toml", "--deadline", "500ms"]);
    assert_eq!(did.exit, 4, "{}", did.err);
    assert!(did.err.contains("error[CB0014]"), "{}", did.err);
}

#[test]
fn a_run_has_the_budget_that_it_is_given_and_says_what_ran_out() {
    let world = World::new();
    world.file("good.toml", GOOD);
    world.file("slow.toml", endless());
    world.file("tight.toml", GOOD.replace("[inputs]", "[budget]\ntasks = 1\n[inputs]"));
    let echo = |id: &str| json!({ "id": id, "capability": "diag.echo", "input": { "text": "x" } });
    let tight = json!({ "name": "tight", "budget": { "tasks": 1 }, "task": [echo("a"), echo("b")] });
    world.file("tight.json", tight.to_string());
    let submit = ["task", "submit", "workflow", "--wait", "--input", "@tight.json", "--budget"];
    for (words, exit, said) in [
        (&[&submit[..], &["steps=9"]].concat()[..], 1, "1 tasks"),
        (&[&submit[..], &["tasks=2"]].concat(), 0, ""),
        (&["run", "good.toml", "--budget", "tasks=2,wall=1m"], 0, ""),
        (&["run", "good.toml", "--budget", "tasks=1"], 1, "1 tasks"),
        (&["run", "tight.toml"], 1, "1 tasks"),
        (&["run", "tight.toml", "--budget", "tasks=2"], 0, ""),
        (&["run", "slow.toml", "--budget", "wall=400ms"], 4, "400 milliseconds of wall time"),
        (&["task", "submit", "diag.echo", "--budget", "wall=1h", "--wait", "--input", "{\"text\":\"x\"}"], 0, ""),
        (&["run", "good.toml", "--budget", "taks=1"], 2, "a budget has no \"taks\""),
    ] {
        let did = world.run(words);
        assert_eq!(did.exit, exit, "{words:?}: {}", did.err);
        let told = did.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(said) && (exit != 1 || told.contains("CB0035")), "{words:?}: {told}");
    }
}
