//! The shared picture that supervisors write and snapshots read.
//!
//! Each child has one node for as long as its spec is in the tree. Locks are held for a copy at most, never across a
//! call into somebody else's code, except for what a child publishes about itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::child::Seat;
use super::event::{Happening, TreeEvent};
use super::exit::ExitReason;
use super::lock;
use super::spec::{ChildSpec, Kind, Restart, Strategy};
use super::view::{ChildInfo, ChildState, ChildStats, SupervisorInfo};

/// What all nodes of a tree share.
#[derive(Debug)]
pub(crate) struct Board {
    epoch: Instant,
    seed: u64,
    zombies: AtomicU32,
    events: broadcast::Sender<TreeEvent>,
}

impl Board {
    pub(crate) fn new(events: broadcast::Sender<TreeEvent>, seed: u64) -> Self {
        Self { epoch: Instant::now(), seed, zombies: AtomicU32::new(0), events }
    }

    /// The time since the tree was made.
    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<TreeEvent> {
        self.events.subscribe()
    }

    pub(crate) fn zombies(&self) -> u32 {
        self.zombies.load(Ordering::Relaxed)
    }

    /// A start value for the jitter of one supervisor: the same for the same seed and path.
    pub(crate) fn seed_for(&self, path: &str) -> u64 {
        path.bytes().fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    Starting,
    Running,
    Backoff(Duration),
    Stopping,
    Stopped,
    Failed,
    Zombie,
}

#[derive(Debug)]
struct Status {
    mark: Mark,
    since: Duration,
    starts: u64,
    last_exit: Option<ExitReason>,
}

/// The figures of a supervisor's restart window.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    pub(crate) times: Vec<Duration>,
    pub(crate) max: u32,
    pub(crate) period: Duration,
}

/// The place of one child in the shared picture. It outlives the child's incarnations.
pub(crate) struct Node {
    board: Arc<Board>,
    path: Arc<str>,
    kind: Kind,
    restart: Restart,
    strategy: Option<Strategy>,
    status: Mutex<Status>,
    stats: Mutex<Option<Arc<dyn ChildStats>>>,
    restarts: Mutex<Restarts>,
    children: Mutex<Vec<Arc<Node>>>,
    seat: Mutex<Option<Seat>>,
}

