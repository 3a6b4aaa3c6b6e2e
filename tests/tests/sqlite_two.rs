//! Several processes on one store: one owns it, others write through it, and owners are killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callboard_broker::id::TaskId;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::tasks::Until;
use callboard_tests::bounds::within;
use callboard_tests::contract::invariants;
use callboard_tests::random::Random;

const VISITORS: u64 = 3;
const EACH: u64 = 120;

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(args: &[&str], store: &Path, more: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_store_child"))
            .args(args)
            .arg(store)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().map(Result::unwrap)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own(store: &Path) -> Process {
    let mut owner = Process::start(&["own"], store, &[]);
    assert_eq!(owner.line().as_deref(), Some("ready"));
    owner
}

/// Visitors submit while one owner after the other is killed. All that was acknowledged is there, and gets done.
#[tokio::test]
async fn owners_die_and_nothing_that_visitors_were_told_is_lost() {
    let mut random = Random::from_env("CALLBOARD_CRASH_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let mut owner = own(&store);
    let visitors = (0..VISITORS).map(|n| Process::start(&["visit"], &store, &[format!("v{n}"), EACH.to_string()]));
    let mut visitors: Vec<Process> = visitors.collect();
    let mut stored: Vec<TaskId> = Vec::new();
    let mut hear = |visitor: &mut Process| {
        let line = visitor.line();
        let id = line.as_deref().and_then(|line| line.strip_prefix("submitted "));
        stored.extend(id.map(|id| TaskId::parse(id).unwrap()));
        line.is_some()
    };
    for _ in 0..8 {
        for _ in 0..5 + random.below(10) {
            for visitor in &mut visitors {
                hear(visitor);
            }
        }
        drop(owner);
        owner = own(&store);
    }
    for visitor in &mut visitors {
        while hear(visitor) {}
        assert!(visitor.child.wait().unwrap().success());
    }
    assert_eq!(stored.len() as u64, VISITORS * EACH);
    let attached = sqlite::attach(&store, Options::default()).unwrap();
    let outcomes = attached.broker().tasks.wait(stored.clone(), Until::All, Duration::from_secs(60)).await.unwrap();
    assert_eq!(outcomes.len(), stored.len(), "the last owner does what is left");
    let tasks = attached.broker().tasks.list(Default::default()).await.unwrap();
    invariants::accounted(&tasks).unwrap();
    assert_eq!(tasks.len(), stored.len(), "each once");
}

/// A visitor's write comes back soon, whether the owner lives, has just been killed, or was never there.
#[tokio::test]
async fn an_owner_who_was_killed_is_replaced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let owner = own(&store);
    let attached = sqlite::attach(&store, Options::default()).unwrap();
    let named = attached.owner().unwrap().unwrap();
    assert_eq!(named.pid, owner.child.id());
    drop(owner);
    let killed = Instant::now();
    let left = named.socket.unwrap();
    assert!(left.exists(), "a killed process cleans up nothing");
    attached.broker().dead.purge(None).await.unwrap();
    within("until a visitor owns it", killed.elapsed(), Duration::from_secs(2));
    assert!(!left.exists(), "whoever comes next cleans up");
    assert_eq!(attached.owner().unwrap(), None);
    let broker = attached.own().unwrap();
    assert!(broker.tasks.depth().await.unwrap().is_empty());
}
