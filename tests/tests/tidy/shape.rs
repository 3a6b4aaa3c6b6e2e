//! What a source file may look like: how long, and without which words.

use crate::code::{bare, functions};

/// Lines of a file, without its tests.
const FILE: usize = 500;
/// Lines of a function.
const FUNCTION: usize = 70;

/// Whether a file is a test, an example or their kit: those may be longer, and may print.
fn is_test(path: &str) -> bool {
    format!("/{path}").contains("/tests") || path.ends_with("tests.rs") || path.starts_with("examples/")
}

/// The part before the test module at the foot of a file.
fn product(text: &str) -> &str {
    let foot = text.match_indices("#[cfg(test)]\n").find(|(at, head)| text[at + head.len()..].starts_with("mod "));
    match foot {
        Some((at, head)) if text[at + head.len()..].lines().next().is_some_and(|line| line.ends_with('{')) => {
            &text[..at]
        }
        _ => text,
    }
}

/// Files and functions that are too long.
pub(crate) fn lengths(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let product = product(text);
    let lines = product.lines().count();
    let file = (lines > FILE).then(|| format!("{path}: {lines} lines, {FILE} are allowed"));
    let long = functions(&bare(product)).into_iter().filter(|function| function.lines > FUNCTION);
    let long = long.map(|f| format!("{path}:{}: fn {} has {} lines, {FUNCTION} are allowed", f.line, f.name, f.lines));
    file.into_iter().chain(long).collect()
}

/// A word that may not be called, with those who may, and the reason.
struct Ban {
    words: &'static [&'static str],
    but_for: &'static [&'static str],
    reason: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["println!", "eprintln!", "print!", "eprint!"],
        but_for: &["runtime/cli/"],
        reason: "only the command line prints",
    },
    Ban { words: &["process::exit"], but_for: &["runtime/cli/"], reason: "only the command line ends a process" },
    Ban {
        words: &["catch_unwind"],
        // A broken PDF makes its reader panic, and the one writer of a store must outlive whatever a command does.
        but_for: &["runtime/", "agents/src/source/pdf.rs", "broker/src/sqlite/desk.rs"],
        reason: "panics are caught where agents are run",
    },
];

/// Calls of somebody who meant to come back, in tests too.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Notes that something is unfinished. Written apart, or this file would be one of those that it looks for.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Banned calls, unfinished work, lints silenced without a reason.
pub(crate) fn words(path: &str, text: &str) -> Vec<String> {
    let bare = bare(text);
    let mut found = Vec::new();
    for (number, (line, raw)) in bare.lines().zip(text.lines()).enumerate() {
        let at = format!("{path}:{}", number + 1);
        let bans =
            BANS.iter().filter(|ban| !is_test(path) && !ban.but_for.iter().any(|folder| path.starts_with(folder)));
        for ban in bans {
            let called = ban.words.iter().filter(|word| has_word(line, word));
            found.extend(called.map(|word| format!("{at}: {word}: {}", ban.reason)));
        }
        let unfinished = UNFINISHED.iter().filter(|word| has_word(line, word));
        let notes = NOTES.iter().filter(|note| has_word(raw, note));
        found.extend(unfinished.chain(notes).map(|note| format!("{at}: {note}: it is unfinished")));
    }
    let silenced =
        ["#[allow(", "#![allow(", "#[expect(", "#![expect("].into_iter().flat_map(|open| bare.match_indices(open));
    let without =
        silenced.filter(|(at, _)| !bare[*at..].split_once(']').is_some_and(|(lint, _)| lint.contains("reason")));
    let line = |at: usize| bare[..at].matches('\n').count() + 1;
    found.extend(without.map(|(at, _)| format!("{path}:{}: a lint is silenced without a reason", line(at))));
    found
}

/// Whether the word stands in the line by itself.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let free = |c: Option<char>| !c.is_some_and(part);
        let after = line[at + word.len()..].chars().next();
        free(line[..at].chars().next_back()) && (word.ends_with('!') || free(after))
    })
}

/// Paths of one machine, which mean nothing on another.
pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let homes = [
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("C:", "\\Us"),
    ];
    let outside = |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>*".contains(c));
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let here = homes.iter().filter(|home| line.match_indices(*home).any(|(at, _)| outside(line, at)));
        found.extend(here.map(|home| format!("{path}:{}: {home}: a path of one machine", number + 1)));
    }
    found
}

/// Public items of a file that show a name which it imports from the crate `hidden`.
pub(crate) fn leaks(path: &str, text: &str, hidden: &str) -> Vec<String> {
    let bare = bare(text);
    let imports = bare.split(';').filter_map(|item| item.trim_start().strip_prefix("use ")?.strip_prefix(hidden));
    let mut names: Vec<&str> =
        imports.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    names.retain(|name| name.starts_with(char::is_uppercase));
    names.push(hidden);
    let public = bare.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("pub "));
    let shown = public.filter_map(|(number, line)| {
        let name = names.iter().find(|name| has_word(line, name))?;
        Some(format!("{path}:{}: {name} of {hidden} is public", number + 1))
    });
    shown.collect()
}

#[test]
fn what_is_too_long_is_found() {
    let long = |lines: usize| format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
    assert_eq!(lengths("broker/src/a.rs", &long(FUNCTION)), Vec::<String>::new());
    assert_eq!(lengths("broker/src/a.rs", &long(FUNCTION + 1)).len(), 1);
    assert_eq!(lengths("broker/src/a.rs", &"\n".repeat(FILE + 1)).len(), 1);
    assert_eq!(lengths("broker/src/a.rs", &format!("{}#[cfg(test)]\nmod tests {{\n}}\n", "\n".repeat(FILE))).len(), 0);
    assert_eq!(lengths("broker/src/a.rs", &format!("#[cfg(test)]\nmod tests;\n{}", "\n".repeat(FILE))).len(), 1);
    assert_eq!(lengths("broker/tests/a.rs", &"\n".repeat(FILE + 1)).len(), 0);
}

#[test]
fn what_is_banned_or_left_over_is_found() {
    let bad = format!(
        "fn f() {{ println!(\"x\"); }}\n#[allow(dead_code)]\nfn g() {{ {}(); }}\n// {}: later\n",
        "todo!", NOTES[1]
    );
    let found = words("broker/src/a.rs", &bad);
    assert_eq!(found.len(), 4, "{found:?}");
    let good = "// println! is for the command line\n#[allow(\n    dead_code,\n    reason = \"an example\"\n)]\nfn f() { my_println!(); }";
    assert_eq!(words("broker/src/a.rs", good), Vec::<String>::new());
    assert_eq!(words("runtime/cli/src/main.rs", "fn f() { println!(); }"), Vec::<String>::new());
}

#[test]
fn a_path_of_a_machine_is_found() {
    let path = concat!("see /ho", "me/ann/file");
    assert_eq!(machine_paths("README.md", path).len(), 1);
    assert_eq!(machine_paths("README.md", concat!("team", "/wo", "rk/x and ~/file")), Vec::<String>::new());
}

#[test]
fn a_hidden_type_in_public_is_found() {
    let file = |line: &str| format!("use hidden::{{Actor, ActorRef}};\n{line}\n");
    assert_eq!(leaks("a.rs", &file("pub fn of(&self) -> ActorRef<()> {"), "hidden").len(), 1);
    assert_eq!(leaks("a.rs", &file("    pub handle: hidden::ActorCell,"), "hidden").len(), 1);
    assert_eq!(leaks("a.rs", &file("pub(crate) fn of(&self) -> ActorRef<()> {"), "hidden"), Vec::<String>::new());
}
