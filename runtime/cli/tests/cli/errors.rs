//! Whatever is typed or written wrong is told in one format, and every message keeps its promises.

use serde_json::Value;

use crate::kit::{Did, GOOD, World};

/// A line that cannot be run: what is typed, the exit code, the code of its first problem, and a word of its cure.
const WRONG: &[(&str, i32, &str, &str)] = &[
    ("taks", 2, "CB0401", "fix: callboard task"),
    ("good.toml", 2, "CB0401", "fix: callboard run good.toml"),
    ("task", 2, "CB0404", "submit, ls, show"),
    ("task lss --limit 5", 2, "CB0401", "fix: callboard task ls --limit 5"),
    ("task ls --limti 5", 2, "CB0402", "fix: callboard task ls --limit 5"),
    ("task ls --limit 0", 2, "CB0403", "1..=1000"),
    ("task ls --limit many", 2, "CB0403", "--limit"),
    ("task ls --status faild", 2, "CB0403", "fix: callboard task ls --status failed"),
    ("task ls --capability Research", 2, "CB0403", "Research"),
    ("task ls more", 2, "CB0403", "takes no \"more\""),
    ("task show", 2, "CB0404", "<TASK>"),
    ("task show nothing-like-it", 2, "CB0405", "callboard task ls"),
    ("task show last last", 2, "CB0403", "takes no"),
    ("task submit", 2, "CB0404", "<CAPABILITY>"),
    ("task submit diag.ehco", 2, "CB0024", "fix: callboard task submit diag.echo"),
    ("task submit diag.echo --input {", 2, "CB0409", "--input:1:"),
    ("task submit diag.echo --input @nowhere.json", 2, "CB0109", "nowhere.json"),
    ("task submit diag.echo --timeout 5", 2, "CB0403", "--timeout"),
    ("task submit diag.echo --priority urgent", 2, "CB0403", "high, normal or bulk"),
    ("task submit diag.echo --run a_b", 2, "CB0403", "--run"),
    ("--store memory task submit diag.echo", 2, "CB0403", "--wait"),
    ("task cancel last", 2, "CB0411", "callboard task show"),
    ("task retry nothing-like-it", 2, "CB0405", "callboard task ls"),
    ("run", 2, "CB0404", "or --ask"),
    ("run nowhere.toml", 2, "CB0109", "bad.toml"),
    ("run docs", 2, "CB0109", "it is no file"),
    ("run good.toml -i whoo=x", 2, "CB0119", "-i who="),
    ("run good.toml -i who", 2, "CB0403", "-i who=..."),
    ("run good.toml --ask what --sources docs", 2, "CB0403", "cannot be used together"),
    ("run --ask what", 2, "CB0404", "--sources"),
    ("run --ask what --sources dosc", 2, "CB0301", "--sources docs"),
    ("run --ask what --sources empty", 2, "CB0302", "empty"),
    ("run --ask what --sources binary", 2, "CB0304", "task show"),
    ("run --ask what --sources ftp://host/x", 2, "CB0308", "https://host/x"),
    ("workflow check nowhere.toml", 2, "CB0109", "bad.toml"),
    ("workflow show nothing-like-it", 2, "CB0405", "callboard workflow ls"),
    ("workflow resume", 2, "CB0404", "<RUN>"),
    ("workflow graph good.toml --form svg", 2, "CB0403", "mermaid"),
    ("event replay --from first", 2, "CB0403", "--from"),
    ("event replay --run nothing-like-it", 2, "CB0405", "callboard workflow ls"),
    ("state get global.nothing", 2, "CB0405", "callboard state get"),
    ("state set plan 1", 2, "CB0410", "global.name"),
    ("state set global.plan {a}", 2, "CB0409", "VALUE:1:2"),
    ("state history plan", 2, "CB0410", "global.name"),
    ("state at yesterday", 2, "CB0403", "yesterday"),
    ("dead show 99", 2, "CB0413", "callboard dead ls"),
    ("dead show first", 2, "CB0403", "callboard dead ls"),
    ("dead purge", 2, "CB0412", "callboard dead purge --yes"),
    ("agent", 2, "CB0404", "ls"),
    ("config check nowhere.toml", 2, "CB0109", "bad.toml"),
    ("explain xyzzy plugh", 2, "CB0408", "callboard explain"),
    ("completions tcsh", 2, "CB0403", "bash"),
    ("--store good.toml task ls", 3, "CB0206", "good.toml"),
    ("--store docs run good.toml", 3, "CB0206", "folder"),
    ("--store /proc/nowhere/x.db task submit diag.echo", 3, "CB0204", "--store"),
    ("--log-format xml tree", 2, "CB0403", "text or json"),
];

