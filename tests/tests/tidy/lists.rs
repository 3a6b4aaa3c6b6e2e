//! Lists that must be complete: examples, error codes.

use callboard_broker::code::Code;
use callboard_tests::shown::of_example;

/// Lines of an example, and of the first one.
const EXAMPLE: usize = 100;
const FIRST: usize = 40;

/// Examples that are missing somewhere, too long, or do not say what a reader will see. `files` are those of the folder.
pub(crate) fn examples(files: &[(&str, &str)], manifest: &str, pages: &str) -> Vec<String> {
    let mut found = Vec::new();
    let sources = files.iter().filter_map(|(path, text)| Some((path.rsplit('/').next()?.strip_suffix(".rs")?, *text)));
    let sources: Vec<_> = sources.collect();
    for (name, text) in &sources {
        let (lines, limit) = (text.lines().count(), if *name == "quickstart" { FIRST } else { EXAMPLE });
        if lines >= limit {
            found.push(format!("examples/{name}.rs: {lines} lines, it should have fewer than {limit}"));
        }
        if !manifest.contains(&format!("name = \"{name}\"")) {
            found.push(format!("examples/{name}.rs is not in examples/Cargo.toml"));
        }
        if !pages.contains(&format!("--example {name}")) && !pages.contains(&format!("examples/{name}.rs")) {
            found.push(format!("examples/{name}.rs is on no page"));
        }
        if !text.starts_with("//! ") || of_example(text).is_empty() {
            found.push(format!("examples/{name}.rs does not say what you will see"));
        }
        let foreign = text.lines().filter_map(|line| line.strip_prefix("use ")).find(|used| {
            !["callboard", "tokio", "std"].contains(&used.split("::").next().unwrap_or_default().trim_end_matches(';'))
        });
        found.extend(foreign.map(|used| format!("examples/{name}.rs uses {used}")));
    }
    let listed = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let gone = listed.filter(|name| *name != "callboard-examples" && !sources.iter().any(|(known, _)| known == name));
    found.extend(gone.map(|name| format!("examples/Cargo.toml lists {name}, which is not there")));
    found
}

/// Codes that the index does not list with their title, and rows of the index that are no code.
pub(crate) fn codes(codes: &[Code], index: &str) -> Vec<String> {
    let row = |code: &Code| format!("| [{0}]({0}.md) | {1} |", code.code, code.title);
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| [CB")).collect();
    let missing =
        codes.iter().map(row).filter(|row| !rows.contains(&row.as_str())).map(|row| format!("missing: {row}"));
    let foreign = rows.iter().filter(|line| !codes.iter().any(|code| row(code) == **line));
    missing.chain(foreign.map(|line| format!("no code: {line}"))).collect()
}

#[test]
fn an_example_that_is_not_listed_or_explained_is_found() {
    let good = "//! Says hello.\n//!\n//! ```text\n//! hello\n//! ```\nuse callboard::Node;\nfn main() {}\n";
    let (manifest, pages) = ("[[example]]\nname = \"hello\"\n", "`examples/hello.rs`");
    assert_eq!(examples(&[("examples/hello.rs", good)], manifest, pages), Vec::<String>::new());
    let long = format!("{good}{}", "\n".repeat(EXAMPLE));
    assert_eq!(examples(&[("examples/hello.rs", &long)], manifest, pages).len(), 1);
    let bad = "use serde::Serialize;\nfn main() {}\n";
    assert_eq!(examples(&[("examples/bye.rs", bad)], "name = \"gone\"", pages).len(), 5);
}

#[test]
fn a_code_that_is_not_listed_is_found() {
    let code = Code { code: "CB0001", title: "the queue is full", page: "" };
    assert_eq!(codes(&[code], "| [CB0001](CB0001.md) | the queue is full |"), Vec::<String>::new());
    assert_eq!(codes(&[code], "| [CB0001](CB0001.md) | the queue is long |").len(), 2);
    assert_eq!(codes(&[code], "").len(), 1);
}
