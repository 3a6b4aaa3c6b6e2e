//! Every command that is printed for somebody to copy works as it is printed.

use std::process::Command;

use crate::kit::World;

/// The words of a command line as a shell splits them.
fn words(command: &str) -> Vec<String> {
    let script = format!("for word in {command}; do printf '%s\\n' \"$word\"; done");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "a shell cannot read: {command}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Runs a command as printed; it must be understood, whatever it then finds.
#[track_caller]
fn works(world: &World, from: &str, command: &str) {
    let words = words(command.strip_prefix("callboard ").unwrap_or_else(|| panic!("{from}: {command}")));
    let did = world.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(did.exit == 0 || did.exit == 1, "{from} says {command:?}, which ends with {}: {}", did.exit, did.err);
}

/// The commands in a text: after a label, alone in a block, or in a list of what could be done next.
fn commands(text: &str) -> Vec<String> {
    let starts = ["  fix: ", "next       ", "do it now  ", "resume  ", "again   ", "watch   "];
    let labelled = |line: &str| starts.iter().find_map(|start| line.strip_prefix(start)).map(str::to_owned);
    text.lines().filter_map(labelled).filter(|command| command.starts_with("callboard ")).collect()
}

#[test]
fn fixes_and_next_steps_work_as_printed() {
    let world = World::with_runs();
    let lines: [&[&str]; 15] = [
        &["taks", "ls"],
        &["task", "lss"],
        &["task", "ls", "--status", "faild"],
        &["task", "show", "nothing-like-it"],
        &["task", "show", "last"],
        &["task", "cancel", "last"],
        &["task", "submit", "diag.ehco", "--input", r#"{"text": "it's"}"#],
        &["task", "submit", "diag.echo", "--input", r#"{"text":"x"}"#],
        &["task", "retry", "last"],
        &["workflow", "show", "nothing-like-it"],
        &["run", "--ask", "What does the otter eat?", "--sources", "dosc"],
        &["run", "bad.toml"],
        &["state", "set", "plan", "1"],
        &["dead", "show", "99"],
        &["run"],
    ];
    let mut found = 0;
    for line in lines {
        let did = world.run(line);
        for command in commands(&did.err).into_iter().chain(commands(&did.out)) {
            works(&world, &line.join(" "), &command);
            found += 1;
        }
    }
    assert!(found >= 14, "only {found} commands were found");
}

#[test]
fn a_command_goes_on_with_the_store_that_was_named() {
    let world = World::with_runs();
    let did = world.run(&["--store", "other store.db", "task", "submit", "diag.echo", "--input", r#"{"text":"x"}"#]);
    let command = commands(&did.err).pop().unwrap();
    assert!(command.starts_with("callboard --store 'other store.db' workflow resume "), "{command}");
    works(&world, "task submit", &command);
}

#[test]
fn the_command_at_the_end_of_every_page_works() {
    let world = World::with_runs();
    let contents = world.json(&["explain"]);
    let mut pages = 0;
    for page in ["topics", "codes"].iter().flat_map(|list| contents[list].as_array().unwrap()) {
        let text = page["text"].as_str().unwrap();
        let block = text.trim_end().strip_suffix("```").unwrap().rsplit("```sh\n").next().unwrap();
        works(&world, page["name"].as_str().unwrap(), block.trim());
        pages += 1;
    }
    assert!(pages > 60, "only {pages} pages");
}

#[test]
fn on_a_terminal_what_could_be_done_next_works_too() {
    let world = World::with_runs();
    let exe = env!("CARGO_BIN_EXE_callboard");
    let script = |line: &str| {
        let mut command = world.command(&[]);
        let line = format!("stty cols 80; {exe} {line}");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &line, "/dev/null"]).current_dir(world.path()).env_clear();
        terminal.envs(command.stdin(std::process::Stdio::null()).get_envs().filter_map(|(k, v)| Some((k, v?))));
        terminal.env("PATH", path).env("TERM", "xterm").env("SHELL", "/bin/sh").output()
    };
    let Ok(output) = script("run --ask \"What does the otter eat?\" --sources docs") else {
        eprintln!("skipped: there is no `script` here to make a terminal");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    assert!(text.contains("\x1b[K"), "progress is redrawn on a terminal: {text:?}");
    let screen: Vec<&str> = text.lines().collect();
    assert!(screen.iter().all(|line| line.replace("\x1b[K", "").chars().count() <= 90), "{text}");
    let hints: Vec<&str> =
        screen.iter().filter_map(|line| line.split_once("  callboard ")).map(|(_, verb)| verb).collect();
    assert_eq!(hints.len(), 3, "{text}");
    for hint in hints {
        works(&world, "run --ask", &format!("callboard {hint}"));
    }
}
