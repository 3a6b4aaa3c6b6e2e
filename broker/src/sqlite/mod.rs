//! The SQLite wing: one file that outlives every process and that a person can open.
//!
//! The decision that shaped it: *one* writer, which takes what all callers want into one transaction, keeps mirrored in
//! memory where the unfinished tasks stand, and tells everybody after the commit. So what is next needs no search, work
//! that comes in meets a waiting claimer in the same commit, and nothing polls. Readers go to the file
//! beside it. The process that holds the lock beside the file is the writer for every process.
//!
//! # Guarantees
//! What was acknowledged to a caller outside of a run is on the disk ([`Sync::Edges`]). What was acknowledged at all
//! survives the death of the process. Each row carries a checksum, and a damaged one is reported and never applied.
//! Opening takes back the claims of whoever owned the store before: what was in progress is pending again, and the
//! attempt that was begun counts.
//!
//! # Errors
//! Opening: `CB0201` a newer version, `CB0202` damaged, `CB0204` not writable, `CB0205` owned by another process,
//! `CB0206` not a store. Any write: `CB0203` the disk is full (nothing of the write has happened, and the next one is
//! tried afresh), `Busy` too much waits for the writer.
//!
//! | part | what it holds |
//! |---|---|
//! | `file`, `db`, `sum`, `fault` | the file, the connection that writes, checksums, what goes wrong |
//! | `writer`, `job`, `desk`, `turn`, `core` | commands, groups of them, one transaction, what is kept in memory |
//! | `tasks`, `state`, `events`, `dead` | the rooms |
//! | `view`, `readers`, `marks` | what any process can see, and how it follows |
//! | `lock`, `store` | who owns the file |
//! | `door`, `attach`, `visitor` | how other processes have their writes done |
//! | `verify` | a look at every row |

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::Broker;
use crate::error::{Error, Result};
use crate::memory::mailroom::Mailroom;

mod attach;
mod core;
mod db;
mod dead;
mod desk;
mod door;
mod events;
mod fault;
mod file;
mod job;
mod lock;
mod marks;
mod options;
pub mod probe;
mod pulse;
mod readers;
mod state;
mod store;
mod sum;
mod tasks;
#[cfg(test)]
mod tests;
mod turn;
mod values;
mod verify;
mod view;
mod visitor;
mod writer;

pub use attach::{Attached, attach};
pub use lock::Owner;
pub use options::{Answer, Options, Sync, Verbs};
pub use verify::{Verified, verify};

use lock::{Lock, Taken};
use store::Store;

/// How long an owner that has not said how to reach him may take: he is about to, or does one write.
const BRIEF: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often a store with a reachable owner is found owned before that is believed.
const LOOKS: u32 = 4;

/// Opens the store at `path`, creating it when there is none, and owns it until the last clone of the broker goes.
///
/// Blocks for a few milliseconds; after an unclean stop for 0.7 ms a MiB of the file (up to 256 MiB); while another
/// process does a single write, until that is done, at most 1 s.
///
/// # Errors
/// See the module. Outside of a tokio runtime: `Unavailable`.
pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Broker> {
    let threads = Handle::try_current().map_err(|_| Error::unavailable("a store needs a tokio runtime"))?;
    let path = file::prepare(path.as_ref())?;
    let (lock, before) = take_lock(&path, std::thread::sleep)?;
    door::sweep_after(before);
    let open = if options.inline { Store::open } else { Store::open_door };
    let store = open(&path, lock, &options, threads)?;
    Ok(broker(store, &options))
}

fn take_lock(path: &Path, mut rest: impl FnMut(Duration)) -> Result<(Lock, Option<Owner>)> {
    let (since, mut looks) = (Instant::now(), 0);
    loop {
        match Lock::take(path)? {
            Taken::Ours(lock, before) => return Ok((lock, before)),
            Taken::Theirs(owner) => {
                looks += 1;
                let reachable = owner.as_ref().is_some_and(|owner| owner.socket.is_some());
                // Whoever looks for an owner holds the lock for a moment, and the name in it may be a dead one's.
                if reachable && looks > LOOKS || since.elapsed() > BRIEF {
                    return Err(fault::owned(path, owner.map(|owner| owner.pid)));
                }
                rest(LOOK_AGAIN);
            }
        }
    }
}

fn broker(store: Arc<Store>, options: &Options) -> Broker {
    let letters = Arc::new(dead::DeadBox(store.writer.downgrade()));
    let about = format!("sqlite {} ({})", store.path.display(), options.sync.as_str());
    Broker {
        messages: Arc::new(Mailroom::new(letters)),
        tasks: Arc::new(tasks::TaskRoom(store.clone())),
        states: Arc::new(state::StateRoom(store.clone())),
        events: Arc::new(events::EventRoom(store.clone())),
        dead: Arc::new(dead::DeadRoom(store)),
        blobs: None,
        clock: options.clock.clone(),
        about: about.into(),
    }
}
