//! Runs that ended, looked at record by record, run again, and forked.

use crate::kit::{BAD, GOOD, World};
#[cfg(feature = "genai")]
use crate::provider::Provider;

#[test]
fn a_run_replays_identical_as_long_as_its_agents_are_here() {
    let world = World::with_runs();
    let runs = world.json(&["workflow", "ls"]);
    let good = runs.as_array().unwrap().iter().find(|run| run["status"] == "completed").unwrap();
    let did = world.run(&["workflow", "replay", good["run"].as_str().unwrap()]);
    assert_eq!((did.exit, did.out.as_str()), (0, "3 of 3 tasks identical, 2 records replayed\n"), "{}", did.err);
    let failed = world.json(&["workflow", "replay", "last"]);
    assert_eq!((&failed["identical"], &failed["first"]), (&true.into(), &serde_json::Value::Null), "{failed}");
    let log = world.file("run.json", world.run(&["workflow", "export", good["run"].as_str().unwrap()]).out);
    let from = ["workflow", "replay", "--log", "run.json"];
    assert_eq!(world.run(&from).out, did.out);
    let text = std::fs::read_to_string(&log).unwrap();
    world.file("run.json", text.replacen("hello board", "hello there", 1));
    let damaged = world.run(&from);
    assert_eq!(damaged.exit, 1, "{}", damaged.err);
    assert!(damaged.err.contains("CB0016"), "{}", damaged.err);
    let asked = world.run(&["run", "--ask", "What does the otter eat?", "--sources", "docs"]);
    assert_eq!(asked.exit, 0, "{}", asked.err);
    assert_eq!(world.json(&["workflow", "replay", "last"])["identical"], true);
    // What the agents read has changed, and nothing of that is in a log.
    world.file("docs/otter.md", "# Otters\n\nThe otter eats crabs. It lives in the sea.\n");
    let did = world.run(&["workflow", "replay", "last"]);
    assert_eq!(did.exit, 1, "{}", did.out);
    assert!(did.err.contains("CB0011") && did.err.contains("is the first that differs"), "{}", did.err);
}

#[cfg(feature = "genai")]
#[test]
fn a_run_with_a_model_replays_with_that_model_which_is_not_asked() {
    let world = World::new();
    world.file("docs/otter.md", "# Otters\n\nThe otter eats fish. It lives in rivers.\n");
    let provider = Provider::saying("The otter eats fish.");
    let model = ["--model", "openai/mock", "--model-url", &provider.url];
    let ask = ["run", "--ask", "What does the otter eat?", "--sources", "docs"];
    let did = world.run(&[&ask[..], &model].concat());
    assert_eq!(did.exit, 0, "{}", did.err);
    let asked = provider.asked();
    assert!(asked > 0, "{}", did.err);
    let without = world.run(&["workflow", "replay", "last"]);
    assert!(without.exit == 1 && without.err.contains("CB0011"), "another way, for it has no model: {}", without.err);
    // Nobody answers there, and nobody is asked.
    let gone = ["--model", "openai/mock", "--model-url", "http://127.0.0.1:9/v1"];
    let report = world.json(&[&["workflow", "replay", "last"][..], &gone].concat());
    assert_eq!(report["identical"], true, "{report}");
    let root = world.json(&[&["task", "replay", "last"][..], &gone].concat());
    assert_eq!(root["identical"], true, "{root}");
    let mut exported = world.command(&["workflow", "replay", "last"]);
    let did =
        exported.env("CALLBOARD_MODEL", "openai/mock").env("CALLBOARD_MODEL_URL", &provider.url).output().unwrap();
    assert!(did.status.success(), "{did:?}");
    assert_eq!(provider.asked(), asked, "no model is asked");
}

