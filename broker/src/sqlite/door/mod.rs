//! Where the process that owns a store takes writes from the others: a Unix socket that only the same user can open.
//!
//! The socket has a short path in a private folder of its own, because a store's own path may be longer than a socket's
//! may be; the lock file names it. A request is one line of JSON, as is its answer, so a person can ask with `nc -U`.
//! Lines, connections and idleness are bounded; what is asked goes through the same rooms and limits as a call in the
//! process.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};

use super::lock::Owner;
use super::options::Verbs;
use super::store::Store;
use super::{dead, events, state, tasks};
use crate::dead_letter::DeadLetters;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::state::States;
use crate::tasks::Tasks;

mod remote;
mod wire;

pub(super) use remote::Remote;
pub(super) use wire::{Answer, Ask, Reply};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// The longest path that a socket can have everywhere.
const MAX_PATH: usize = 100;
/// What our folders are called.
const FOLDER: &str = "callboard-";

/// An open door. Closed, and its folder removed, when it is dropped.
pub(super) struct Door {
    socket: PathBuf,
    /// Dropped with the door, which ends whoever answers at it.
    _open: oneshot::Sender<()>,
}

/// A door that nobody answers at yet.
pub(super) struct Bell {
    listener: UnixListener,
    closed: oneshot::Receiver<()>,
}

impl Door {
    /// Makes a folder and a socket in it.
    pub(super) fn open() -> std::io::Result<(Self, Bell)> {
        let socket = folder()?.join("s");
        let listener = UnixListener::bind(&socket)?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        let (open, closed) = oneshot::channel();
        Ok((Self { socket, _open: open }, Bell { listener, closed }))
    }

    /// Where it is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        sweep(&self.socket);
    }
}

/// Removes what an owner who was killed left behind.
pub(super) fn sweep_after(before: Option<Owner>) {
    if let Some(socket) = before.and_then(|owner| owner.socket) {
        sweep(&socket);
    }
}

fn sweep(socket: &Path) {
    let Some(folder) = socket.parent() else { return };
    if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER)) {
        // What cannot be removed is an empty folder in a folder for temporary things.
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_dir(folder);
    }
}

fn folder() -> std::io::Result<PathBuf> {
    let name = format!("{FOLDER}{}", &uuid::Uuid::now_v7().simple().to_string()[12..]);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let bases = runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]);
    let mut refused = std::io::Error::from(std::io::ErrorKind::NotFound);
    for folder in bases.map(|base| base.join(&name)).filter(|folder| folder.as_os_str().len() < MAX_PATH) {
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

impl Bell {
    /// Answers until the door is closed.
    pub(super) async fn answer(self, store: Weak<Store>, verbs: Verbs, peers: usize) {
        let Self { listener, mut closed } = self;
        let places = Arc::new(Semaphore::new(peers.max(1)));
        let mut guests = tokio::task::JoinSet::new();
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (came, place) = tokio::select! {
                _ = &mut closed => return,
                next = next => next,
            };
            while guests.try_join_next().is_some() {}
            match came {
                Ok((stream, _)) => {
                    let (store, verbs) = (store.clone(), verbs.clone());
                    guests.spawn(async move {
                        let _place = place;
                        serve(stream, store, verbs).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "another process could not be let in");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: UnixStream, store: Weak<Store>, verbs: Verbs) {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    while let Ok(request) = tokio::time::timeout(IDLE, wire::receive::<Ask>(&mut from)).await {
        let (answer, last) = match request {
            Ok(None) => return,
            Ok(Some(ask)) => (do_for(&store, &verbs, ask).await, false),
            // Where the next line begins is not known after one that was too long.
            Err(error) => (Err(error), true),
        };
        let line = wire::line(&Answer::one(answer)).or_else(|error| wire::line(&Answer::<Reply>::one(Err(error))));
        let Ok(line) = line else { return };
        let sent = tokio::time::timeout(IDLE, wire::send(&mut to, &line)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn do_for(store: &Weak<Store>, verbs: &Verbs, ask: Ask) -> Result<Reply> {
    if let Ask::Call { verb, body } = ask {
        return verbs.call(verb, body).await.map(Reply::Value);
    }
    let store = store.upgrade().ok_or_else(|| Error::unavailable("the store was closed"))?;
    answer(store, ask).await
}

/// Does what was asked, through the rooms.
pub(super) async fn answer(store: Arc<Store>, ask: Ask) -> Result<Reply> {
    Ok(match ask {
        Ask::Submit(new) => Reply::Submitted(Answer::of(tasks::TaskRoom(store).submit(new).await)),
        Ask::Conclude(outcome) => Reply::Concluded(tasks::TaskRoom(store).conclude(*outcome).await?.into()),
        Ask::Cancel { task, by } => Reply::Tasks(tasks::TaskRoom(store).cancel(task, by).await?),
        Ask::Retry(task) => Reply::Task(tasks::TaskRoom(store).retry(task).await?),
        Ask::Put(writes) => {
            let writes = writes.into_iter().map(Into::into).collect();
            Reply::Put(Answer::of(state::StateRoom(store).put(writes).await))
        }
        Ask::Publish(facts) => Reply::Published(Answer::of(events::EventRoom(store).publish(facts).await)),
        Ask::RetryDead(seq) => Reply::Task(dead::DeadRoom(store).retry(seq).await?),
        Ask::PurgeDead(seq) => Reply::Count(dead::DeadRoom(store).purge(seq).await?),
        Ask::Call { verb, .. } => return Err(Error::not_found(format!("verb \"{verb}\" without a running node"))),
    })
}
