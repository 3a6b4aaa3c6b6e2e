//! N cells of one service on this node, over queues that outlive them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_agents::host::Facts;
use callboard_agents::service::{Door, ServiceOptions, Start};
use callboard_agents::{Grant, Service};
use callboard_broker::event::{AGENT_AVAILABLE, NewEvent};
use callboard_broker::messages::{ASK_DEADLINE, Address, Fill, Inbox};
use callboard_broker::payload::Payload;
use callboard_broker::task::{Record, Task, was_begun};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::declined::Declined;
use super::hub::Hub;
use super::quit::Quit;
use super::stats::Stats;
use super::{actor, bulk};
use crate::tree::{Backoff, ChildSpec, ChildStats, Intensity, Shutdown, SpecError, SupervisorSpec};

/// So much later, a year at most: that is beyond every limit that matters, and far from where the addition overflows.
pub(crate) fn after(from: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
    from + limit.min(YEAR)
}

/// What the cells of one service share.
pub(crate) struct Pool {
    pub(crate) hub: Arc<Hub>,
    pub(crate) name: Arc<str>,
    pub(crate) team: Arc<str>,
    pub(crate) doors: Vec<Door>,
    pub(crate) inboxes: Vec<Arc<dyn Inbox>>,
    /// The queue of the agent's own name.
    pub(crate) by_name: Arc<dyn Inbox>,
    pub(crate) start: Start,
    pub(crate) options: ServiceOptions,
    pub(crate) grants: Arc<[Grant]>,
    pub(crate) stats: Stats,
    /// Cells at the moment: as configured, until the pool is scaled.
    workers: AtomicUsize,
    pub(crate) declined: Declined,
    /// Cells that run, by number, each once unless a new one is there before the old one has gone.
    open: Mutex<BTreeMap<usize, usize>>,
    /// Told when bulk may have room that it had not before.
    pub(super) room: Arc<Notify>,
    closed: AtomicBool,
}

impl Pool {
    /// Opens the queues of a service on a node. `team` is the supervisor above it.
    pub(crate) fn open(hub: &Arc<Hub>, service: &Service, team: &str) -> Arc<Self> {
        let options = service.options().clone();
        let serve = |address| hub.broker.messages.serve(address, options.queue);
        let name: Arc<str> = service.name().into();
        if let Some(serving) = options.serving() {
            service.doors().iter().for_each(|d| hub.broker.messages.serves_version(&d.capability, &serving));
        }
        Arc::new(Self {
            inboxes: service.doors().iter().map(|d| serve(Address::Capability(d.capability.clone()))).collect(),
            by_name: serve(Address::Agent(name.clone())),
            hub: hub.clone(),
            team: options.team.clone().unwrap_or_else(|| team.into()),
            doors: service.doors().to_vec(),
            start: service.starter(),
            grants: options.grants.clone().into(),
            stats: Stats::default(),
            workers: AtomicUsize::new(options.workers),
            declined: Declined::default(),
            open: Mutex::default(),
            room: Arc::default(),
            closed: AtomicBool::new(false),
            options,
            name,
        })
    }

    /// The supervisor of its cells.
    pub(crate) fn supervisor(self: &Arc<Self>) -> Result<ChildSpec, SpecError> {
        let cells = (1..=self.options.workers).map(|n| self.cell(n));
        let workers = u32::try_from(self.options.workers).unwrap_or(u32::MAX);
        let spec = SupervisorSpec::new(self.name.clone(), cells)?
            .intensity(Intensity::pool(workers))
            .backoff(Backoff::pool())
            .stop_together();
        Ok(ChildSpec::supervisor(spec))
    }

    /// Its `n`th cell, from 1.
    pub(crate) fn cell(self: &Arc<Self>, n: usize) -> ChildSpec {
        let pool = self.clone();
        ChildSpec::actor(format!("#{n}"), move |ctx| actor::start(pool.clone(), n, ctx))
            .restart(self.options.restart)
            .shutdown(Shutdown::Timeout(self.options.shutdown))
    }

    /// How many cells it has from now on, for its figures.
    pub(crate) fn set_workers(&self, n: usize) {
        self.workers.store(n, Ordering::Relaxed);
    }

