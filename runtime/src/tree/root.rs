//! The handle of a running tree, and the guardian that sees its root end.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::sync::{broadcast, oneshot, watch};

use super::child::{Seat, StartCtx};
use super::event::{TreeEvent, TreeEvents};
use super::exit::ExitReason;
use super::node::{Board, Mark, Node};
use super::ops;
use super::spec::{ChildSpec, Kind, SpecError, SupervisorSpec};
use super::supervisor::{Reply, SupMsg};
use super::view::TreeInfo;

/// A tree that has not been started.
#[derive(Debug)]
pub struct TreeBuilder {
    spec: SupervisorSpec,
    events: broadcast::Sender<TreeEvent>,
    seed: u64,
}

impl TreeBuilder {
    /// How many events a reader may be behind before it misses some; default 1024, at least 1. Readers made before are
    /// cut off.
    pub fn event_capacity(self, events: usize) -> Self {
        Self { events: broadcast::Sender::new(events.max(1)), ..self }
    }

    /// Makes the jitter of all backoffs repeatable; otherwise it differs from tree to tree.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// All events, those of the start included.
    pub fn events(&self) -> TreeEvents {
        TreeEvents::new(self.events.subscribe())
    }

    /// Starts all children in order, depth first, and returns when each has been started once.
    ///
    /// # Errors
    /// The first start that fails stops what was started and is returned as [`TreeError::Start`].
    ///
    /// # Cancellation
    /// Dropping the future kills what was started.
    pub async fn start(self) -> Result<Tree, TreeError> {
        let spec = ChildSpec::supervisor(self.spec);
        let failed = |reason: ExitReason| TreeError::Start { path: spec.id.to_string(), reason };
        let node = Node::new(Arc::new(Board::new(self.events, self.seed)), None, &spec);
        let (end, ended) = watch::channel(None);
        let guardian = Guardian { node: node.clone(), end };
        let (guardian, _) = Actor::spawn(None, guardian, ())
            .await
            .map_err(|error| failed(ExitReason::error(&error).into_start_failed()))?;
        // From here on dropping the handle kills the guardian, and with it everything.
        let tree = Tree { inner: Arc::new(Inner { guardian: guardian.get_cell(), node: node.clone(), ended }) };
        let seat = Seat::new();
        node.set_seat(seat.clone());
        node.starting(1);
        let ctx = StartCtx::new(1, None, guardian.get_cell(), seat.clone(), node.clone());
        ops::start((spec.start)(ctx), spec.start_timeout, seat, node.clone(), KILL_WAIT).await.map_err(failed)?;
        node.up();
        Ok(tree)
    }
}

/// How long a killed root may take to be gone.
const KILL_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// A running tree. Cheap to clone; when the last clone goes away the tree is killed. [`Tree::stop`] stops it in order.
///
/// Any number of trees live in one process without knowing of each other.
#[derive(Clone)]
pub struct Tree {
    inner: Arc<Inner>,
}

struct Inner {
    guardian: ActorCell,
    node: Arc<Node>,
    ended: watch::Receiver<Option<ExitReason>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.guardian.kill();
    }
}

impl Tree {
    /// A tree below a root supervisor made from `spec`.
    pub fn builder(spec: SupervisorSpec) -> TreeBuilder {
        TreeBuilder { spec, events: broadcast::Sender::new(1024), seed: RandomState::new().hash_one("backoff") }
    }

    /// The whole tree as it stands. Never waits for an actor.
    pub fn info(&self) -> TreeInfo {
        TreeInfo { root: self.inner.node.info(), zombies: self.inner.node.board().zombies() }
    }

    /// All events from now on.
    pub fn events(&self) -> TreeEvents {
        TreeEvents::new(self.inner.node.board().subscribe())
    }

