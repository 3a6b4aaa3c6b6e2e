//! What the counter may have seen, and what it must not have.

use std::collections::{BTreeMap, BTreeSet};

use callboard_tests::process::Post;

/// How a task wants its posts done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Keyed,
    Unkeyed,
    Idempotent,
}

/// What is wrong with what the counter has seen of tasks of these kinds; `undone` are the posts of which a person said
/// that they were not done.
pub(crate) fn wrong(tasks: &BTreeMap<String, Kind>, posts: &[Post], undone: &BTreeSet<(String, u64)>) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<(&str, u64), Vec<&Post>> = BTreeMap::new();
    let mut furthest: BTreeMap<&str, u64> = BTreeMap::new();
    for post in posts {
        let before = furthest.entry(&post.task).or_default();
        if post.n < *before {
            found.push(format!("post {} of {} was done after post {before} had begun", post.n, post.task));
        }
        *before = post.n.max(*before);
        seen.entry((&post.task, post.n)).or_default().push(post);
    }
    for ((task, n), posts) in seen {
        let repeated = posts.len() > 1;
        match tasks.get(task) {
            None => found.push(format!("{task} is no task of ours")),
            Some(Kind::Unkeyed) if repeated && !undone.contains(&(task.to_owned(), n)) => {
                found.push(format!("post {n} of {task} was silently done {} times", posts.len()));
            }
            Some(Kind::Keyed) if posts.iter().any(|post| post.key.is_none() || post.key != posts[0].key) => {
                found.push(format!("post {n} of {task} was repeated with another key"));
            }
            Some(_) => {}
        }
    }
    found
}

/// How many posts of a kind were done more than once.
pub(crate) fn repeated(tasks: &BTreeMap<String, Kind>, posts: &[Post], kind: Kind) -> usize {
    let mut count: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for post in posts.iter().filter(|post| tasks.get(&post.task) == Some(&kind)) {
        *count.entry((&post.task, post.n)).or_default() += 1;
    }
    count.values().filter(|n| **n > 1).count()
}

#[test]
fn the_judge_sees_each_sin() {
    let kinds = [("k", Kind::Keyed), ("u", Kind::Unkeyed), ("i", Kind::Idempotent)];
    let tasks: BTreeMap<String, Kind> = kinds.into_iter().map(|(task, kind)| (task.into(), kind)).collect();
    let post =
        |task: &str, n, key: Option<&str>| Post { task: task.into(), n, key: key.map(Into::into), version: None };
    let good =
        [post("k", 1, Some("a")), post("k", 1, Some("a")), post("u", 1, None), post("i", 1, None), post("i", 1, None)];
    assert_eq!(wrong(&tasks, &good, &BTreeSet::new()), Vec::<String>::new());
    let silent = [post("u", 1, None), post("u", 1, None)];
    assert_eq!(wrong(&tasks, &silent, &BTreeSet::new()).len(), 1);
    assert!(wrong(&tasks, &silent, &BTreeSet::from([("u".to_owned(), 1)])).is_empty(), "a person said so");
    assert_eq!(wrong(&tasks, &[post("k", 1, Some("a")), post("k", 1, Some("b"))], &BTreeSet::new()).len(), 1);
    assert_eq!(wrong(&tasks, &[post("i", 2, None), post("i", 1, None)], &BTreeSet::new()).len(), 1);
    assert_eq!(wrong(&tasks, &[post("x", 1, None)], &BTreeSet::new()).len(), 1);
}