    /// How many cells it has.
    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    /// How many slots its cell of this number may use for bulk, beside those that run.
    pub(super) fn allowed_bulk(&self, n: usize) -> usize {
        let (place, cells) = {
            let open = self.running();
            (open.range(..=n).count(), open.len())
        };
        let slots = self.options.concurrency;
        bulk::allowed(place, cells, slots, self.options.reserve(cells.saturating_mul(slots)))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The facts of an attempt at a task.
    pub(crate) fn facts_of_task(&self, task: &Task, attempt: u32, log: &[Record], deadline: Instant) -> Facts {
        Facts {
            agent: self.name.clone(),
            capability: task.capability.clone(),
            task: Some(task.id.clone()),
            run: Some(task.run.clone()),
            team: self.team.clone(),
            attempt,
            again: was_begun(attempt, log),
            attempts: task.retry.attempts,
            deadline,
            model: task.model.as_deref().map(Into::into),
        }
    }

    /// The facts of a request that is a broadcast heard at `now`.
    pub(crate) fn facts_of_broadcast(&self, now: Instant) -> Facts {
        Facts {
            agent: self.name.clone(),
            // A service has a door by construction; a broadcast comes through none of them.
            capability: self.doors[0].capability.clone(),
            task: None,
            run: None,
            team: self.team.clone(),
            attempt: 1,
            again: false,
            attempts: 1,
            deadline: after(now, self.options.deadline.unwrap_or(ASK_DEADLINE)),
            model: None,
        }
    }

    /// Serves no more: what waits in its queues, and waits for nobody else either, is told so. Once is enough.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        for address in self.addresses() {
            self.hub.broker.messages.close(&address);
        }
    }

    fn addresses(&self) -> impl Iterator<Item = Address> {
        let by_name = Address::Agent(self.name.clone());
        self.doors.iter().map(|door| Address::Capability(door.capability.clone())).chain([by_name])
    }

    /// Says that an agent of this pool has a free slot.
    pub(crate) fn available(&self) -> NewEvent {
        let capabilities: Vec<_> = self.doors.iter().map(|door| door.capability.as_str()).collect();
        NewEvent {
            kind: AGENT_AVAILABLE.into(),
            agent: self.name.to_string(),
            run: None,
            task: None,
            payload: Payload::of(json!({ "node": self.hub.name, "capabilities": capabilities })),
        }
    }

    /// How full its queues are together.
    pub(crate) fn fill(&self) -> Fill {
        let all = self.inboxes.iter().chain([&self.by_name]).map(|inbox| inbox.fill());
        all.reduce(|a, b| Fill {
            waiting: a.waiting + b.waiting,
            held: a.held + b.held,
            limit: a.limit.max(b.limit),
            refused: a.refused + b.refused,
        })
        .unwrap_or_default()
    }

    /// Its figures, for people and for `agent ls`.
    pub(crate) fn figures(&self) -> Value {
        let (read, fill) = (self.stats.read(), self.fill());
        let workers = self.workers();
        json!({
            "capabilities": self.doors.iter().map(|door| door.capability.as_str()).collect::<Vec<_>>(),
            "team": &*self.team, "workers": workers, "concurrency": self.options.concurrency,
            "slots": workers * self.options.concurrency,
            "running": read.running, "done": read.done, "failed": read.failed, "panicked": read.panicked,
            "retried": read.retried, "p50_ms": read.p50_ms, "p95_ms": read.p95_ms,
            "version": self.options.version, "migrates": self.options.migrates, "waiting": fill.waiting, "queue": fill.limit, "busy": fill.refused,
        })
    }
}

/// A cell that runs. The last one that goes from a node that stops closes the queues.
pub(crate) struct Open(Arc<Pool>, usize);

impl Open {
    pub(crate) fn new(pool: &Arc<Pool>, n: usize) -> Self {
        *pool.running().entry(n).or_default() += 1;
        pool.room.notify_waiters();
        Self(pool.clone(), n)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let last = {
            let mut open = self.0.running();
            if let Entry::Occupied(mut cells) = open.entry(self.1) {
                *cells.get_mut() -= 1;
                if *cells.get() == 0 {
                    cells.remove();
                }
            }
            open.is_empty()
        };
        self.0.room.notify_waiters();
        if last && self.0.hub.quit.told().so_far() != Quit::No {
            self.0.close();
        }
    }
}

/// A pool's supervisor shows the figures of the pool.
pub(crate) struct Figures(pub(crate) Arc<Pool>);

impl ChildStats for Figures {
    fn stats(&self) -> Value {
        self.0.figures()
    }
}
