//! The SQLite wing under test: its stores are numbered files in one folder.
//!
//! A process that is to die in the middle of a check uses a folder that outlives it, and notes beside each store what was
//! acknowledged ([`notes`]); whoever comes after it asks whether that, and everything else, is as it has to be ([`left`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use callboard_broker::queue::Limits;
use callboard_broker::sqlite::probe::Probe;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::{BoxFuture, Broker};
use tempfile::TempDir;

use crate::contract::{Setup, Wing};

pub mod left;
pub mod notes;

/// A wing whose stores are files: `0.db`, `1.db`, ...
pub struct Files {
    folder: PathBuf,
    opened: AtomicU64,
    probe: Probe,
    /// The folder, where it goes with the wing.
    own: Option<TempDir>,
}

impl Default for Files {
    /// In a folder that goes with the wing.
    fn default() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { folder: own.path().to_owned(), opened: AtomicU64::new(0), probe: Probe::default(), own: Some(own) }
    }
}

impl Files {
    /// In a folder that stays, with notes of what is acknowledged, and with a probe in every writer.
    pub fn that_stay(folder: &Path, probe: Probe) -> Self {
        Self { folder: folder.to_owned(), opened: AtomicU64::new(0), probe, own: None }
    }

    fn next(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.opened.fetch_add(1, Ordering::Relaxed)))
    }

    fn open_at(&self, store: &Path, setup: Setup) -> Broker {
        let options = Options {
            clock: setup.clock,
            tasks: Limits { tasks: setup.max_tasks, ..Limits::default() },
            snapshot_every: setup.snapshot_every,
            probe: self.probe.clone(),
            ..Options::default()
        };
        let broker = sqlite::open(store, options).unwrap();
        if self.own.is_some() { broker } else { notes::keep(broker, store) }
    }
}

impl Wing for Files {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move { self.open_at(&self.next(), setup) })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        // What a killed process leaves: the files as they are at this moment, while it still has them open. The notes
        // first, for what they tell was committed before.
        let to = self.next();
        let from = self.folder.join(format!("{}.db", self.opened.load(Ordering::Relaxed) - 2));
        if self.own.is_none() {
            std::fs::copy(notes::beside(&from), notes::beside(&to)).unwrap();
        }
        for ending in ["db", "db-wal"] {
            std::fs::copy(from.with_extension(ending), to.with_extension(ending)).unwrap();
        }
        drop(broker);
        Box::pin(async move { Some(self.open_at(&to, setup)) })
    }
}
