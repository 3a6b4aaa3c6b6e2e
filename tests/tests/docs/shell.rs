//! Typing what a page shows, in a shell, beside a copy of the documents.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callboard_tests::{programs, shown};
use tempfile::TempDir;
use tokio::process::Command;

use crate::blocks::{Block, Page};

/// How long one block may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What CI itself runs, or what a reader does once to have a copy: not typed again here.
const ELSEWHERE: &[&str] = &["git clone", "cd ", "cargo test", "cargo doc", ".ci/run"];

/// A command with the lines that the page shows below it.
#[derive(Debug, PartialEq)]
struct Typed {
    command: String,
    shows: Option<Vec<String>>,
}

/// Follows a page from top to bottom, in one folder; what did not go as shown.
pub(crate) async fn follow(page: &Page) -> Vec<String> {
    let mut found = Vec::new();
    let mut desk: Option<Desk> = None;
    for (at, block) in page.blocks.iter().enumerate().filter(|(_, block)| block.is_typed() || block.is_file()) {
        let desk = match &mut desk {
            Some(desk) => desk,
            None => desk.insert(Desk::new(&page.path).await),
        };
        if let Some(name) = block.file_name() {
            std::fs::write(desk.folder.path().join(name), &block.text).expect("a file");
            continue;
        }
        let shown = page.blocks.get(at + 1).filter(|next| next.language == "text");
        found.extend(desk.follow(&format!("{}:{}", page.path, block.line), &typed(block, shown)).await);
    }
    found
}

/// The commands of a block: each line of `sh`, the last one with the `text` below it; in `console` those after `$ `,
/// with the lines up to the next one.
fn typed(block: &Block, shown: Option<&Block>) -> Vec<Typed> {
    let mut commands: Vec<Typed> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Typed { command: command.into(), shows: Some(Vec::new()) }),
            (None, Some(Typed { shows: Some(shows), .. })) => shows.push(line.into()),
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            _ => commands.push(Typed { command: line.into(), shows: None }),
        }
    }
    if let (Some(last), Some(shown)) = (commands.last_mut(), shown) {
        last.shows = Some(shown.text.lines().map(str::to_owned).collect());
    }
    commands.retain(|typed| !ELSEWHERE.iter().any(|start| typed.command.starts_with(start)));
    commands
}

/// A folder with the documents, a store of its own, and `callboard` on the path.
struct Desk {
    folder: TempDir,
}

impl Desk {
    async fn new(page: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder") };
        for name in ["docs", "examples"] {
            copy(&programs::root().join(name), &desk.folder.path().join(name));
        }
        // The reader of an error's page or of a topic has run something before.
        if page.starts_with("docs/errors") || page.starts_with("docs/topics") {
            let ask = "callboard run --ask 'What does a supervisor restart?' --sources docs/semantics.md";
            let ran = desk.shell(ask).await;
            assert!(ran.0, "{ask}: {}", ran.1);
        }
        desk
    }

    async fn follow(&self, at: &str, commands: &[Typed]) -> Vec<String> {
        if commands.is_empty() {
            return Vec::new();
        }
        // One shell for the block, so that `&` and `$!` mean what they mean to the reader.
        let mark = |n: usize| format!("--- {n} ended ---");
        let lines = commands.iter().enumerate();
        let script: String =
            lines.map(|(n, typed)| format!("{}\necho \"{} $?\"\n", here(&typed.command), mark(n))).collect();
        let (_, printed) = self.shell(&script).await;
        let mut rest = printed.as_str();
        let mut found = Vec::new();
        for (n, typed) in commands.iter().enumerate() {
            let Some((output, more)) = rest.split_once(&mark(n)) else {
                found.push(format!("{at}: {}: did not end\n{rest}", typed.command));
                break;
            };
            let (code, more) = more.split_once('\n').unwrap_or((more, ""));
            rest = more;
            found.extend(judge(typed, code.trim(), output).map(|why| format!("{at}: {}: {why}", typed.command)));
        }
        found
    }

    /// Whether it succeeded, and what it printed.
    async fn shell(&self, script: &str) -> (bool, String) {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = programs::callboard();
        let bin = bin.parent().expect("a folder").to_string_lossy();
        let shell = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.folder.path())
            .env("PATH", format!("{bin}:{path}"))
            .env("HOME", self.folder.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("CALLBOARD_STORE")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(PATIENCE, shell).await {
            Ok(ran) => {
                let ran = ran.expect("bash runs");
                (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned())
            }
            Err(_) => (false, format!("not done after {PATIENCE:?}")),
        }
    }
}

/// A reader types `cargo` at the root of a copy; the same program is on the path here.
fn here(command: &str) -> String {
    command.replace("cargo callboard", "callboard").replace("cargo run --quiet -p callboard-cli --", "callboard")
}

/// Why a command did not do what the page says: it failed although no error is shown, or printed something else.
fn judge(typed: &Typed, code: &str, printed: &str) -> Option<String> {
    let mut shows: Vec<&str> = typed.shows.iter().flatten().map(String::as_str).collect();
    while shows.last().is_some_and(|line| line.trim().is_empty()) {
        shows.pop();
    }
    let fails = shows.iter().any(|line| line.starts_with("error[") || line.contains("Killed"));
    if (code == "0") == fails {
        return Some(format!("ended with {code}\n{printed}"));
    }
    if shows.is_empty() { None } else { shown::differs(&shows, printed) }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        let into = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &into);
        } else {
            std::fs::copy(&path, &into).expect("a copy");
        }
    }
}

#[test]
fn commands_are_told_from_what_they_show() {
    let block = |language: &str, text: &str| Block { line: 1, language: language.into(), text: text.into() };
    let console = typed(&block("console", "$ callboard a\nout\n$ callboard b\n"), None);
    let expect = |command: &str, shows: Option<&[&str]>| Typed {
        command: command.into(),
        shows: shows.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect()),
    };
    assert_eq!(console, [expect("callboard a", Some(&["out"])), expect("callboard b", Some(&[]))]);
    let sh = typed(&block("sh", "# first\ncallboard a\ncallboard b\ncargo test --workspace\n"), None);
    assert_eq!(sh, [expect("callboard a", None), expect("callboard b", None)]);
    let shown = typed(&block("sh", "callboard a\n"), Some(&block("text", "out\n")));
    assert_eq!(shown, [expect("callboard a", Some(&["out"]))]);
}

#[tokio::test]
async fn a_command_that_fails_or_shows_something_else_is_found() {
    let desk = Desk { folder: tempfile::tempdir().expect("a folder") };
    let block = |text: &str| Block { line: 1, language: "console".into(), text: text.into() };
    let found = desk
        .follow("page:1", &typed(&block("$ echo one; echo two\none\n...\n$ false\n$ echo three\nfour\n"), None))
        .await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("page:1: false: ended with 1"), "{found:?}");
    assert!(found[1].contains("this does not: four"), "{found:?}");
    let fine = desk
        .follow(
            "page:1",
            &typed(&block("$ echo 'error[CB0001]: x'; exit_code() { return 2; }; exit_code\nerror[CB0001]: x\n"), None),
        )
        .await;
    assert_eq!(fine, Vec::<String>::new());
}
