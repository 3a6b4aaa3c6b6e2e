//! Connections that read beside the writer.
//!
//! A reader sees the last commit as of its first statement and never waits for the writer, nor the writer for it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};

use super::fault::Done;
use super::file;
use crate::error::{Error, Result};

/// A few connections that take turns. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    store: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Whether it is read where it is called.
    inline: bool,
}

impl Readers {
    /// At most `limit` connections, opened when they are needed, and used on blocking threads unless `inline`.
    pub(super) fn new(store: PathBuf, limit: usize, inline: bool) -> Self {
        let turns = Arc::new(Semaphore::new(limit.max(1)));
        Self(Arc::new(Pool { store, turns, idle: Mutex::new(Vec::new()), inline }))
    }

    /// Closes the connections that nobody uses at this moment.
    pub(super) fn close(&self) {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Reads in one transaction, so that everything read fits together.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Done<T> + Send + 'static,
    ) -> Result<T> {
        let (pool, closed) = (self.0.clone(), || Error::unavailable("the store was closed"));
        if pool.inline {
            let _turn = pool.turns.acquire().await.map_err(|_| closed())?;
            return pool.look(look);
        }
        let turns = pool.turns.clone();
        let reading = |turn: OwnedSemaphorePermit| {
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                pool.look(look)
            })
        };
        let found = match turns.clone().try_acquire_owned() {
            Ok(turn) => reading(turn).await,
            // The line serves the whole process, and who stands in it may be polled by nobody for a while: so it is stood in
            // apart.
            Err(_) => {
                let apart = async move {
                    let turn = turns.acquire_owned().await.map_err(|_| closed())?;
                    reading(turn).await.unwrap_or_else(|_| Err(closed()))
                };
                Leaving(tokio::spawn(apart)).await
            }
        };
        // Refused only by a runtime that is shutting down.
        found.unwrap_or_else(|_| Err(closed()))
    }
}

/// What goes on apart, and out of the line when nobody waits for it any more.
struct Leaving<T>(JoinHandle<T>);

impl<T> Future for Leaving<T> {
    type Output = std::result::Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pool {
    fn look<T>(&self, look: impl FnOnce(&Connection) -> Done<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let told = |fault: super::fault::Fault| fault.tell(&self.store);
        let conn = idle.map_or_else(|| file::open_reader(&self.store), Ok).map_err(told)?;
        let found = (|| {
            conn.prepare_cached("BEGIN")?.execute([])?;
            let found = look(&conn);
            conn.prepare_cached("COMMIT")?.execute([])?;
            found
        })();
        if conn.is_autocommit() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
        found.map_err(told)
    }
}
