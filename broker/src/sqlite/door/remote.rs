//! Asking the owner of a store, or being it for one write.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::super::lock::{Lock, Taken};
use super::super::options::Options;
use super::super::store::Store;
use super::wire::{self, Answer, Ask, Reply};
use crate::error::{Error, Result};

/// How long a request may take in all, with every owner that it has to go through.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before looking again for an owner who is on his way, or just gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The way to whoever owns a store.
pub(in super::super) struct Remote {
    pub(in super::super) path: PathBuf,
    pub(in super::super) options: Options,
}

/// What came of one try.
enum Try {
    Done(Result<Reply>),
    /// It did not reach anybody.
    NotSent,
    /// It was sent, and there is no answer.
    Lost,
}

impl Remote {
    /// Has it done: by the owner, by the next one if he dies, or by this process when there is none.
    ///
    /// # Errors
    /// What the owner answers; `Unknown` when he died with a request that must not be done twice.
    pub(in super::super) async fn ask(&self, ask: Ask) -> Result<Reply> {
        let line = wire::line(&ask)?;
        let until = Instant::now() + PATIENCE;
        loop {
            let tried = match Lock::take(&self.path)? {
                Taken::Ours(lock, before) => {
                    super::sweep_after(before);
                    return self.own_for(lock, ask).await;
                }
                Taken::Theirs(owner) => match owner.and_then(|owner| owner.socket) {
                    Some(socket) => tokio::time::timeout_at(until, send(socket, &line)).await.unwrap_or(Try::Lost),
                    None => Try::NotSent,
                },
            };
            match tried {
                // It is closing: whether it was done shows when it is asked of the next one.
                Try::Done(Err(Error::Unavailable { .. })) if ask.may_be_repeated() && Instant::now() < until => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Try::Done(reply) => return reply,
                Try::Lost if !ask.may_be_repeated() => {
                    return Err(Error::Unknown { what: "a request to the owner of the store".into() });
                }
                Try::Lost | Try::NotSent if Instant::now() >= until => {
                    let what = format!("the owner of the store {} does not answer", self.path.display());
                    return Err(Error::unavailable(what));
                }
                Try::Lost | Try::NotSent => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Owns the store for one write.
    async fn own_for(&self, lock: Lock, ask: Ask) -> Result<Reply> {
        if let Ask::Call { verb, .. } = &ask {
            return Err(Error::not_found(format!("verb \"{verb}\": nothing runs on this store")));
        }
        let (path, options, threads) = (self.path.clone(), self.options.clone(), Handle::current());
        let open = move || Store::open(&path, lock, &options, threads);
        let store = tokio::task::spawn_blocking(open).await;
        let store = store.unwrap_or_else(|_| Err(Error::unavailable("the runtime is shutting down")))?;
        super::answer(Arc::clone(&store), ask).await
    }
}

async fn send(socket: PathBuf, line: &[u8]) -> Try {
    let Ok(stream) = UnixStream::connect(socket).await else { return Try::NotSent };
    let (from, mut to) = stream.into_split();
    // A line that did not arrive whole is not done.
    if wire::send(&mut to, line).await.is_err() {
        return Try::NotSent;
    }
    match wire::receive::<Answer<Reply>>(&mut BufReader::new(from)).await {
        Ok(Some(answer)) => Try::Done(answer.into_result()),
        Ok(None) | Err(Error::Unavailable { .. }) => Try::Lost,
        Err(error) => Try::Done(Err(error)),
    }
}
