//! The disk fills up, and has room again.

use std::path::Path;
use std::process::Command;

use callboard_broker::clock::Clock;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::sqlite::{self, Options};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Status, Task};
use callboard_broker::{Broker, code};
use serde_json::json;

fn task(n: usize) -> Task {
    let (run, capability) = (RunId::parse(&format!("r{n}")).unwrap(), CapabilityName::parse("x").unwrap());
    Task::root(run, capability, json!({ "text": "x".repeat(4_000) }).into(), Clock::system().now())
}

/// Submits until the disk is full; what was acknowledged.
async fn fill(broker: &Broker, from: usize) -> Vec<TaskId> {
    let mut stored = Vec::new();
    for n in from.. {
        let new = task(n);
        let id = new.id.clone();
        match broker.tasks.submit(vec![new]).await.remove(0) {
            Ok(_) => stored.push(id),
            Err(error) => {
                assert_eq!(error.code(), code::DISK_FULL, "{error}");
                return stored;
            }
        }
    }
    unreachable!("no disk is endless")
}

async fn all_there(broker: &Broker, stored: &[TaskId]) {
    let views = broker.tasks.get(stored.to_vec()).await.unwrap();
    assert!(views.iter().all(|view| view.as_ref().is_some_and(|view| view.status == Status::Pending)));
}

#[tokio::test]
async fn a_store_at_its_limit_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let broker = sqlite::open(&store, Options { max_bytes: Some(1 << 20), ..Options::default() }).unwrap();
    let stored = fill(&broker, 0).await;
    assert!(stored.len() > 50 && std::fs::metadata(&store).unwrap().len() <= 1 << 20);
    all_there(&broker, &stored).await;
    assert_eq!(broker.events.last().await.unwrap(), stored.len() as u64, "nothing of a refused write is left");
    drop(broker);
    let broker = sqlite::open(&store, Options::default()).unwrap();
    all_there(&broker, &stored).await;
    broker.tasks.submit(vec![task(stored.len())]).await.remove(0).unwrap();
}

/// A small file system of its own. Unmounted when it is dropped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, options: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn grow(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", options]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_real_disk_that_is_full_stops_nobody_for_longer_than_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path(), "size=2m") else {
        println!("NOT RUN: this user may not mount a file system");
        return;
    };
    let broker = sqlite::open(folder.path().join("store.db"), Options::default()).unwrap();
    let mut stored = fill(&broker, 0).await;
    assert!(stored.len() > 50);
    all_there(&broker, &stored).await;
    disk.grow("remount,size=4m");
    let more = fill(&broker, stored.len()).await;
    assert!(more.len() > 50, "it goes on by itself: {}", more.len());
    stored.extend(more);
    all_there(&broker, &stored).await;
    drop(broker);
    disk.grow("remount,size=16m");
    let broker = sqlite::open(folder.path().join("store.db"), Options::default()).unwrap();
    all_there(&broker, &stored).await;
    drop(broker);
}
