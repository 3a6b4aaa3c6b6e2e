//! The process dies between any two writes of a store.
//!
//! A script does a bit of everything. It is run once without a disturbance, and then once for each statement and commit
//! of that run: a process runs it and aborts at that point, and another one, which finds what the first has left, runs it
//! again. What comes of it has to be the same every time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use callboard_broker::sqlite::{self, Options};
use callboard_tests::contract::invariants;
use callboard_tests::script;

fn run(store: &Path, die_at: u64) -> Output {
    let child = env!("CARGO_BIN_EXE_store_child");
    let output = Command::new(child).args(["script".as_ref(), store.as_os_str(), die_at.to_string().as_ref()]).output();
    output.unwrap()
}

async fn end_state(store: &Path) -> BTreeMap<String, String> {
    let broker = sqlite::open(store, Options::default()).unwrap();
    let events = broker.events.read(Default::default(), 1, 1_000).await.unwrap();
    let tasks = broker.tasks.list(Default::default()).await.unwrap();
    invariants::gapless(&events).unwrap();
    invariants::accounted(&tasks).unwrap();
    invariants::told(&tasks, &events).unwrap();
    script::end_state(&broker).await
}

#[tokio::test]
async fn dying_between_any_two_writes_changes_nothing_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = folder.path().join("undisturbed.db");
    let output = run(&undisturbed, u64::MAX);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let points: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(points > 60, "a script of {points} points proves little");
    let expected = end_state(&undisturbed).await;
    assert!(expected.len() > 20, "{expected:#?}");

    for at in 0..points {
        let store = folder.path().join(format!("{at}.db"));
        assert!(!run(&store, at).status.success(), "it was to die at point {at}");
        let second = run(&store, u64::MAX);
        assert!(second.status.success(), "point {at}: {}", String::from_utf8_lossy(&second.stderr));
        assert_eq!(end_state(&store).await, expected, "died at point {at}");
    }
}
