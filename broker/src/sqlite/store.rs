//! A store that this process owns: its writer, its view, and how both come to be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::core::{self, Core};
use super::db::Db;
use super::desk::Desk;
use super::door::Door;
use super::fault::{self, Done};
use super::file;
use super::lock::{Lock, Owner};
use super::marks::{Marks, Mover};
use super::options::Options;
use super::pulse;
use super::readers::Readers;
use super::state::Snapshots;
use super::tasks::{self, Mirror, Waiters};
use super::view::View;
use super::writer::{Bounds, Writer};
use super::{events, state};
use crate::clock::Millis;
use crate::error::Result;
use crate::state::spare::Spare;

/// Claims of one opening; the number of the opening is above it, so that no claim's number is ever used again.
const CLAIMS_PER_OPENING: u64 = 1 << 32;

/// See the module.
pub(super) struct Store {
    door: Option<Door>,
    pub(super) writer: Writer,
    pub(super) view: View,
    /// The most entries of shared state.
    pub(super) keys: u64,
    pub(super) path: PathBuf,
}

impl Store {
    /// Opens the store whose lock is held, for this process alone. Claims of whoever owned it before hold no longer.
    pub(super) fn open(path: &Path, lock: Lock, options: &Options, threads: Handle) -> Result<Arc<Self>> {
        let store = Self::build(path, lock, options, threads, None).map_err(|fault| fault.tell(path))?;
        Ok(Arc::new(store))
    }

    /// The same, and takes writes from other processes.
    pub(super) fn open_door(path: &Path, lock: Lock, options: &Options, threads: Handle) -> Result<Arc<Self>> {
        let _inside = threads.enter();
        let (door, bell) = Door::open()
            .inspect_err(|error| {
                tracing::warn!(%error, "there is no place for a socket: other processes can only read this store");
            })
            .ok()
            .unzip();
        let store = Self::build(path, lock, options, threads.clone(), door).map_err(|fault| fault.tell(path))?;
        let store = Arc::new(store);
        if let Some(bell) = bell {
            threads.spawn(bell.answer(Arc::downgrade(&store), options.verbs.clone(), options.peers));
        }
        Ok(store)
    }

    fn build(path: &Path, lock: Lock, options: &Options, threads: Handle, door: Option<Door>) -> Done<Self> {
        let conn = file::open(path, options)?;
        let db = Db::new(conn, options.probe.clone(), options.log_bytes);
        db.sync_next(false);
        let latest = latest(db.conn())?.max(options.clock.now());
        let opening = tasks::void_claims(&db, latest)?;
        let (mover, waiters) = (Mover::new(core::marks(db.conn())?), Waiters::default());
        let (pulse, due) = watch::channel(None);
        let mut core = Core {
            marks: Marks::default(),
            snapshots: Snapshots::new(options.snapshot_every),
            spare: Spare::default(),
            dead: 0,
            tasks: Mirror::new(options.tasks, opening * CLAIMS_PER_OPENING),
        };
        core.reload(db.conn(), latest)?;
        if let Some(door) = &door {
            let me = Owner { pid: std::process::id(), socket: Some(door.socket().to_owned()) };
            lock.name(&me).map_err(|e| fault::not_writable(path, &format!("its lock: {e}")))?;
        }
        let desk = Desk {
            db,
            core,
            stale: false,
            store: path.to_owned(),
            clock: options.clock.clone(),
            latest,
            sync: options.sync,
            mover: mover.clone(),
            waiters: waiters.clone(),
            pulse,
            _lock: lock,
        };
        let bounds = Bounds {
            commands: options.commands,
            bytes: options.command_bytes,
            group: options.group.max(1),
            group_bytes: options.group_bytes,
        };
        let writer = Writer::new(desk, bounds, (!options.inline).then(|| threads.clone()));
        threads.spawn(pulse::beat(due, options.clock.clone(), writer.downgrade()));
        let readers = Readers::new(path.to_owned(), options.readers, options.inline);
        let view = View { readers, mover, waiters, clock: options.clock.clone() };
        Ok(Self { writer, view, keys: options.keys, path: path.to_owned(), door })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.door = None;
        // The last connection to be closed empties the log into the file, which the next opening takes for a clean end.
        self.view.readers.close();
        self.writer.close();
    }
}

/// The time of the newest record: stamps never go back, though the wall clock may.
fn latest(conn: &Connection) -> Done<Millis> {
    Ok(events::newest(conn)?.1.max(state::newest(conn)?.1))
}
