use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;

use crate::host::{Host, Order};

/// A child that somebody waits for; dropped before it has ended, it is abandoned.
pub(super) struct Live {
    host: Arc<dyn Host>,
    child: Option<TaskId>,
}

impl Live {
    pub(super) fn new(host: &Arc<dyn Host>, child: TaskId) -> Self {
        Self { host: host.clone(), child: Some(child) }
    }

    /// Nothing is left to abandon: there is an outcome, or the host could not wait for one.
    pub(super) fn ended(mut self) {
        self.child = None;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.host.abandon(child);
        }
    }
}

/// The children that a call has delegated, for who waits for them when the call itself is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Began(Arc<Mutex<Children>>);

#[derive(Debug, Default)]
struct Children {
    noted: Vec<TaskId>,
    /// How many are on their way to the store.
    under_way: usize,
    is_stopped: bool,
}

impl Began {
    /// Delegates a child and notes it.
    ///
    /// # Errors
    /// `Cancelled` when it was stopped; what the host answers.
    pub(super) async fn delegate(&self, host: &Arc<dyn Host>, order: Order) -> Result<TaskId> {
        let _under_way = UnderWay::of(self)?;
        let child = host.delegate(order).await?;
        self.lock().noted.push(child.clone());
        Ok(child)
    }

    /// From now on nothing more is delegated.
    pub(crate) fn stop(&self) {
        self.lock().is_stopped = true;
    }

    /// Whether a child is on its way to the store: it cannot be waited for before it has arrived there.
    pub(crate) fn is_under_way(&self) -> bool {
        self.lock().under_way > 0
    }

    /// In the order in which they were begun.
    pub(crate) fn children(&self) -> Vec<TaskId> {
        self.lock().noted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child on its way to the store, until this is dropped.
struct UnderWay<'b>(&'b Began);

impl<'b> UnderWay<'b> {
    fn of(began: &'b Began) -> Result<Self> {
        let mut children = began.lock();
        if children.is_stopped {
            return Err(Error::Cancelled { by: "the group, before it was begun".into() });
        }
        children.under_way += 1;
        Ok(Self(began))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}
