//! Ten times what a node can do is offered to it for 30 seconds: what does not fit is refused and may be tried again, all
//! that was accepted is done, memory does not grow, and operators are answered meanwhile.
//!
//! What can be counted is asserted. How much was accepted against what the node did before is printed (`--nocapture`), and
//! asserted with `CALLBOARD_STRICT=1`, on a machine that does nothing else. `OVERLOAD_SECONDS` makes it shorter or longer.
#![cfg(target_os = "linux")]

use std::process::Command;

use callboard_tests::bounds::are_strict;
use callboard_tests::nats::Server;
use serde_json::Value;

/// The least part of what it did before that a node accepts while it is asked for ten times as much.
const ACCEPTED: f64 = 0.9;
/// How much memory may grow.
const GROWTH: f64 = 1.2;

fn overload(wing: &str, place: &str) {
    let seconds = std::env::var("OVERLOAD_SECONDS").unwrap_or("30".into());
    let ran = Command::new(env!("CARGO_BIN_EXE_overload_node")).args([place, &seconds]).output().expect("it runs");
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    let told: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    let number = |what: &str| told[what].as_f64().unwrap_or_else(|| panic!("{what} in {told}"));
    let part = number("accepted") / number("took_s") / number("capacity");
    let growth = number("over_bytes") / number("warm_bytes");
    println!("{wing}: {part:.2} of the capacity accepted, memory x{growth:.2}: {told}");
    assert_eq!(told["odd"], serde_json::json!([]), "what does not fit is busy");
    assert!(number("refused") > 0.0, "{told}");
    // A broker that does not answer in time, because the machine is busy, may have accepted the task or not.
    let most = number("accepted_in_all") + number("unclear");
    assert!((number("accepted_in_all")..=most).contains(&number("done")), "{told}");
    assert_eq!(number("dead"), 0.0, "{told}");
    assert!(growth <= GROWTH, "memory grew {growth:.2} times: {told}");
    assert!(number("answers") >= number("took_s"), "{told}");
    if are_strict() {
        assert_eq!(number("unclear"), 0.0, "{told}");
        assert!(part >= ACCEPTED, "{told}");
    }
}

#[test]
fn ten_times_too_much_is_refused_and_all_that_is_accepted_is_done_in_memory() {
    overload("memory", "memory");
}

#[test]
fn ten_times_too_much_is_refused_and_all_that_is_accepted_is_done_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    overload("sqlite", folder.path().join("store.db").to_str().unwrap());
}

#[test]
fn ten_times_too_much_is_refused_and_all_that_is_accepted_is_done_on_nats() {
    let server = Server::start();
    overload("nats", &server.url());
}