impl Node {
    pub(crate) fn new(board: Arc<Board>, parent: Option<&Node>, spec: &ChildSpec) -> Arc<Self> {
        let path = parent.map_or_else(|| spec.id.clone(), |parent| format!("{}/{}", parent.path, spec.id).into());
        let status = Status { mark: Mark::Starting, since: board.now(), starts: 0, last_exit: None };
        Arc::new(Self {
            board,
            path,
            kind: spec.kind,
            restart: spec.restart,
            strategy: spec.strategy,
            status: Mutex::new(status),
            stats: Mutex::default(),
            restarts: Mutex::default(),
            children: Mutex::default(),
            seat: Mutex::default(),
        })
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn set_stats(&self, stats: Arc<dyn ChildStats>) {
        *lock(&self.stats) = Some(stats);
    }

    pub(crate) fn set_restarts(&self, restarts: Restarts) {
        *lock(&self.restarts) = restarts;
    }

    pub(crate) fn set_seat(&self, seat: Seat) {
        *lock(&self.seat) = Some(seat);
    }

    pub(crate) fn seat(&self) -> Option<Seat> {
        lock(&self.seat).clone()
    }

    pub(crate) fn add(&self, child: Arc<Node>) {
        lock(&self.children).push(child);
    }

    pub(crate) fn remove(&self, child: &Arc<Node>) {
        lock(&self.children).retain(|other| !Arc::ptr_eq(other, child));
    }

    pub(crate) fn clear(&self) {
        lock(&self.children).clear();
    }

    /// The node at `path`, this one included.
    pub(crate) fn find(self: &Arc<Self>, path: &str) -> Option<Arc<Node>> {
        if *self.path == *path {
            return Some(self.clone());
        }
        let below = path.strip_prefix(&*self.path)?.starts_with('/');
        let children = if below { lock(&self.children).clone() } else { Vec::new() };
        children.iter().find_map(|child| child.find(path))
    }

    pub(crate) fn emit(&self, what: Happening) {
        let event = TreeEvent { path: self.path.clone(), at: self.board.now(), what };
        super::log::event(&event);
        // Nobody listening is fine.
        let _ = self.board.events.send(event);
    }

    pub(crate) fn mark(&self, mark: Mark) {
        let mut status = lock(&self.status);
        status.mark = mark;
        status.since = self.board.now();
    }

    pub(crate) fn starting(&self, attempt: u64) {
        self.mark(Mark::Starting);
        lock(&self.status).starts = attempt;
    }

    pub(crate) fn up(&self) {
        self.mark(Mark::Running);
        let attempt = lock(&self.status).starts;
        self.emit(Happening::Started { attempt });
    }

    /// It is down. What was below a supervisor that did not stop in order went with it.
    pub(crate) fn down(&self, reason: ExitReason) {
        {
            let mut status = lock(&self.status);
            if status.mark != Mark::Zombie {
                status.mark = Mark::Stopped;
            }
            status.since = self.board.now();
            status.last_exit = Some(reason.clone());
        }
        self.settle();
        self.emit(Happening::Exited { reason });
    }

    fn settle(&self) {
        for child in lock(&self.children).iter() {
            let mut status = lock(&child.status);
            if !matches!(status.mark, Mark::Stopped | Mark::Failed | Mark::Zombie) {
                status.mark = Mark::Stopped;
                status.since = self.board.now();
            }
            drop(status);
            child.settle();
        }
    }

    /// It was ended and is not gone; `gone` resolves when it is. `stuck` if that is what it should be shown as; not when
    /// its next incarnation is on its way.
    pub(crate) fn zombie(self: &Arc<Self>, stuck: bool, gone: impl Future<Output = ()> + Send + 'static) {
        if stuck {
            self.mark(Mark::Zombie);
        }
        self.board.zombies.fetch_add(1, Ordering::Relaxed);
        self.emit(Happening::Zombie);
        let node = self.clone();
        tokio::spawn(async move {
            gone.await;
            node.board.zombies.fetch_sub(1, Ordering::Relaxed);
            let mut status = lock(&node.status);
            if status.mark == Mark::Zombie {
                status.mark = Mark::Stopped;
                status.since = node.board.now();
            }
        });
    }

    pub(crate) fn info(&self) -> ChildInfo {
        let now = self.board.now();
        let stats = lock(&self.stats).clone();
        let draining = stats.as_ref().is_some_and(|stats| stats.draining());
        let status = lock(&self.status);
        let state = match status.mark {
            Mark::Starting => ChildState::Starting,
            Mark::Running if draining => ChildState::Draining,
            Mark::Running => ChildState::Running,
            Mark::Backoff(until) => ChildState::Backoff { retry_in: until.saturating_sub(now) },
            Mark::Stopping => ChildState::Stopping,
            Mark::Stopped => ChildState::Stopped,
            Mark::Failed => ChildState::Failed,
            Mark::Zombie => ChildState::Zombie,
        };
        let (since, starts, last_exit) = (now.saturating_sub(status.since), status.starts, status.last_exit.clone());
        drop(status);
        ChildInfo {
            path: self.path.clone(),
            kind: self.kind,
            restart: self.restart,
            state,
            since,
            starts,
            last_exit,
            stats: stats.map_or(Value::Null, |stats| stats.stats()),
            supervisor: self.strategy.map(|strategy| self.supervisor_info(strategy, now)),
        }
    }

    fn supervisor_info(&self, strategy: Strategy, now: Duration) -> SupervisorInfo {
        let children = lock(&self.children).clone();
        let restarts = lock(&self.restarts);
        let used = restarts.times.iter().filter(|at| now.saturating_sub(**at) < restarts.period).count();
        SupervisorInfo {
            strategy,
            restarts: u32::try_from(used).unwrap_or(u32::MAX),
            max_restarts: restarts.max,
            period: restarts.period,
            children: children.iter().map(|child| child.info()).collect(),
        }
    }
}
