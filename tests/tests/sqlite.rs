//! The contract suite over the SQLite wing: opened, and read by a process that does not own it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use callboard_broker::queue::Limits;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::{Setup, Wing};
use tempfile::TempDir;

/// A wing whose stores are files in folders that go with it.
#[derive(Default)]
struct Sqlite {
    folders: Mutex<Vec<TempDir>>,
}

impl Sqlite {
    fn folder(&self) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        self.folders.lock().unwrap().push(folder);
        path
    }
}

fn open(folder: &Path, setup: Setup) -> Broker {
    let options = Options {
        clock: setup.clock,
        tasks: Limits { tasks: setup.max_tasks, ..Limits::default() },
        snapshot_every: setup.snapshot_every,
        ..Options::default()
    };
    sqlite::open(folder.join("store.db"), options).unwrap()
}

impl Wing for Sqlite {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move { open(&self.folder(), setup) })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        // What a killed process leaves: the files as they are at this moment, while it still has them open.
        let from = self.folders.lock().unwrap().last().unwrap().path().to_owned();
        let to = self.folder();
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        drop(broker);
        Box::pin(async move { Some(open(&to, setup)) })
    }
}

mod on_sqlite {
    callboard_tests::contract!(super::Sqlite::default);
}
