//! The table of who may do what, as a person reads it, and the permissions as the server's files spell them.

use std::collections::BTreeSet;

/// Everybody who has a role, by the name of the user.
pub(crate) const ROLES: [&str; 6] = ["a", "b", "client", "observer", "operator", "deploy"];

/// A subject, and who may do what with it.
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) publish: BTreeSet<&'static str>,
    pub(crate) subscribe: BTreeSet<&'static str>,
}

/// The rows of a table whose columns are separated by bars.
pub(crate) fn read(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &str| {
        let mut columns = line.split('|').map(str::trim);
        let subject = columns.next().unwrap_or_default().to_owned();
        Row {
            subject,
            publish: roles(columns.next().unwrap_or_default()),
            subscribe: roles(columns.next().unwrap_or_default()),
        }
    };
    lines.map(row).collect()
}

fn roles(words: &str) -> BTreeSet<&'static str> {
    let group = |word: &str| match word {
        "nodes" => &ROLES[..2],
        "callers" => &["client", "operator"],
        "people" => &["observer", "operator"],
        "all" => &ROLES[..],
        one => {
            let at = ROLES.iter().position(|role| *role == one).unwrap_or_else(|| panic!("no role is called {one}"));
            &ROLES[at..=at]
        }
    };
    words.split_whitespace().flat_map(group).copied().collect()
}

/// What a block of the configuration grants: the patterns of its `publish` and of its `subscribe` list.
pub(crate) fn granted(config: &str, block: &str) -> [Vec<String>; 2] {
    let (_, rest) = config.split_once(&format!("\n{block} {{\n")).unwrap_or_else(|| panic!("there is no {block}"));
    let (rest, _) = rest.split_once("\n}\n").unwrap_or((rest, ""));
    ["publish: [", "subscribe: ["].map(|list| {
        let (_, rest) = rest.split_once(list).unwrap_or_else(|| panic!("{block} has no {list}"));
        let list = rest.split(']').next().unwrap_or_default();
        let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
    })
}

/// Whether a subject falls under a pattern.
pub(crate) fn covers(pattern: &str, subject: &str) -> bool {
    let (mut patterns, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (patterns.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(pattern), Some(token)) if pattern == "*" || pattern == token => {}
            _ => return false,
        }
    }
}

#[test]
fn a_table_is_read_with_its_groups() {
    let rows = read("# head\n\nx.y | nodes client | \nz |  | all\n");
    assert_eq!((rows.len(), rows[0].subject.as_str()), (2, "x.y"));
    assert_eq!(rows[0].publish, BTreeSet::from(["a", "b", "client"]));
    assert!(rows[0].subscribe.is_empty() && rows[1].publish.is_empty());
    assert_eq!(rows[1].subscribe.len(), ROLES.len());
}

#[test]
fn patterns_cover_what_the_server_says_they_do() {
    assert!(covers("a.*.c", "a.b.c") && covers("a.>", "a.b.c") && covers("a", "a"));
    assert!(!covers("a.*", "a.b.c") && !covers("a.>", "a") && !covers("a.b", "a") && !covers("a", "a.b"));
}

#[test]
fn grants_are_read_without_remarks() {
    let config = "# x\nROLE {\n    publish: [\n        # not \"this\"\n        \"p.1\", \"p.2\"\n    ]\n    subscribe: [\"s.>\"]\n}\n";
    assert_eq!(granted(config, "ROLE"), [vec!["p.1".to_owned(), "p.2".into()], vec!["s.>".into()]]);
}
