//! How a request ends early: no longer wanted, out of its budget; and what becomes of its children then.

use std::sync::atomic::Ordering;

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::task::{Outcome, Status, Task};
use tokio::sync::watch;

use super::RequestHost;

impl RequestHost {
    /// From now on every call answers `Cancelled`, and what the handler drops is left alone.
    pub(crate) fn end(&self, why: Error) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(why);
            }
            first
        });
    }

    /// Whether the handler listens for its end, to put things in order.
    pub(crate) fn is_heeded(&self) -> bool {
        self.heeded.load(Ordering::Acquire)
    }

    /// The reason why the request has ended, if it has.
    pub(super) fn live(&self) -> Result<()> {
        self.ended.borrow().as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Runs a call under the request's end: an end that comes first wins.
    pub(super) async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        unless(self.ended.subscribe(), call).await
    }

    /// When the budget of the run has run out, the whole request ends with that, whatever its handler makes of it.
    pub(super) async fn bound<T>(&self, result: Result<T>) -> Result<T> {
        // Also what was asked, on whatever node, may have met that.
        if result.as_ref().is_err_and(|error| error.code() == code::EXHAUSTED) {
            self.look_for_exhaustion().await;
        }
        result
    }

    /// As [`bound`](Self::bound), for a child that ended so.
    pub(super) async fn bound_by(&self, outcome: Option<&Outcome>) {
        let Some((outcome, error)) = outcome.and_then(|outcome| Some((outcome, outcome.error.as_ref()?))) else {
            return;
        };
        if error.code != code::EXHAUSTED {
            return;
        }
        match &self.journal {
            // The child was quicker to see that the wall time of both is over.
            Some(journal) if outcome.status == Status::Expired => self.overdue(journal.task()),
            _ => self.look_for_exhaustion().await,
        }
    }

    async fn look_for_exhaustion(&self) {
        let Some(account) = self.account() else { return };
        if let Ok(Some(error)) = account.is_exhausted(&self.hub.broker).await {
            self.exhausted.send_replace(Some(error));
        }
    }

    /// The deadline of the task has passed. When that was the wall time of its run, nothing below it goes on either.
    pub(crate) fn overdue(&self, task: &Task) {
        if task.is_last_call() {
            self.exhausted.send_replace(Some(Error::Expired));
        }
    }

    /// Whether the wall time of its run is over, as far as this request has seen.
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(*self.exhausted.borrow(), Some(Error::Expired))
    }

    /// Resolves when the budget of the run has run out, as far as this request has seen.
    pub(crate) async fn until_exhausted(&self) {
        // It cannot go away while somebody holds this host.
        let _ = self.exhausted.subscribe().wait_for(Option::is_some).await;
    }

    /// The task has its outcome: what it dropped is cancelled.
    pub(crate) fn give_up(&self) {
        self.orphans.give_up();
        // A child that was on its way to the store when the budget ran out has arrived by now.
        self.cut_off();
    }

    /// When the budget of the run has run out: ends the request and cancels all that its task has delegated.
    pub(crate) fn cut_off(&self) -> Option<Error> {
        let why = self.exhausted.borrow().clone()?;
        self.end(why.clone());
        self.journal.iter().flat_map(|journal| journal.children()).for_each(|child| self.orphans.add(child));
        Some(why)
    }

    /// What becomes of a child that nobody waits for any more: nothing, once the request has ended. A question about an
    /// effect in doubt stays, as the doubt does.
    pub(super) fn abandoner(&self) -> impl FnOnce(TaskId) + Send + use<> {
        let (ended, orphans, journal) = (self.ended.subscribe(), self.orphans.clone(), self.journal.clone());
        move |child| {
            let stays = journal.is_some_and(|journal| journal.is_about_doubt(&child));
            if ended.borrow().is_none() && !stays {
                orphans.add(child);
            }
        }
    }

    /// Resolves with the reason when the request ends early; from the first call on the handler counts as one that listens.
    pub(super) async fn until_ended(&self) -> Error {
        self.heeded.store(true, Ordering::Release);
        let mut ended = self.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| Error::Cancelled { by: "the runtime".into() })
    }
}

/// Runs a call, unless its request has ended or does so first.
pub(super) async fn unless<T>(
    mut ended: watch::Receiver<Option<Error>>,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    if let Some(why) = ended.borrow().clone() {
        return Err(why);
    }
    tokio::select! {
        biased;
        result = call => result,
        why = ended.wait_for(Option::is_some) => {
            let why = why.ok().and_then(|why| why.clone());
            Err(why.unwrap_or_else(|| Error::Cancelled { by: "the runtime".into() }))
        }
    }
}