    /// Resolves when the root has ended, with its reason; [`ExitReason::exit_code`] is what the process should then
    /// exit with. Cancel safe.
    pub async fn ended(&self) -> ExitReason {
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ExitReason::Killed),
            Err(_) => ExitReason::Killed,
        }
    }

    /// Stops all children in reverse start order, each within its own shutdown time, and returns how the root ended.
    /// Dropping the future does not take the order back.
    pub async fn stop(&self) -> ExitReason {
        if let Ok(root) = self.mailbox(&self.inner.node) {
            // Refused only by a root that is ending already.
            let _ = root.send_message(SupMsg::Shutdown);
        }
        self.ended().await
    }

    /// Adds a child to the supervisor at path `supervisor`, after all its other children, and returns when it runs.
    /// A child added so leaves the tree when it ends for good.
    ///
    /// # Errors
    /// [`TreeError::Start`] if its first start fails; then it is not added.
    ///
    /// # Cancellation
    /// Dropping the future does not take the order back.
    pub async fn start_child(&self, supervisor: &str, spec: ChildSpec) -> Result<(), TreeError> {
        spec.check()?;
        self.command(supervisor, |reply| SupMsg::StartChild(spec, reply)).await
    }

    /// Stops the child at `path` within its shutdown time, forgets it, and returns when it is gone. The root cannot be
    /// terminated so; see [`stop`](Self::stop).
    ///
    /// # Cancellation
    /// Dropping the future does not take the order back.
    pub async fn terminate_child(&self, path: &str) -> Result<(), TreeError> {
        let (parent, id) = path.rsplit_once('/').ok_or_else(|| TreeError::NoSuchChild { path: path.to_owned() })?;
        self.command(parent, |reply| SupMsg::TerminateChild(id.to_owned(), reply)).await
    }

    /// Kills the child at `path` as it is. Its supervisor sees an abnormal end and restarts it by its rules.
    pub fn kill(&self, path: &str) -> Result<(), TreeError> {
        let no_such_child = || TreeError::NoSuchChild { path: path.to_owned() };
        let node = self.inner.node.find(path).ok_or_else(no_such_child)?;
        let running = |actor: &ActorCell| actor.get_status() < ActorStatus::Stopping;
        node.seat().and_then(|seat| seat.actor()).filter(running).ok_or_else(no_such_child)?.kill();
        Ok(())
    }

    async fn command(&self, supervisor: &str, message: impl FnOnce(Reply) -> SupMsg) -> Result<(), TreeError> {
        let path = || supervisor.to_owned();
        let node = self.inner.node.find(supervisor).ok_or_else(|| TreeError::NoSuchChild { path: path() })?;
        if node.kind() != Kind::Supervisor {
            return Err(TreeError::NotASupervisor { path: path() });
        }
        let (reply, answer) = oneshot::channel();
        self.mailbox(&node)?.send_message(message(reply)).map_err(|_| TreeError::Stopping { path: path() })?;
        answer.await.unwrap_or_else(|_| Err(TreeError::Stopping { path: path() }))
    }

    fn mailbox(&self, node: &Node) -> Result<ActorRef<SupMsg>, TreeError> {
        match node.seat().and_then(|seat| seat.actor()) {
            Some(actor) => Ok(actor.into()),
            None => Err(TreeError::Stopping { path: node.path().to_string() }),
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("root", self.inner.node.path()).finish_non_exhaustive()
    }
}

/// Holds the root as a supervisor holds a child, but only to tell how it ended.
struct Guardian {
    node: Arc<Node>,
    end: watch::Sender<Option<ExitReason>>,
}

impl Actor for Guardian {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let Some((_, reason)) = ExitReason::of_event(event) {
            self.node.down(reason.clone());
            if reason.is_abnormal() {
                self.node.mark(Mark::Failed);
            }
            self.end.send_replace(Some(reason));
            myself.stop(None);
        }
        Ok(())
    }
}

/// Why a tree did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeError {
    /// The spec of a child has an invalid value.
    Spec(SpecError),
    /// A child did not start.
    Start {
        /// The child that was to be started.
        path: String,
        /// Why, naming the children below it.
        reason: ExitReason,
    },
    /// Nothing has this path, or it is not running.
    NoSuchChild {
        /// The path that was asked for.
        path: String,
    },
    /// The child at this path holds no children.
    NotASupervisor {
        /// The path that was asked for.
        path: String,
    },
    /// There is a child with this path.
    Exists {
        /// Its path.
        path: String,
    },
    /// The supervisor holds as many children as it may.
    Full {
        /// The supervisor.
        path: String,
        /// Its `max_children`.
        max: usize,
    },
    /// The supervisor is ending, has ended, or is being restarted.
    Stopping {
        /// The supervisor.
        path: String,
    },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(error) => write!(f, "{error}"),
            Self::Start { path, reason } => write!(f, "{path} was not started: {reason}"),
            Self::NoSuchChild { path } => write!(f, "there is no child {path}"),
            Self::NotASupervisor { path } => write!(f, "{path} is a worker and holds no children"),
            Self::Exists { path } => write!(f, "there is already a child {path}"),
            Self::Full { path, max } => write!(f, "{path} holds {max} children and may not hold more"),
            Self::Stopping { path } => write!(f, "supervisor {path} is not running"),
        }
    }
}

impl std::error::Error for TreeError {}

impl From<SpecError> for TreeError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}
