//! What a start function gets, and how the actor it makes becomes a child.

use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;

use super::exit::{ExitReason, Fault};
use super::lock;
use super::node::Node;
use super::view::ChildStats;

/// What a child is told when it is started.
#[derive(Clone)]
pub struct StartCtx {
    attempt: u64,
    last_exit: Option<ExitReason>,
    parent: ActorCell,
    seat: Seat,
    node: Arc<Node>,
}

impl StartCtx {
    pub(crate) fn new(
        attempt: u64,
        last_exit: Option<ExitReason>,
        parent: ActorCell,
        seat: Seat,
        node: Arc<Node>,
    ) -> Self {
        Self { attempt, last_exit, parent, seat, node }
    }

    /// Which start of this child this is, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// How it ended the last time; `None` at its first start.
    pub fn last_exit(&self) -> Option<&ExitReason> {
        self.last_exit.as_ref()
    }

    /// Where it is in the tree: ids joined by `/` from the root.
    pub fn path(&self) -> &str {
        self.node.path()
    }

    /// Shows the child's own figures in the tree from now on, also after this incarnation has ended.
    pub fn publish(&self, stats: Arc<dyn ChildStats>) {
        self.node.set_stats(stats);
    }

    /// For each task that runs for this child, so that one which cannot be ended is reported as a zombie.
    pub(crate) fn hold(&self) -> Hold {
        self.seat.hold()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Starts `actor`, linked to the supervisor, as the one actor of this child. An error that any of its methods
    /// returns becomes an [`ExitReason`] (an `ExitReason` stays what it is); its panics are told apart.
    ///
    /// A second call is refused, and so is one after the start was given up, so nothing runs unknown to the supervisor.
    /// Dropping the future is safe at any moment.
    pub(crate) async fn spawn<A: Actor>(&self, actor: A, args: A::Arguments) -> Result<ActorRef<A::Msg>, Fault> {
        let seated = Seated { actor, seat: self.seat.clone() };
        match Actor::spawn_linked(None, seated, args, self.parent.clone()).await {
            Ok((actor, _task)) => Ok(actor),
            Err(SpawnErr::StartupFailed(error)) => Err(ExitReason::of_failure(error).into()),
            Err(other) => Err(other.into()),
        }
    }
}

impl std::fmt::Debug for StartCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartCtx")
            .field("path", self.node.path())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The place of one incarnation: its actor, known from before it is linked until the place is closed, and whatever else
/// of it is still running.
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<Chair>);

#[derive(Debug)]
struct Chair {
    place: Mutex<Place>,
    holds: watch::Sender<()>,
}

#[derive(Debug)]
enum Place {
    Free,
    Taken(ActorCell),
    Closed,
}

/// As long as one of these exists, the child is not gone. Every task that runs for a child has one: an actor that was
/// killed is gone at once, but a task of it that spins is not, and it is the task that occupies a thread.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    _held: watch::Receiver<()>,
}

impl Seat {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Chair { place: Mutex::new(Place::Free), holds: watch::Sender::new(()) }))
    }

    fn take(&self, actor: ActorCell) -> Result<(), &'static str> {
        let mut place = lock(&self.0.place);
        match *place {
            Place::Free => {
                *place = Place::Taken(actor);
                Ok(())
            }
            Place::Taken(_) => Err("a child is one actor, and this one has been started already"),
            Place::Closed => Err("this start was given up"),
        }
    }

    /// The actor that sits here.
    pub(crate) fn actor(&self) -> Option<ActorCell> {
        match &*lock(&self.0.place) {
            Place::Taken(actor) => Some(actor.clone()),
            Place::Free | Place::Closed => None,
        }
    }

    /// Lets nobody sit down any more; gives back who does.
    pub(crate) fn close(&self) -> Option<ActorCell> {
        match std::mem::replace(&mut *lock(&self.0.place), Place::Closed) {
            Place::Taken(actor) => Some(actor),
            Place::Free | Place::Closed => None,
        }
    }

    pub(crate) fn hold(&self) -> Hold {
        Hold { _held: self.0.holds.subscribe() }
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.0.holds.is_closed()
    }

    /// Resolves when nothing holds on to it.
    pub(crate) async fn vacated(&self) {
        self.0.holds.closed().await;
    }
}

/// An actor as a child: it sits down before it is linked, and its errors leave it as an [`ExitReason`].
struct Seated<A> {
    actor: A,
    seat: Seat,
}

fn reason(error: ActorProcessingErr) -> ActorProcessingErr {
    ExitReason::of_error(error).into()
}

impl<A: Actor> Actor for Seated<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(&self, myself: ActorRef<A::Msg>, args: A::Arguments) -> Result<A::State, ActorProcessingErr> {
        self.seat.take(myself.get_cell()).map_err(|refusal| reason(refusal.into()))?;
        self.actor.pre_start(myself, args).await.map_err(reason)
    }

    async fn post_start(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.actor.post_start(myself, state).await.map_err(reason)
    }

    async fn post_stop(&self, myself: ActorRef<A::Msg>, state: &mut A::State) -> Result<(), ActorProcessingErr> {
        self.actor.post_stop(myself, state).await.map_err(reason)
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.handle(myself, message, state).await.map_err(reason)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.actor.handle_supervisor_evt(myself, event, state).await.map_err(reason)
    }
}

#[cfg(test)]
mod tests;
