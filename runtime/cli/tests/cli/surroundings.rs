//! The same commands where things are not as usual: no home, no terminal, a narrow one, another locale, a closed pipe.

use std::io::Read;
use std::process::Stdio;

use crate::kit::{GOOD, World};

#[test]
fn without_a_home_that_can_be_written_a_run_is_kept_in_memory_and_says_so() {
    let world = World::with_runs();
    for home in ["/proc/nowhere", "/dev/null"] {
        let mut command = world.command(&["run", "--ask", "What does the otter eat?", "--sources", "docs"]);
        let output = command.env_remove("CALLBOARD_STORE").env("HOME", home).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(err.contains("\nstore   memory, for nothing can be kept"), "{err}");
        assert!(err.lines().all(|line| line.chars().count() <= 80), "{err}");
    }
    let output =
        world.command(&["run", "good.toml"]).env_remove("CALLBOARD_STORE").env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_usual_store_is_in_the_users_data_directory() {
    let world = World::with_runs();
    for (name, value, path) in [("HOME", "h", "h/.local/share/callboard"), ("XDG_DATA_HOME", "x", "x/callboard")] {
        let folder = world.path().join(value);
        let output = world.command(&["run", "good.toml"]).env_remove("CALLBOARD_STORE").env(name, folder).output();
        assert!(output.unwrap().status.success());
        assert!(world.path().join(path).join("main.db").exists(), "{path}");
    }
}

#[test]
fn a_store_that_was_typed_stands_over_the_broker_of_a_variable() {
    let world = World::with_runs();
    let away = "nats://127.0.0.1:1";
    let mut typed = world.command(&["--store", "typed.db", "run", "good.toml"]);
    assert_eq!(typed.env("CALLBOARD_BROKER", away).output().unwrap().status.code(), Some(0));
    assert!(world.path().join("typed.db").exists());
    let exported = world.command(&["task", "ls"]).env("CALLBOARD_BROKER", away).output().unwrap();
    assert_eq!(exported.status.code(), Some(3), "nobody is there");
    let both = world.run(&["--store", "typed.db", "--broker", away, "task", "ls"]);
    assert_eq!(both.exit, 2, "{}", both.err);
    assert!(both.err.contains("--store and --broker exclude each other"), "{}", both.err);
}

#[test]
fn a_healthy_run_writes_no_log_line_and_only_the_brief_to_standard_output() {
    let world = World::with_runs();
    let did = world.run(&["run", "--ask", "What does the otter eat?", "--sources", "docs"]);
    for level in ["ERROR", "WARN", "INFO", "DEBUG"] {
        assert!(!did.err.contains(level) && !did.out.contains(level), "{}", did.err);
    }
    assert!(!did.err.contains('\x1b') && !did.out.contains('\x1b'), "a pipe cannot move a cursor");
    let quiet = world.run(&["-q", "run", "--ask", "What does the otter eat?", "--sources", "docs"]);
    assert_eq!(quiet.err, "");
    let logged = world.run(&["-v", "--log-format", "json", "run", "good.toml"]);
    let lines = logged.err.lines().filter(|line| line.starts_with('{'));
    assert!(lines.clone().count() > 0, "{}", logged.err);
    lines.for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
}

#[test]
fn everything_fits_40_80_and_120_columns() {
    let world = World::with_runs();
    let lines: [&[&str]; 14] = [
        &["run", "--ask", "What does the otter eat?", "--sources", "docs"],
        &["run", "bad.toml"],
        &["task", "ls"],
        &["task", "ls", "--run", "last"],
        &["task", "show", "last"],
        &["workflow", "ls"],
        &["workflow", "show", "last"],
        &["workflow", "check", "good.toml"],
        &["event", "replay"],
        &["state", "get"],
        &["dead", "ls"],
        &["dead", "show", "last"],
        &["tree"],
        &["doctor"],
    ];
    for columns in [40, 80, 120] {
        for line in lines {
            let output = world.command(line).env("COLUMNS", columns.to_string()).output().unwrap();
            // A run's own id is told whole, because it is to be copied.
            for text in [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()) {
                for row in text.lines().filter(|row| !row.starts_with("run     ")) {
                    assert!(row.chars().count() <= columns, "{line:?} at {columns}: {row}");
                }
            }
        }
    }
}

#[test]
fn without_utf8_what_is_drawn_is_ascii() {
    let world = World::with_runs();
    for line in
        [&["workflow", "graph", "good.toml"][..], &["workflow", "show", "last"], &["task", "ls"], &["event", "replay"]]
    {
        for locale in ["C", "de_DE.ISO-8859-1", ""] {
            let output = world.command(line).env("LC_ALL", locale).output().unwrap();
            assert!(output.stdout.is_ascii() && !output.stdout.is_empty(), "{line:?} in {locale:?}");
        }
    }
}

#[test]
fn a_reader_who_leaves_early_is_a_success() {
    let world = World::with_runs();
    for line in [&["event", "replay"][..], &["explain", "tree"], &["task", "ls", "--json"], &["run", "good.toml"]] {
        let mut child = world.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(child.wait().unwrap().success(), "{line:?}: {err}");
        assert!(!err.contains("error["), "{line:?}: {err}");
    }
}

/// In a network namespace without any device that is up, so that whoever wants to reach something fails.
#[cfg(target_os = "linux")]
#[test]
fn a_run_needs_no_network() {
    let world = World::with_runs();
    let line = ["run", "--ask", "What does the otter eat?", "--sources", "docs", "--json"];
    let inside = world.command(&line);
    let mut outside = std::process::Command::new("unshare");
    outside.args(["--user", "--map-root-user", "--net"]).env_clear().current_dir(world.path()).stdin(Stdio::null());
    outside.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if !outside.args(["true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no network namespace may be made here");
        return;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(outside.get_args().take(3)).arg(inside.get_program()).args(inside.get_args()).env_clear();
    command.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(world.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["status"], "completed");
    assert!(said["brief"].as_str().unwrap().contains("eats fish"), "{said}");
}

#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let world = World::with_runs();
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full here");
        return;
    };
    let output = world.command(&["task", "ls"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("error[CB0203]"));
}

#[test]
fn a_store_that_cannot_be_used_is_told_with_its_code() {
    let world = World::with_runs();
    let store = std::fs::read(world.path().join("store.db")).unwrap();
    let mut newer = store.clone();
    // The version is a big-endian number at byte 60 of every SQLite file.
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    world.file("newer.db", newer);
    let mut damaged = store.clone();
    damaged[100..].iter_mut().for_each(|byte| *byte = 0x55);
    world.file("damaged.db", damaged);
    for (name, code) in [("newer.db", "CB0201"), ("damaged.db", "CB0202")] {
        for line in [&["task", "ls"][..], &["run", "good.toml"], &["doctor"]] {
            let did = world.run(&[&["--store", name], line].concat());
            assert_eq!(did.exit, 3, "{name} {line:?}: {}{}", did.out, did.err);
            assert!(did.err.contains(code), "{name} {line:?}: {}", did.err);
        }
    }
}

#[test]
fn a_panic_of_an_agent_is_one_failed_task_and_no_backtrace() {
    let world = World::new();
    let input = r#"{"text":"x","panic":true}"#;
    let did = world.run(&["task", "submit", "diag.echo", "--input", input, "--attempts", "1", "--wait"]);
    assert_eq!(did.exit, 1, "{}", did.err);
    assert!(did.err.contains("error[CB0005]: diag.echo crashed: panicked: diag.echo was told to panic"), "{}", did.err);
    assert!(!did.err.contains("panicked at") && !did.err.contains("backtrace"), "{}", did.err);
}

/// What has no price costs nothing, so a run with `--budget cost=1.5` and such a model never stopped for its cost.
#[test]
fn a_budget_in_cost_is_refused_for_a_model_without_a_price_and_a_file_sets_one() {
    let world = World::new();
    world.file("docs/otter.md", "The otter eats fish.\n");
    let mut node = "[models]\ndefault = \"openai/mock\"\nurl = \"http://127.0.0.1:9/v1\"\n".to_owned();
    node += "[models.roles]\nqa = \"ollama/own\"\n[models.prices]\n\"openai/mock\" = { input = 1, output = 2 }\n";
    world.file("node.toml", &node);
    let run = ["run", "--ask", "What does the otter eat?", "--sources", "docs", "--budget", "cost=1.5"];
    let refused = |more: &[&str], name: &str| {
        let did = world.run(&[&run[..], more].concat());
        assert_eq!((did.exit, did.err.matches("which has no price").count()), (2, 1), "{}", did.err);
        assert!(did.err.contains(name) && did.err.contains("[models.prices]"), "{}", did.err);
    };
    refused(&["--model", "openai/gpt-5", "--model-url", "http://127.0.0.1:9/v1"], "openai/gpt-5");
    refused(&["--config", "node.toml"], "ollama/own");
    let file = |name: &str, budget: &str| world.file(name, format!("{node}[budget]\n{budget}\n"));
    file("cost.toml", "cost = 1.5");
    for command in [&run[..5], &["serve", "--http", "127.0.0.1:0"], &["mcp"]] {
        let did = world.run(&[command, &["--config", "cost.toml"]].concat());
        assert!(did.exit == 2 && did.err.contains("which has no price"), "{command:?}: {}", did.err);
    }
    // A workflow that has one is bounded by it as a run is for which it was typed.
    world.file("bounded.toml", GOOD.replace("[inputs]", "[budget]\ncost = 1.5\n[inputs]"));
    let bounded = |more: &[&str]| world.run(&[&["run", "bounded.toml"], more].concat());
    let did = bounded(&["--config", "node.toml"]);
    assert!(did.exit == 2 && did.err.contains("which has no price"), "{}", did.err);
    assert!(!world.path().join("store.db").exists(), "refused before anything is opened");
    assert_eq!(bounded(&[]).exit, 0, "there is no model whose price could be missing");
    world.file("node.toml", node.clone() + "\"ollama/own\" = { input = 0, output = 0 }\n");
    world.file("good.toml", GOOD);
    let did = world.run(&["run", "good.toml", "--budget", "cost=1.5", "--config", "node.toml"]);
    assert_eq!(did.exit, 0, "{}", did.err);
    assert_eq!(bounded(&["--config", "node.toml"]).exit, 0);
    assert_eq!(world.run(&["run", "good.toml", "--config", "nowhere.toml"]).exit, 2);
}
