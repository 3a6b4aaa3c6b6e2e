//! What the counter may have seen of orders while their agent was upgraded, and what it must not have.

use std::collections::BTreeMap;

use callboard_tests::process::Post;

/// What becomes of what an older version began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Pinned,
    Migrates,
}

impl Rule {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Migrates => "migrates",
        }
    }
}

/// The versions that posted each order, in order.
pub(crate) fn versions(posts: &[Post]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for post in posts {
        versions.entry(&post.task).or_default().push(post.version.as_deref().unwrap_or_default());
    }
    versions.values_mut().for_each(|all| all.dedup());
    versions
}

/// What is wrong with what was seen of these orders, each of so many steps.
pub(crate) fn wrong(orders: &[String], steps: u64, posts: &[Post], rule: Rule) -> Vec<String> {
    let mut found = Vec::new();
    let by = versions(posts);
    for order in orders {
        let seen: Vec<u64> = posts.iter().filter(|post| post.task == *order).map(|post| post.n).collect();
        if seen != (1..=steps).collect::<Vec<_>>() {
            found.push(format!("{order}: its steps were posted as {seen:?}"));
        }
        let versions = by.get(order.as_str()).map_or(&[][..], |versions| versions);
        if rule == Rule::Pinned && versions.len() > 1 || !versions.is_sorted() {
            found.push(format!("{order}: versions {versions:?} worked on it"));
        }
    }
    found.extend(
        by.keys().filter(|task| !orders.iter().any(|order| order == *task)).map(|task| format!("{task}: no order")),
    );
    found
}

#[test]
fn the_judge_sees_what_is_lost_repeated_or_in_other_hands() {
    let post = |n, version: &str| Post { task: "a".into(), n, key: None, version: Some(version.into()) };
    let orders = ["a".to_owned()];
    let judged = |posts: &[Post], rule| wrong(&orders, 2, posts, rule).len();
    assert_eq!(judged(&[post(1, "1"), post(2, "1")], Rule::Pinned), 0);
    assert_eq!(judged(&[post(1, "1"), post(2, "2")], Rule::Migrates), 0);
    assert_eq!(judged(&[post(1, "1")], Rule::Migrates), 1, "lost");
    assert_eq!(judged(&[post(1, "1"), post(1, "1"), post(2, "1")], Rule::Migrates), 1, "repeated");
    assert_eq!(judged(&[post(1, "1"), post(2, "2")], Rule::Pinned), 1, "another version");
    assert_eq!(judged(&[post(1, "2"), post(2, "1")], Rule::Migrates), 1, "an older version");
    let stranger = Post { task: "b".into(), ..post(1, "1") };
    assert_eq!(judged(&[post(1, "1"), post(2, "1"), stranger], Rule::Pinned), 1);
}