/// Every problem: at most 8 lines of 80 columns, its code first, and nothing that only a programmer could read.
#[track_caller]
pub(crate) fn keeps_its_promises(what: &str, did: &Did) {
    let told: Vec<&str> = did.err.split("\n\n").filter(|block| block.contains("error[")).collect();
    assert!(!told.is_empty(), "{what}: no error in {:?}", did.err);
    for block in told {
        let lines: Vec<&str> = block.lines().skip_while(|line| !line.starts_with("error[CB")).collect();
        assert!(!lines.is_empty() && lines.len() <= 8, "{what}: {} lines\n{block}", lines.len());
        for line in lines {
            assert!(line.chars().count() <= 80, "{what}: wider than 80\n{line}");
        }
    }
    for word in ["Some(", "Os {", "{ kind", "panicked at", "os error", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!did.err.contains(word), "{what}: {word} in\n{}", did.err);
    }
    assert!(did.out.is_empty(), "{what}: data beside an error\n{}", did.out);
}

fn world() -> World {
    let world = World::with_runs();
    std::fs::create_dir(world.path().join("empty")).unwrap();
    world.file("binary/x.bin", [0xff, 0x00, 0xfe, 0x80].repeat(64));
    world
}

#[test]
fn every_wrong_line_is_told_with_its_code_and_its_cure() {
    let world = world();
    for (line, exit, code, cure) in WRONG {
        let did = world.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(did.exit, *exit, "{line}: {}", did.err);
        assert!(did.err.contains(&format!("error[{code}]: ")), "{line}: not {code}\n{}", did.err);
        assert!(did.err.contains(cure), "{line}: no {cure:?} in\n{}", did.err);
        keeps_its_promises(line, &did);
    }
}

#[test]
fn with_json_the_same_problems_are_objects() {
    let world = world();
    for (line, exit, code, _) in WRONG {
        let did = world.run(&[&line.split(' ').collect::<Vec<_>>()[..], &["--json", "--quiet"]].concat());
        assert_eq!(did.exit, *exit, "{line}: {}", did.err);
        let said: Value = serde_json::from_str(&did.err).unwrap_or_else(|why| panic!("{line}: {why}: {}", did.err));
        let first = &said["errors"][0];
        assert_eq!(first["code"], *code, "{line}: {said}");
        assert!(first["what"].is_string() && did.out.is_empty() || did.out.starts_with('{'), "{line}: {said}");
    }
}

#[test]
fn every_broken_workflow_of_the_corpus_is_refused_with_its_places() {
    let world = World::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/workflow");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        std::fs::copy(&path, world.path().join(name)).unwrap();
        for verb in [&["workflow", "check"][..], &["config", "check"], &["run"]] {
            let did = world.run(&[verb, &[name]].concat());
            // What only is wrong with what it names is seen where that is known; and one with a name alone is a node's.
            if verb[0] == "config" && did.exit == 0 {
                assert!(["no-tasks.toml", "unknown-capability.toml"].contains(&name), "{name}");
                continue;
            }
            assert_eq!(did.exit, 2, "{verb:?} {name}: {}", did.err);
            keeps_its_promises(name, &did);
        }
        files += 1;
    }
    assert!(files >= 40, "only {files} broken files");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let world = World::new();
    let broken = GOOD.replace("name = \"intro\"", "nmae = \"intro\"").replace("attempts = 2", "attempts = 0");
    world.file("broken.toml", broken);
    let did = world.run(&["workflow", "check", "broken.toml"]);
    for (code, place) in [("CB0103", "broken.toml:2:1"), ("CB0105", "broken.toml"), ("CB0107", "broken.toml:14:22")] {
        assert!(did.err.contains(code) && did.err.contains(place), "no {code} at {place} in\n{}", did.err);
    }
}

#[test]
fn a_setting_that_nobody_knows_is_refused_by_every_command() {
    let world = World::new();
    for line in [&["tree"][..], &["task", "ls"], &["config", "check"], &["run", "good.toml"]] {
        let output = world.command(line).env("CALLBOARD_STROE", "x").output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line:?}: {err}");
        assert!(err.contains("CB0103") && err.contains("CALLBOARD_STORE"), "{err}");
    }
    // Whoever is lost must still be able to ask.
    assert_eq!(
        world.command(&["explain", "CB0103"]).env("CALLBOARD_STROE", "x").output().unwrap().status.code(),
        Some(0)
    );
}

#[test]
fn an_ending_that_fits_several_ids_lists_them() {
    let world = World::new();
    for run in ["jan-17", "feb-17"] {
        assert_eq!(world.run(&["task", "submit", "diag.echo", "--run", run]).exit, 0);
    }
    let did = world.run(&["task", "show", "17"]);
    assert!(did.exit == 2 && did.err.contains("CB0406") && did.err.contains("jan-17") && did.err.contains("feb-17"));
    assert_eq!(world.json(&["task", "show", "n-17"])["id"], "jan-17");
}
