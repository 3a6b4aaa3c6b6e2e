//! A store beside its owner: read from the file, write through whoever owns it.
//!
//! A process that only wants to look, or to say one thing, is no owner: it reads the file itself, which holds up nobody,
//! and has its writes done by the owner. Without one it becomes the owner for the length of that write. So a caller need
//! not know whether anything runs.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use tokio::runtime::Handle;

use super::core::marks;
use super::door::{Ask, Remote, Reply};
use super::fault::Done;
use super::lock::{self, Lock, Owner, Taken};
use super::marks::{Marks, Mover};
use super::options::Options;
use super::readers::Readers;
use super::store::Store;
use super::tasks::{self, Waiters};
use super::view::View;
use super::{door, file, visitor};
use crate::Broker;
use crate::error::{Error, Result};
use crate::task::Outcome;

/// How often the file is looked at while somebody follows or waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long another process may take to make a store.
const PATIENCE: Duration = Duration::from_secs(1);

/// A store that this process does not own. Cheap to clone.
#[derive(Clone)]
pub struct Attached {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) remote: Remote,
    pub(super) view: View,
}

/// Attaches to the store at `path`, creating it when there is none.
///
/// # Errors
/// As for [`open`](super::open), but never because another process owns it.
pub fn attach(path: impl AsRef<Path>, options: Options) -> Result<Attached> {
    let threads = Handle::try_current().map_err(|_| Error::unavailable("a store needs a tokio runtime"))?;
    let path = file::prepare(path.as_ref())?;
    let conn = first_look(&path, &options, &threads)?;
    let now = marks(&conn).map_err(|fault| fault.tell(&path))?;
    let view = View {
        readers: Readers::new(path.clone(), options.readers, options.inline),
        mover: Mover::new(now),
        waiters: Waiters::default(),
        clock: options.clock.clone(),
    };
    let inner = Arc::new(Inner { remote: Remote { path, options }, view });
    threads.spawn(look(Looker { conn, version: None }, Arc::downgrade(&inner)));
    Ok(Attached { inner })
}

/// A connection to the store, which is made if nobody has made it.
fn first_look(path: &Path, options: &Options, threads: &Handle) -> Result<Connection> {
    let since = Instant::now();
    loop {
        let refused = match file::open_reader(path) {
            Ok(conn) => return Ok(conn),
            Err(fault) => fault.tell(path),
        };
        match Lock::take(path)? {
            Taken::Ours(lock, before) => {
                door::sweep_after(before);
                drop(Store::open(path, lock, options, threads.clone())?);
                return file::open_reader(path).map_err(|fault| fault.tell(path));
            }
            // He is making it.
            Taken::Theirs(_) if since.elapsed() < PATIENCE => std::thread::sleep(LOOK_EVERY),
            Taken::Theirs(_) => return Err(refused),
        }
    }
}

impl Attached {
    /// The store as a broker. Writes go to the owner; messages stay in this process; nothing can be claimed, because
    /// work is done where the store is owned.
    pub fn broker(&self) -> Broker {
        visitor::broker(self)
    }

    /// Who owns the store at this moment, if anybody does.
    ///
    /// # Errors
    /// When the lock cannot be looked at.
    pub fn owner(&self) -> Result<Option<Owner>> {
        lock::owner(&self.inner.remote.path)
    }

    /// Asks the node that owns the store, such as for its `tree`.
    ///
    /// # Errors
    /// `NotFound` when nothing runs on the store or the node knows no such verb; what the node answers.
    pub async fn ask(&self, verb: &str, body: Value) -> Result<Value> {
        match self.inner.remote.ask(Ask::Call { verb: verb.into(), body }).await? {
            Reply::Value(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// Becomes the owner for good, with the options that it was attached with.
    ///
    /// # Errors
    /// As for [`open`](super::open).
    pub fn own(&self) -> Result<Broker> {
        super::open(&self.inner.remote.path, self.inner.remote.options.clone())
    }
}

/// The owner is of another version and answers something else.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::decode(format!("the owner of the store answers {reply:?}"))
}

/// A connection that sees when others have committed.
struct Looker {
    conn: Connection,
    version: Option<i64>,
}

impl Looker {
    /// What is new since the last look, if anything is.
    fn look(&mut self, waiters: &Waiters) -> Done<Option<(Marks, Vec<Outcome>)>> {
        let version = self.conn.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if self.version == Some(version) {
            return Ok(None);
        }
        // In this order: who begins to wait from now on looks at the file himself, after this version.
        let wanted = waiters.wanted();
        let outcomes = tasks::outcomes(&self.conn, &wanted)?;
        let marks = marks(&self.conn)?;
        self.version = Some(version);
        Ok(Some((marks, outcomes)))
    }
}

/// Looks at the file while somebody follows or waits, until nobody is attached any more.
async fn look(mut looker: Looker, attached: Weak<Inner>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(view) = attached.upgrade().map(|inner| inner.view.clone()) else { return };
        if !view.mover.is_followed() && view.waiters.wanted().is_empty() {
            continue;
        }
        let waiters = view.waiters.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let new = looker.look(&waiters);
            (looker, new)
        });
        let Ok((back, new)) = looked.await else { return };
        looker = back;
        match new {
            Ok(Some((marks, outcomes))) => {
                view.waiters.deliver(&outcomes);
                view.mover.to(marks);
            }
            Ok(None) => (),
            Err(fault) => tracing::warn!(?fault, "the store could not be looked at"),
        }
    }
}
