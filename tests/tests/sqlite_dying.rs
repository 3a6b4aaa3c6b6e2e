//! Every check of the contract suite, in a process that dies in the middle of it.
//!
//! A process runs the check over SQLite stores and aborts between two writes: before a statement, before a commit, after a
//! commit that nobody was told of. What it leaves is judged by another process, this one: nothing is damaged, what was
//! acknowledged is there, the log is what the events tell, and when the work goes on everything ends once. Then this
//! process runs the same check. Each check is counted first. It dies at every point when these are at most [`ALL`], otherwise
//! at [`SOME`] of them, spread evenly; `CALLBOARD_DEATHS` sets another number for both. A check that ends before it gets to
//! its point, as a race may, is run again with an earlier one.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use callboard_tests::contract::by_name;
use callboard_tests::sqlite::{Files, left};
use rusqlite::Connection;
use tempfile::TempDir;

/// A check of so many points dies at every one.
const ALL: u64 = 140;
/// So often one of more points dies: races, storms, and what fills a backlog.
const SOME: u64 = 6;

fn deaths(points: u64) -> u64 {
    let wanted = std::env::var("CALLBOARD_DEATHS").ok().and_then(|text| text.parse().ok());
    points.min(wanted.unwrap_or(if points <= ALL { ALL } else { SOME }))
}

/// Runs a check in a process of its own over stores in a new folder.
fn run(name: &str, folder: &Path, at: u64, manner: &str) -> Output {
    std::fs::create_dir(folder).unwrap();
    let args = ["check".as_ref(), name.as_ref(), folder.as_os_str(), at.to_string().as_ref(), manner.as_ref()]
        .map(std::ffi::OsStr::to_owned);
    Command::new(env!("CARGO_BIN_EXE_store_child")).args(args).output().unwrap()
}

/// In memory where there is a place for it: what a process wrote stays the system's whether the disk has it or not, so
/// waiting for a disk would prove nothing more and take three times as long.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn has_died(output: &Output) -> bool {
    const ABORTED: i32 = 6;
    output.status.signal() == Some(ABORTED)
}

fn stores(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "db")).collect()
}

/// What is wrong with the stores in a folder.
fn judged(folder: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut wrong = Vec::new();
        for store in stores(folder) {
            wrong.extend(left::judge(&store).await);
        }
        wrong
    })
}

fn dies(name: &str) {
    let root = folder();
    let whole = root.path().join("whole");
    let output = run(name, &whole, u64::MAX, "honest");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(judged(&whole), [""; 0], "it did not die");
    let points: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();

    let (times, mut earlier) = (deaths(points), 0);
    for at in (0..times).map(|n| n * points / times) {
        let mut at = at;
        // Threads that race get into fewer transactions at one time than at another: who survived dies earlier instead.
        while !dies_at(name, root.path(), at) {
            assert!(at > 0, "whoever runs at all gets to the first point");
            at /= 2;
            earlier += 1;
        }
    }
    println!("{name}: died at {times} of {points} points, {earlier} times it survived and died earlier");
    assert!(by_name::run(name, Arc::new(Files::default())));
}

/// Runs a check that is to die at a point, and judges what it left. Whether it got there.
fn dies_at(name: &str, root: &Path, at: u64) -> bool {
    let folder = root.join(at.to_string());
    let output = run(name, &folder, at, "honest");
    let survived = output.status.success();
    assert!(survived || has_died(&output), "point {at}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(judged(&folder), [""; 0], "died at point {at}");
    std::fs::remove_dir_all(&folder).unwrap();
    !survived
}

mod every_check {
    use super::dies;

    callboard_tests::by_name!(dies);
}

/// A store with a bit of everything, as a whole check leaves it.
fn whole(root: &Path, name: &str) -> PathBuf {
    let folder = root.join(name);
    let output = run(name, &folder, u64::MAX, "honest");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut stores = stores(&folder);
    stores.sort();
    stores.pop().unwrap()
}

/// The negative control: half of a turn is missing, and every row that is there is as it was written.
#[test]
fn half_of_a_turn_is_seen() {
    let root = folder();
    for (name, half) in [
        ("the_records_before_an_outcome_come_before_it", "DELETE FROM outcome"),
        ("the_records_before_an_outcome_come_before_it", "DELETE FROM journal WHERE rowid_of_last"),
        ("an_outcome_is_recorded_once", "DELETE FROM page WHERE first = (SELECT max(first) FROM page)"),
        ("a_claim_does_not_survive_but_its_attempt_counts", "DELETE FROM queue"),
        ("a_version_is_never_used_twice", "DELETE FROM state WHERE key = 'global.a'"),
        ("a_version_is_never_used_twice", "DELETE FROM history WHERE sequence = (SELECT max(sequence) FROM history)"),
        ("a_version_is_never_used_twice", "DELETE FROM page WHERE first = (SELECT max(first) FROM page)"),
    ] {
        let half = half.replace("rowid_of_last", "n = (SELECT max(n) FROM journal)");
        let (store, folder) = (whole(root.path(), name), root.path().join("torn"));
        std::fs::create_dir(&folder).unwrap();
        let torn = folder.join("0.db");
        std::fs::copy(&store, &torn).unwrap();
        assert_eq!(judged(store.parent().unwrap()), [""; 0], "{name}: it is whole");
        let conn = Connection::open(&torn).unwrap();
        assert!(conn.execute(&half, []).unwrap() > 0, "{name}: {half}");
        drop(conn);
        let wrong = judged(&folder);
        println!("{half}: {wrong:?}");
        assert_ne!(wrong, [""; 0], "{name}: {half}");
        std::fs::remove_dir_all(store.parent().unwrap()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// The negative control of what was acknowledged: a store that answers before it commits, and dies then.
#[test]
fn what_was_acknowledged_too_early_is_missed() {
    let root = folder();
    for name in
        ["an_outcome_is_recorded_once", "a_version_is_never_used_twice", "published_facts_have_numbers_without_gaps"]
    {
        let folder = root.path().join(name);
        assert!(has_died(&run(name, &folder, 0, "liar")), "{name}");
        let wrong = judged(&folder);
        assert!(wrong.iter().any(|what| what.starts_with("acknowledged and not there")), "{name}: {wrong:?}");
    }
}
