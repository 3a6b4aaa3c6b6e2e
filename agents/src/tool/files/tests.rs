//! Ways out of a folder, each against a file outside that must stay as it is and unread.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use callboard_broker::code;
use serde_json::{Value, json};

use super::tools;
use crate::testing::World;
use crate::tool::{Output, Rules, Toolbox, WhenTainted};
use crate::{Error, Result};

const SECRET: &str = "canary-7f3a";

struct Folder {
    _all: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
}

/// A folder with a file, links of every kind that lead out of it, and a secret beside it.
fn folder() -> Folder {
    let all = tempfile::tempdir().unwrap();
    let (root, outside) = (all.path().join("root"), all.path().join("secret.txt"));
    std::fs::create_dir_all(root.join("sub/deep")).unwrap();
    std::fs::create_dir_all(all.path().join("root-other")).unwrap();
    std::fs::write(&outside, SECRET).unwrap();
    std::fs::write(all.path().join("root-other/secret.txt"), SECRET).unwrap();
    std::fs::write(root.join("mill.txt"), "built in 1850").unwrap();
    symlink(&outside, root.join("link")).unwrap();
    symlink("../secret.txt", root.join("relative")).unwrap();
    symlink(all.path(), root.join("up")).unwrap();
    symlink("link", root.join("twice")).unwrap();
    symlink("..", root.join("sub/above")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("mill.txt", root.join("inside")).unwrap();
    symlink("/proc/self/root", root.join("proc")).unwrap();
    Folder { _all: all, root, outside }
}

async fn call(of: &Folder, tool: &str, arguments: Value) -> Result<Output, Error> {
    let toolbox = Toolbox::new();
    toolbox.rule("docs.*", Rules { tainted: Some(WhenTainted::Allow), ..Rules::default() });
    tools("docs", &of.root, true).unwrap().into_iter().for_each(|tool| toolbox.add(tool).unwrap());
    World::new().toolbox(&toolbox).context().tools().call(tool, arguments).await
}

/// Paths that lead out, or would if they were put together as texts.
fn ways_out(of: &Folder) -> Vec<String> {
    let absolute = of.outside.display().to_string();
    let fixed = [
        "../secret.txt",
        "..",
        "../",
        "./../secret.txt",
        "sub/../../secret.txt",
        "sub/deep/../../../secret.txt",
        "../root-other/secret.txt",
        "../root/../secret.txt",
        "link",
        "relative",
        "up/secret.txt",
        "twice",
        "up/root-other/secret.txt",
        "sub/above/../secret.txt",
        "sub/above/link",
        "loop",
        "proc/etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/./etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "/",
        "",
        "sub/../../root-other/secret.txt",
        "./link",
        "sub/above/up/secret.txt",
        "..//secret.txt",
        ".././secret.txt",
        "sub//..//..//secret.txt",
        "\0../secret.txt",
        "../secret.txt\0.txt",
        "..\\secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "....//secret.txt",
        "..;/secret.txt",
        "~/secret.txt",
        "$HOME/secret.txt",
        "file:///etc/passwd",
    ];
    fixed
        .iter()
        .map(ToString::to_string)
        .chain([absolute.clone(), format!("/{absolute}"), "x/".repeat(3_000)])
        .collect()
}

#[tokio::test]
async fn no_path_leads_out_to_read_or_to_write() {
    let of = folder();
    for path in ways_out(&of) {
        let read = call(&of, "docs.read", json!({ "path": path })).await;
        assert!(
            read.as_ref().is_err_and(|e| matches!(e, Error::Failed { failure, .. } if failure.code == code::TOOL_PATH)),
            "{path:?}: {read:?}"
        );
        assert!(!format!("{read:?}").contains(SECRET), "{path:?}");
        if let Ok(listed) = call(&of, "docs.list", json!({ "path": path })).await {
            assert!(
                !listed.text.contains("secret.txt") && !listed.text.contains("passwd"),
                "{path:?}: {}",
                listed.text
            );
        }
    }
    for path in ways_out(&of) {
        // Some of them are names of files like any other.
        let _ = call(&of, "docs.write", json!({ "path": path, "text": "overwritten" })).await;
        assert_eq!(std::fs::read_to_string(&of.outside).unwrap(), SECRET, "{path:?}");
    }
}

#[tokio::test]
async fn joined_as_texts_the_same_paths_lead_out() {
    let of = folder();
    let read = |path: String| match of.root.join(path) {
        // What has no end is not read here.
        file if std::fs::metadata(&file).is_ok_and(|about| about.is_file()) => {
            std::fs::read_to_string(file).unwrap_or_default()
        }
        _ => String::new(),
    };
    let found =
        ways_out(&of).into_iter().filter(|path| path.len() < 4_096).map(read).filter(|text| text.contains(SECRET));
    assert!(found.count() >= 15, "the table would find a hole");
}

#[tokio::test]
async fn what_is_inside_is_listed_read_and_written() {
    let of = folder();
    for path in ["mill.txt", "./mill.txt", "inside", "sub/../mill.txt"] {
        assert_eq!(call(&of, "docs.read", json!({ "path": path })).await.unwrap().text, "built in 1850", "{path}");
    }
    assert_eq!(call(&of, "docs.read", json!({ "path": "mill.txt", "from": 9 })).await.unwrap().text, "1850");
    call(&of, "docs.write", json!({ "path": "new/note.txt", "text": "hi" })).await.unwrap();
    assert_eq!(std::fs::read_to_string(of.root.join("new/note.txt")).unwrap(), "hi");
    let listed = call(&of, "docs.list", json!({ "path": "new" })).await.unwrap();
    assert_eq!(listed.text, r#"[{"name":"note.txt","kind":"file","bytes":2}]"#);
    std::fs::write(of.root.join("large"), "x".repeat(100_000)).unwrap();
    let large = call(&of, "docs.read", json!({ "path": "large" })).await.unwrap();
    assert_eq!((large.text.len(), large.cut), (64 << 10, true));
}

#[tokio::test]
async fn a_link_that_is_put_in_the_way_meanwhile_leads_nowhere() {
    let of = folder();
    let swap = of.root.join("swap");
    let (target, stop) = (of.outside.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (seen, inner) = (stop.clone(), swap.clone());
    let swapping = std::thread::spawn(move || {
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = std::fs::remove_file(&inner);
            let _ = std::fs::write(&inner, "mine");
            let _ = std::fs::remove_file(&inner);
            let _ = symlink(&target, &inner);
        }
    });
    for _ in 0..300 {
        if let Ok(read) = call(&of, "docs.read", json!({ "path": "swap" })).await {
            assert!(!read.text.contains(SECRET));
        }
        let _ = call(&of, "docs.write", json!({ "path": "swap", "text": "x" })).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().unwrap();
    assert_eq!(std::fs::read_to_string(&of.outside).unwrap(), SECRET);
}
