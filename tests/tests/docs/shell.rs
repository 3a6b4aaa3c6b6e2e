//! Typing what a page shows, in a shell, beside a copy of the documents.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callboard_tests::{programs, shown};
use tempfile::TempDir;
use tokio::process::Command;

use crate::blocks::{Block, Page};

/// How long one block may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What CI itself runs, what a reader does once to have a copy, and benchmarks: not typed here.
const ELSEWHERE: &[&str] = &["git clone", "cd ", "cargo test", "cargo doc", "cargo run --release", ".ci/run"];

/// A command with the lines that the page shows below it.
#[derive(Debug, PartialEq)]
struct Typed {
    command: String,
    shows: Option<Vec<String>>,
}

/// Follows the pages; what did not go as shown.
///
/// A page of an error or a topic explains what somebody has met who has used the program: those pages share one desk that
/// has been used, and a command that several of them end in is typed once. Every other page begins at a desk of its own.
pub(crate) async fn follow(pages: &[Page]) -> Vec<String> {
    let used = Desk::used().await;
    let (mut known, mut found) = (HashSet::new(), Vec::new());
    for page in pages.iter().filter(|page| page.blocks.iter().any(Block::is_typed)) {
        if page.path.starts_with("docs/errors") || page.path.starts_with("docs/topics") {
            found.extend(used.read(page, |block| known.insert(&block.text)).await);
        } else {
            found.extend(Desk::new().read(page, |_| true).await);
        }
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
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder") };
        for name in ["docs", "examples"] {
            copy(&programs::root().join(name), &desk.folder.path().join(name));
        }
        desk
    }

    /// One at which a run has been done.
    async fn used() -> Self {
        let desk = Self::new();
        let ask = "callboard run --ask 'What does a supervisor restart?' --sources docs/semantics.md";
        let (done, printed) = desk.shell(ask).await;
        assert!(done, "{ask}: {printed}");
        desk
    }

    /// Follows a page from top to bottom, but for blocks that are not `new`.
    async fn read<'p>(&self, page: &'p Page, mut new: impl FnMut(&'p Block) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for (at, block) in page.blocks.iter().enumerate() {
            if let Some(name) = block.file_name() {
                std::fs::write(self.folder.path().join(name), &block.text).expect("a file");
            } else if block.is_typed() && new(block) {
                let shown = page.blocks.get(at + 1).filter(|next| next.language == "text");
                let at = format!("{}:{}", page.path, block.line);
                found.extend(self.follow(&at, &typed(block, shown)).await);
            }
        }
        found
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
                let printed = String::from_utf8_lossy(&ran.stdout);
                // That a job was killed is told by bash whenever it comes to notice.
                let told = printed.lines().filter(|line| !(line.starts_with("bash: line ") && line.contains("Killed")));
                (ran.status.success(), told.map(|line| format!("{line}\n")).collect())
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
    let fails = shows.iter().any(|line| line.starts_with("error["));
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
