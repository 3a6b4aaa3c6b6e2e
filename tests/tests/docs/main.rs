//! No page lies: every block of README and docs, and every example, is run as a reader would run it.
//!
//! Goal: a stranger who types what a page shows sees what the page shows. Method: `rust` blocks become programs of a
//! fresh crate that has exactly the dependency lines of its page; `sh` and `console` blocks are typed into a shell beside
//! a copy of the documents, and a `text` block after `sh` is what that prints; examples are started and compared with their heads.

mod blocks;
mod fresh;
mod shell;

use std::time::Duration;

use blocks::Page;
use callboard_tests::{programs, shown};
use tokio::process::Command;

/// Examples that serve until they are told to stop; what they do is tested where nodes are.
const SERVE: [&str; 1] = ["own_node"];
/// How long an example may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails with everything that was found, a paragraph each.
#[track_caller]
fn holds(found: Vec<String>) {
    assert!(found.is_empty(), "{} do not hold:\n\n{}", found.len(), found.join("\n\n"));
}

#[tokio::test]
async fn every_example_prints_what_its_head_says() {
    let manifest = std::fs::read_to_string(programs::root().join("examples/Cargo.toml")).expect("the manifest");
    let names = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix(".rs\""));
    let mut found = Vec::new();
    let mut examples = 0;
    for name in names.filter(|name| !SERVE.contains(name)) {
        let source = std::fs::read_to_string(programs::root().join(format!("examples/{name}.rs"))).expect("an example");
        let ran = Command::new(programs::example(name)).current_dir(programs::root()).kill_on_drop(true).output();
        let Ok(ran) = tokio::time::timeout(PATIENCE, ran).await else {
            found.push(format!("example {name}: not done after {PATIENCE:?}"));
            continue;
        };
        let ran = ran.expect("it starts");
        let printed = String::from_utf8_lossy(&ran.stdout);
        let differs = shown::differs(&shown::of_example(&source), &printed);
        found.extend(differs.map(|why| format!("example {name}: {why}")));
        if !ran.status.success() || !ran.stderr.is_empty() {
            found.push(format!("example {name}: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr)));
        }
        examples += 1;
    }
    assert!(examples > 0, "no example is listed");
    holds(found);
}

#[test]
fn every_program_on_a_page_works_in_a_fresh_crate() {
    let pages = Page::all();
    let readme = pages.iter().find(|page| page.path == "README.md").and_then(fresh::dependencies);
    let lines = &readme.expect("the README shows what to depend on").text;
    let programs = pages.iter().flat_map(|page| fresh::programs(page, lines)).collect::<Vec<_>>();
    assert!(!programs.is_empty(), "no page has a program");
    holds(fresh::run(&programs));
}

#[tokio::test]
async fn every_command_on_a_page_works_as_printed() {
    let pages = Page::all();
    let commands = pages.iter().flat_map(|page| &page.blocks).filter(|block| block.is_typed()).count();
    assert!(commands > 0, "no page has a command");
    holds(shell::follow(&pages).await);
}
