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

/// What a role's file grants: the patterns of its `publish` and of its `subscribe` list.
pub(crate) fn granted(role: &str) -> [Vec<String>; 2] {
    ["publish: [", "subscribe: ["].map(|list| {
        let (_, rest) = role.split_once(list).unwrap_or_else(|| panic!("there is no {list}"));
        let lines = rest.lines().take_while(|line| line.trim() != "]");
        lines.filter_map(|line| Some(line.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned())).collect()
    })
}

/// The doors of a role's account: those to services and those to streams.
pub(crate) fn doors(role: &str) -> [Vec<String>; 2] {
    ["service", "stream"].map(|kind| {
        let start = format!("{{ {kind}: {{ account: CALLBOARD, subject: \"");
        let subject = |line: &str| Some(line.trim().strip_prefix(&start)?.strip_suffix("\" } }")?.to_owned());
        role.lines().filter_map(subject).collect()
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
fn grants_and_doors_are_read() {
    let role = "MAY_X {\n    publish: [\n        \"p.1\"\n        \"p.2\"\n    ]\n    subscribe: [\n        \"s.>\"\n    ]\n}\n\n\
        DOORS_X: [\n    { service: { account: CALLBOARD, subject: \"p.1\" } }\n    { stream: { account: CALLBOARD, subject: \"s.>\" } }\n]\n";
    assert_eq!(granted(role), [vec!["p.1".to_owned(), "p.2".into()], vec!["s.>".into()]]);
    assert_eq!(doors(role), [vec!["p.1".to_owned()], vec!["s.>".into()]]);
}
