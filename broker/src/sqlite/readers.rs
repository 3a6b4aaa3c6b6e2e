//! Connections that read beside the writer.
//!
//! A reader sees the last commit as of its first statement and never waits for the writer, nor the writer for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

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
}

impl Readers {
    /// At most `limit` connections, opened when they are needed.
    pub(super) fn new(store: PathBuf, limit: usize) -> Self {
        let turns = Arc::new(Semaphore::new(limit.max(1)));
        Self(Arc::new(Pool { store, turns, idle: Mutex::new(Vec::new()) }))
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
        let pool = self.0.clone();
        let turn = pool.turns.clone().acquire_owned().await.map_err(|_| Error::unavailable("the store was closed"))?;
        let look = move || {
            let _turn = turn;
            pool.look(look)
        };
        // Refused only by a runtime that is shutting down.
        tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Err(Error::unavailable("the store was closed")))
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
