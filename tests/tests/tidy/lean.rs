//! What a crate costs its users: the crates below it.

use std::collections::BTreeSet;

use callboard_tests::programs::cargo;

/// Crates that speak HTTP or TLS, or bring what does.
const HTTP: &[&str] = &[
    "async-nats",
    "curl",
    "genai",
    "h2",
    "http",
    "hyper",
    "isahc",
    "native-tls",
    "openssl",
    "reqwest",
    "rmcp",
    "rustls",
    "ureq",
];

/// The crates of others that a build of `callboard` with these features needs on this platform.
pub(crate) fn below(features: &str) -> BTreeSet<String> {
    let what = ["tree", "-p", "callboard", "--features", features, "-e", "normal", "--prefix", "none"];
    let tree = cargo().args(what).args(["--offline", "--locked", "-f", "{p}"]).output().expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).expect("text");
    let names = lines.lines().filter_map(|line| line.split_once(' '));
    names.filter(|(name, _)| !name.starts_with("callboard")).map(|(name, rest)| version(name, rest)).collect()
}

/// `name version`, without the mark of what was listed before.
fn version(name: &str, rest: &str) -> String {
    format!("{name} {}", rest.split(' ').next().unwrap_or_default())
}

/// Those of them that speak HTTP or TLS.
pub(crate) fn http(below: &BTreeSet<String>) -> Vec<&str> {
    let name = |one: &'_ String| one.split(' ').next().unwrap_or_default().to_owned();
    below.iter().filter(|one| HTTP.contains(&name(one).as_str())).map(String::as_str).collect()
}

/// The figure of a README's row: its last cell.
pub(crate) fn figure(readme: &str, row: &str) -> Option<usize> {
    let row = readme.lines().find(|line| line.starts_with('|') && line.contains(row))?;
    row.trim_end_matches(['|', ' ']).rsplit('|').next()?.trim().parse().ok()
}

#[test]
fn a_client_is_found_where_there_is_one() {
    assert!(http(&below("genai")).iter().any(|one| one.starts_with("reqwest ")));
    assert_eq!(figure("| lean: crates | under 100 | 93 |", "lean"), Some(93));
    assert_eq!(figure("nothing", "lean"), None);
}