#[cfg(feature = "genai")]
#[test]
fn a_changed_prompt_of_an_agent_in_a_file_is_named() {
    let world = World::new();
    let provider = Provider::saying("At nine.");
    let file = |prompt: &str, more: &str| {
        let models =
            format!("[models]\ndefault = \"openai/mock\"\n[models.providers.openai]\nurl = \"{}\"\n", provider.url);
        let agent = format!("[agents.\"desk.clerk\"]\nprompt = \"{prompt}\"\ntools = [\"docs.*\", \"away.*\"]\n");
        let tools = "[tools.docs]\ntype = \"files\"\nroot = \".\"\n";
        world.file("node.toml", format!("{models}{agent}{tools}{more}"));
    };
    file("Be brief.", "");
    let mut node = world.start(&["node", "start", "--config", "node.toml"]);
    node.until_err("serves");
    let clerk = ["task", "submit", "desk.clerk", "--input", r#"{"prompt": "When do you open?"}"#, "--wait"];
    let did = world.run(&clerk);
    assert_eq!(did.exit, 0, "{}", did.err);
    assert!(did.out.contains("At nine."), "{}", did.out);
    node.signal("TERM");
    assert_eq!(node.end().exit, 0);
    // A server that would not start, and is not started.
    let server = "[mcp.away]\ncommand = [\"no-such-program\"]\n";
    file("Be brief.", server);
    let replay = ["workflow", "replay", "last", "--config", "node.toml"];
    let did = world.run(&replay);
    assert_eq!((did.exit, did.out.as_str()), (0, "1 of 1 task identical, 2 records replayed\n"), "{}", did.err);
    file("Be polite.", server);
    let did = world.run(&replay);
    assert_eq!(did.exit, 1, "{}", did.out);
    assert!(did.err.contains("CB0011") && did.err.contains("record 1 of task"), "{}", did.err);
    assert_eq!(world.run(&["task", "replay", "last", "--config", "node.toml"]).exit, 1);
    let unserved = world.run(&["workflow", "replay", "last"]);
    assert!(unserved.exit == 1 && unserved.err.contains("--config node.toml"), "{}", unserved.err);
    assert_eq!(provider.asked(), 1, "no model is asked");
    world.file("node.toml", "[agents.clerk]\npromt = \"?\"\n");
    assert_eq!(world.run(&replay).exit, 2);
}

#[test]
fn a_log_is_shown_with_the_numbers_that_a_fork_takes() {
    let world = World::with_runs();
    let shown = world.run(&["task", "show", "last", "--log"]);
    assert!(shown.out.contains("    1  ") && shown.out.contains("delegated  a  diag.echo, task "), "{}", shown.out);
    let log = world.json(&["task", "show", "last", "--log"])["log"].clone();
    let keys: Vec<_> = log.as_array().unwrap().iter().map(|line| (&line["sequence"], &line["key"])).collect();
    assert_eq!(keys, [(&1.into(), &"a".into()), (&2.into(), &"b".into()), (&3.into(), &"c".into())], "{log}");
    assert_eq!(world.json(&["task", "show", "last"]).get("log"), None);
}

#[test]
fn a_fork_keeps_what_it_is_told_to_and_does_the_rest_anew() {
    let world = World::new();
    world.file("bad.toml", BAD);
    assert_eq!(world.run(&["run", "bad.toml"]).exit, 1);
    let set = ["--set", "task.1.input.fail_times=0", "--run", "better", "--model", "openai/other"];
    let fork = world.json(&[&["task", "fork", "last", "--from", "1"][..], &set].concat());
    assert_eq!((&fork["run"], &fork["from"]), (&"better".into(), &1.into()));
    let forked = world.json(&["workflow", "export", "better"]).to_string();
    assert!(forked.contains("\"model\":\"openai/other\""), "{forked}");
    let did = world.run(&["workflow", "resume", "better"]);
    assert_eq!(did.exit, 0, "{}", did.err);
    let tasks = world.json(&["task", "ls", "--run", "better"]);
    let statuses: Vec<_> = tasks.as_array().unwrap().iter().map(|task| &task["status"]).collect();
    assert_eq!(statuses, ["completed"; 4], "{tasks}");
}

#[test]
fn what_cannot_be_forked_says_what_can() {
    let world = World::new();
    world.file("good.toml", GOOD);
    assert_eq!(world.run(&["run", "good.toml"]).exit, 0);
    for (args, said) in [
        (&["--from", "3"][..], "has 2 records: a fork is from 0 to 2, not from 3"),
        (&["--set", "task.7.input.text=x"], "has no place \"task.7.input.text\""),
        (&["--set", "nothing"], "not of the form key=value"),
        (&["--run", "a b"], "run id"),
        (&["--model", "gpt"], "\"gpt\" is no model"),
    ] {
        let did = world.run(&[&["task", "fork", "last"][..], args].concat());
        assert_eq!(did.exit, 2, "{args:?}: {}", did.err);
        let told = did.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("CB0403") && told.contains(said), "{args:?}: {told}");
    }
}
