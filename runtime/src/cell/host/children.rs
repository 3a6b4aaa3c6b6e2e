//! Children: handing on, waiting, and noticing that they come to the same thing again and again.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use callboard_agents::host::{Order, Place};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::lineage::Link;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Outcome;
use callboard_broker::tasks::Until;
use tokio::time::Instant;

use super::RequestHost;
use crate::apart::apart;
use crate::cell::journal::Given;
use crate::limits::Repeats;
use crate::telemetry;

/// Wait before a wait for a child is begun again that the store could not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl RequestHost {
    pub(super) fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a child came to, for whoever hands the same on again.
    fn note_outcome(&self, outcome: Option<&Outcome>) {
        let of_child = |outcome: &Outcome| self.journal.as_ref()?.link_of(&outcome.task, &outcome.capability);
        let Some((outcome, link)) = outcome.and_then(|outcome| Some((outcome, of_child(outcome)?))) else { return };
        self.repeats().note(link, || match &outcome.error {
            Some(error) => Some(format!("{}: {}", error.code, error.message)),
            None => outcome.output.content_hash().ok(),
        });
    }

    /// Waits until one more child may be queued. What people are asked stands in the way of no other work.
    pub(super) async fn place_of(&self, capability: &CapabilityName) -> Result<Place> {
        if capability.is_human() {
            return Ok(Place::default());
        }
        self.within(async { Ok(Place::of(self.places.take().await)) }).await
    }

    /// Makes a task of it, or finds the one that an earlier attempt made.
    pub(super) async fn hand_on(&self, order: Order) -> Result<TaskId> {
        let _open = self.load.call();
        self.grants.call(&order.capability)?;
        let journal = self.journal("delegate")?;
        let trace = telemetry::here(self.trace);
        let repeats = |next: &Link| self.repeats().check(next, self.chain.repeats());
        let given = Given { trace, origins: self.desk.taint().origins() };
        let child = self.within(journal.delegate(&self.hub.broker, order, given, repeats, self.abandoner())).await;
        self.bound(child).await
    }

    /// The outcome of a child, waited for as long as the request may last.
    pub(super) async fn end_of(&self, child: TaskId, mut place: Place) -> Result<Outcome> {
        let human = self.journal.as_ref().is_some_and(|journal| journal.is_for_people(&child));
        if human {
            // Who waits for a person is parked at once: so it is looked first whether they have answered.
            let _open = self.load.call();
            let look = self.hub.broker.tasks.wait(vec![child.clone()], Until::All, Duration::ZERO);
            if let Ok(Some(outcome)) = self.within(look).await.map(|mut outcomes| outcomes.pop()) {
                return Ok(outcome);
            }
        }
        let _open = self.load.wait(&child, human);
        let limit = self.facts.deadline.saturating_duration_since(Instant::now());
        loop {
            let left = self.facts.deadline.saturating_duration_since(Instant::now());
            let (tasks, of) = (self.hub.broker.tasks.clone(), vec![child.clone()]);
            // Its place is free when it has ended, whether or not anybody polls for that.
            let waiting = apart(async move {
                match tasks.wait(of, Until::All, left).await {
                    Err(error) => Ok(Err((error, place))),
                    Ok(outcomes) => Ok(Ok(outcomes)),
                }
            });
            match self.within(waiting).await? {
                Ok(mut outcomes) => {
                    self.bound_by(outcomes.last()).await;
                    self.note_outcome(outcomes.last());
                    let late = || Error::Deadline { to: format!("task {child}").into(), limit };
                    return outcomes.pop().ok_or_else(late);
                }
                // The child does not suffer from a store that is away, so neither does who waits for it.
                Err((Error::Unavailable { .. }, kept)) if left > LOOK_AGAIN => {
                    place = kept;
                    let pause = async {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        Ok(())
                    };
                    self.within(pause).await?;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}
