//! The writer: one at a time, on a thread where it may block, for all callers together.
//!
//! Callers leave commands; whoever leaves one while nobody writes starts a writer, which takes all that has come
//! meanwhile into one transaction, commits, answers everybody, and goes on until nothing is left. That *is* group
//! commit: under load the next group gathers while the last one is synced, and no command ever waits for company.
//! The writer runs on tokio's blocking threads rather than on one of its own, so that a test's paused clock stands still
//! while it works, and a store that nobody uses holds no thread.
//!
//! # When a commit is forced to the disk
//! Commits are an ordered prefix: if one survives a power failure, so did all before it. So a commit needs to be synced
//! only where somebody who cannot lose his memory together with the store learns of it, at an *edge*: the submission, the
//! outcome, the cancelling and the retry of a root task; state written and events published by a caller outside of a
//! task; what an operator does to dead letters. Whatever happens inside a run is seen only by the run, whose own outcome
//! is an edge that covers it all; lost before that, it is done again. [`Sync`](super::Sync) moves the rule in either
//! direction.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::desk::Desk;
use super::fault::Done;
use super::job::{Cost, Job, command};
use super::turn::Turn;
use crate::error::{Error, Result};

/// How long a caller that is refused should wait.
const RETRY: Duration = Duration::from_millis(20);

/// How much may wait, and how much goes into one transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) commands: usize,
    pub(super) bytes: usize,
    pub(super) group: usize,
    pub(super) group_bytes: usize,
}

/// Where callers leave commands.
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    /// Where it is written; none: where it is called.
    threads: Option<Handle>,
    inbox: Mutex<Inbox>,
    /// None once the store is closed.
    desk: Mutex<Option<Desk>>,
}

#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Waiting>,
    bytes: usize,
    /// Whether somebody writes, or is about to.
    busy: bool,
    /// Set when a writer panicked: then nothing is known of its transaction, and nothing more is written.
    broken: bool,
}

/// A command in the inbox.
pub(super) struct Waiting {
    pub(super) cost: Cost,
    pub(super) job: Box<dyn Job>,
}

impl Writer {
    /// A writer at a desk; runs on the blocking threads of `threads`, or on those of its callers.
    pub(super) fn new(mut desk: Desk, bounds: Bounds, threads: Option<Handle>) -> Self {
        Self(Arc::new_cyclic(|weak| {
            desk.core.tasks.home = WeakWriter(weak.clone());
            Shared { bounds, threads, inbox: Mutex::default(), desk: Mutex::new(Some(desk)) }
        }))
    }

    /// Leaves a command at once; the future waits for its answer.
    ///
    /// # Errors
    /// `Busy` when too much waits already; why the write was not done; `Unknown` when the store died with it.
    pub(super) fn call<T, F>(&self, cost: Cost, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Turn<'_>) -> Done<T> + Send + 'static,
    {
        self.give(cost, work, true)
    }

    /// The same, for what the holder of a claim leaves to keep it or to give it up. No bound refuses it, for it makes room;
    /// there are never more than there are claims.
    pub(super) fn call_of_holder<T, F>(&self, cost: Cost, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Turn<'_>) -> Done<T> + Send + 'static,
    {
        self.give(cost, work, false)
    }

    fn give<T, F>(&self, cost: Cost, work: F, bounded: bool) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Turn<'_>) -> Done<T> + Send + 'static,
    {
        let (job, answer) = command(work);
        let left = self.leave(cost, job, bounded);
        async move {
            left?;
            answer.await.unwrap_or_else(|_| Err(Error::Unknown { what: "a write to the store".into() }))
        }
    }

    /// Has the writer look at the time; the future resolves when it has.
    ///
    /// # Errors
    /// When it never will again.
    pub(super) fn wake(self) -> impl Future<Output = Result<()>> + Send {
        let (job, answer) = command(|_| Ok(()));
        let left = self.leave(Cost::touch(), job, false);
        drop(self);
        async move {
            left?;
            answer.await.unwrap_or_else(|_| Err(Error::unavailable("the store was closed")))
        }
    }

    /// Leaves a command of our own making, which no bound refuses and nobody waits for.
    pub(super) fn post(&self, cost: Cost, work: impl FnMut(&mut Turn<'_>) -> Done<()> + Send + 'static) {
        // Refused only when the writer is broken, which everybody else is told.
        let _ = self.leave(cost, command(work).0, false);
    }

    fn leave(&self, cost: Cost, job: Box<dyn Job>, bounded: bool) -> Result<()> {
        let bounds = &self.0.bounds;
        let mut inbox = self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.broken {
            return Err(Error::unavailable("the writer of the store has failed; what it had acknowledged is safe"));
        }
        let full =
            inbox.jobs.len() >= bounds.commands || (inbox.bytes + cost.bytes > bounds.bytes && !inbox.jobs.is_empty());
        if full && bounded {
            return Err(Error::Busy { to: "the store".into(), retry_after: RETRY });
        }
        inbox.bytes += cost.bytes;
        inbox.jobs.push_back(Waiting { cost, job });
        let is_first = !std::mem::replace(&mut inbox.busy, true);
        drop(inbox);
        if is_first {
            let shared = self.0.clone();
            match &self.0.threads {
                Some(threads) => drop(threads.spawn_blocking(move || shared.write_all())),
                None => shared.write_all(),
            }
        }
        Ok(())
    }

    /// Writes what has been left and closes the file: when this returns, another process can own the store.
    pub(super) fn close(&self) {
        let mut desk = self.0.desk.lock().unwrap_or_else(PoisonError::into_inner);
        // A writer that was started for it may not have begun.
        if let Some(desk) = desk.as_mut() {
            self.0.write_at(desk);
        }
        drop(desk.take());
    }

    /// A handle that does not keep the store open.
    pub(super) fn downgrade(&self) -> WeakWriter {
        WeakWriter(Arc::downgrade(&self.0))
    }
}

/// Does not keep the store open.
#[derive(Clone, Default)]
pub(super) struct WeakWriter(std::sync::Weak<Shared>);

impl WeakWriter {
    pub(super) fn upgrade(&self) -> Option<Writer> {
        self.0.upgrade().map(Writer)
    }
}

impl Shared {
    fn write_all(&self) {
        match self.desk.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(desk) => self.write_at(desk),
            // Commands that come after the end are dropped, which tells their callers.
            None => while self.next_group().is_some() {},
        }
    }

    fn write_at(&self, desk: &mut Desk) {
        let mut panicked = Panicked(Some(self));
        while let Some(group) = self.next_group() {
            desk.write(group);
        }
        panicked.0 = None;
    }

    /// What has come, up to the size of one transaction; none ends the writer.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut bytes) = (0, 0);
        for waiting in inbox.jobs.iter().take(self.bounds.group) {
            if count > 0 && bytes + waiting.cost.bytes > self.bounds.group_bytes {
                break;
            }
            count += 1;
            bytes += waiting.cost.bytes;
        }
        inbox.bytes -= bytes;
        inbox.busy = count > 0;
        (count > 0).then(|| inbox.jobs.drain(..count).collect())
    }
}

/// Closes the inbox when a writer unwinds: every caller is told that nothing is known, by its dropped answer.
struct Panicked<'a>(Option<&'a Shared>);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            let mut inbox = shared.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            inbox.broken = true;
            inbox.jobs.clear();
        }
    }
}
