//! What the pages at the root promise about themselves.

use std::collections::BTreeSet;

/// Lines of the README.
const README: usize = 170;
/// The line by which it shows a command.
const COMMAND: usize = 20;

/// A README that is too long, does not begin with what works, or names another test command than CI calls.
pub(crate) fn readme(readme: &str, ci: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = readme.lines().count();
    if lines > README {
        found.push(format!("README.md: {lines} lines, {README} are allowed"));
    }
    if !readme.lines().take(COMMAND).any(|line| line.starts_with("```")) {
        found.push(format!("README.md shows no command in its first {COMMAND} lines"));
    }
    for title in ["Run it", "Test it"] {
        let section = readme.split("\n## ").find_map(|section| section.strip_prefix(title)?.strip_prefix('\n'));
        let block = section.and_then(|section| section.split("```").nth(1));
        let commands: Vec<&str> =
            block.into_iter().flat_map(str::lines).skip(1).filter(|line| !line.is_empty()).collect();
        match commands[..] {
            [command] if title == "Test it" && !ci.contains(command) => {
                found.push(format!(".ci/run does not call the README's test command: {command}"));
            }
            [_] => {}
            _ => found.push(format!("README.md: `## {title}` does not begin with one command in a block")),
        }
    }
    found
}

/// Rooms (`crate/module`) that ARCHITECTURE.md does not name in a row or a heading.
pub(crate) fn rooms(rooms: &BTreeSet<String>, architecture: &str) -> Vec<String> {
    let named = |room: &str| {
        let (_, module) = room.rsplit_once('/').unwrap_or(("", room));
        architecture.contains(&format!("`{module}`"))
    };
    rooms.iter().filter(|room| !named(room)).map(|room| format!("ARCHITECTURE.md does not name {room}")).collect()
}

/// Links of a page to files that `there` does not know.
pub(crate) fn links(path: &str, page: &str, there: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = page.match_indices("](").filter_map(|(at, open)| page[at + open.len()..].split(')').next());
    let local = targets.filter(|to| !to.contains("://") && !to.starts_with('#') && !to.contains(char::is_whitespace));
    let broken = local.filter(|to| !there(&resolve(folder, to.split('#').next().unwrap_or_default())));
    broken.map(|to| format!("{path}: the link to {to} leads nowhere")).collect()
}

fn resolve(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn a_readme_out_of_shape_is_found() {
    let good = "# N\n\n## Run it\n\n```sh\nrun\n```\n\n## Test it\n\n```sh\ncargo test\n```\n";
    assert_eq!(readme(good, "step cargo test"), Vec::<String>::new());
    assert_eq!(readme(good, "step cargo nextest").len(), 1);
    assert_eq!(readme(&good.replace("run\n", "run\nand more\n"), "cargo test").len(), 1);
    assert_eq!(readme(&format!("{good}{}", "\n".repeat(README)), "cargo test").len(), 1);
    assert_eq!(readme("# N\n", "").len(), 3);
}

#[test]
fn a_room_without_a_name_is_found() {
    let one = BTreeSet::from(["broker/state".to_owned()]);
    assert_eq!(rooms(&one, "| `state` | entries |"), Vec::<String>::new());
    assert_eq!(rooms(&one, "| `task` | work |").len(), 1);
}

#[test]
fn a_broken_link_is_found() {
    let there = |path: &str| path == "docs/start.md" || path == "README.md";
    assert_eq!(
        links("docs/guide.md", "[a](start.md#x) [b](../README.md) [c](https://x.y) [d](#here)", there),
        Vec::<String>::new()
    );
    assert_eq!(links("docs/guide.md", "[a](../start.md)", there).len(), 1);
}
