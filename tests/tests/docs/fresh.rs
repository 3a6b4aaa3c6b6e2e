//! The programs of the pages, in fresh crates that have exactly the dependency lines of their page.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use callboard_tests::{programs, shown};

use crate::blocks::{Block, Page};

/// A program as a reader would have it after following a page to that point.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    /// For messages: the page and the line of its block.
    at: String,
    /// The lines of its manifest from `[dependencies]` on.
    dependencies: String,
    source: String,
    is_test: bool,
    /// What the page shows that it prints: the `text` block right after it.
    prints: Option<String>,
}

/// The dependency lines of a page, or of the README.
pub(crate) fn dependencies(page: &Page) -> Option<&Block> {
    page.blocks.iter().find(|block| block.language == "toml" && block.text.starts_with("[dependencies]"))
}

/// The programs of a page, with the dependency `lines` of the README unless it shows its own. A block without a `main`
/// goes on with the program above it.
pub(crate) fn programs(page: &Page, lines: &str) -> Vec<Program> {
    let mut found: Vec<Program> = Vec::new();
    let dependencies = dependencies(page).map_or(lines, |block| &block.text).to_owned();
    for (at, block) in page.blocks.iter().enumerate() {
        let here = format!("{}:{}", page.path, block.line);
        if block.language != "rust" {
            continue;
        }
        let is_test = block.text.contains("::test]") || block.text.contains("#[test]");
        let whole = block.text.contains("fn main()");
        let above = found.last().filter(|_| !whole).map(|above| above.source.clone()).unwrap_or_default();
        let after = page.blocks.get(at + 1).filter(|next: &&Block| next.language == "text" && whole);
        found.push(Program {
            at: here,
            dependencies: dependencies.clone(),
            source: format!("{above}{}", block.text),
            is_test,
            prints: after.map(|next| next.text.clone()),
        });
    }
    found
}

/// Builds and runs them; what did not work.
pub(crate) fn run(programs: &[Program]) -> Vec<String> {
    let mut crates: BTreeMap<&str, Vec<&Program>> = BTreeMap::new();
    for program in programs {
        crates.entry(&program.dependencies).or_default().push(program);
    }
    let crates = crates.into_iter().enumerate();
    crates.flat_map(|(number, (dependencies, programs))| Fresh::new(number, dependencies, &programs).run()).collect()
}

/// A crate of its own, outside the workspace.
struct Fresh<'p> {
    folder: PathBuf,
    programs: Vec<(String, &'p Program)>,
}

impl<'p> Fresh<'p> {
    fn new(number: usize, dependencies: &str, programs: &[&'p Program]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fresh-{number}"));
        let named = programs.iter().map(|program| (name(&program.at), *program)).collect();
        let fresh = Self { folder, programs: named };
        // What pages had before must not be built again.
        for gone in ["src", "tests"] {
            let _ = fs::remove_dir_all(fresh.folder.join(gone));
        }
        write(&fresh.folder.join("Cargo.toml"), &manifest(dependencies));
        // The same versions as ours: what the workspace was built with is there without a network.
        write(&fresh.folder.join("Cargo.lock"), &read("Cargo.lock"));
        for (name, program) in &fresh.programs {
            let path = if program.is_test { format!("tests/{name}.rs") } else { format!("src/bin/{name}.rs") };
            write(&fresh.folder.join(path), &program.source);
        }
        fresh
    }

    /// The tests, which builds the programs too; then the programs.
    fn run(&self) -> Vec<String> {
        let tested = self.cargo(&["test", "--quiet", "--offline", "--bins", "--tests"]);
        if !tested.status.success() {
            return vec![format!("{}\n{}", self.places(), both(&tested))];
        }
        let built = self.cargo(&["build", "--quiet", "--offline", "--bins"]);
        assert!(built.status.success(), "{}", both(&built));
        self.programs
            .iter()
            .filter(|(_, program)| !program.is_test)
            .filter_map(|(name, p)| self.start(name, p))
            .collect()
    }

    fn start(&self, name: &str, program: &Program) -> Option<String> {
        let file = programs::folder().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let ran = Command::new(file).current_dir(&self.folder).output().expect("it starts");
        if !ran.status.success() {
            return Some(format!("{}: {}\n{}", program.at, ran.status, both(&ran)));
        }
        let lines: Vec<&str> = program.prints.as_ref()?.lines().collect();
        let differs = shown::differs(&lines, &String::from_utf8_lossy(&ran.stdout));
        differs.map(|why| format!("{}: {why}", program.at))
    }

    fn cargo(&self, arguments: &[&str]) -> Output {
        programs::cargo().args(arguments).current_dir(&self.folder).output().expect("cargo runs")
    }

    fn places(&self) -> String {
        let places = self.programs.iter().map(|(name, program)| format!("{name} is {}", program.at));
        places.collect::<Vec<_>>().join("\n")
    }
}

/// The page's lines, with the place of this workspace where the page has that of the reader's copy; and the profile of
/// the workspace, so that what both need is built once.
fn manifest(dependencies: &str) -> String {
    let root = programs::root().to_string_lossy().replace('\\', "/");
    let dependencies = dependencies.replace("path = \"../callboard/", &format!("path = \"{root}/"));
    let workspace: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let profile = toml::Table::from_iter([("profile".to_owned(), workspace["profile"].clone())]);
    let package = "[package]\nname = \"fresh\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n";
    format!("{package}\n{dependencies}\n{profile}")
}

/// `README.md:45` as the name of a program.
fn name(at: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    at.replace(".md:", "_").chars().map(plain).collect()
}

/// Leaves a file with the same content alone, so that nothing is built for nothing.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn read(path: &str) -> String {
    fs::read_to_string(programs::root().join(path)).expect("a file of the workspace")
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn a_program_takes_the_lines_of_its_page_and_goes_on_with_what_stands_above() {
    let text = "```toml\n[dependencies]\na = \"1\"\n```\n```rust\nfn main() {}\n```\n```text\nhello\n```\n```rust\n#[test]\nfn t() {}\n```\n";
    let found = programs(&Page { path: "docs/a.md".into(), blocks: crate::blocks::of(text) }, "");
    assert_eq!(
        (found[0].at.as_str(), found[0].prints.as_deref(), found[0].is_test),
        ("docs/a.md:5", Some("hello\n"), false)
    );
    assert_eq!((found[1].source.as_str(), found[1].is_test), ("fn main() {}\n#[test]\nfn t() {}\n", true));
    assert_eq!(name(&found[1].at), "docs_a_11");
}

#[test]
fn a_program_that_does_not_compile_or_prints_something_else_is_found() {
    let program = |source: &str, prints: &str| Program {
        at: format!("bad.md:{}", source.len()),
        dependencies: format!("[dependencies]\n# {source}\n"),
        source: source.into(),
        is_test: false,
        prints: Some(prints.into()),
    };
    let says = |what: &str| format!("fn main() {{ println!(\"{what}\"); }}");
    let run = |program: Program| Fresh::new(1000 + program.source.len(), &program.dependencies, &[&program]).run();
    assert_eq!(run(program(&says("hello"), "hello\n")), Vec::<String>::new());
    assert!(run(program(&says("good bye"), "hello\n"))[0].contains("this does not: hello"));
    assert!(run(program("fn main() { hello }", ""))[0].contains("cannot find value"));
}
