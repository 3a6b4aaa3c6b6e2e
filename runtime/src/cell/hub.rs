//! What all cells of a node share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use callboard_agents::TaskInfo;
use callboard_agents::host::Served;
use callboard_agents::llm::Models;
use callboard_agents::service::{Door, Handler};
use callboard_agents::tool::Toolbox;
use callboard_broker::Broker;
use callboard_broker::budget::Budget;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{NodeName, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use tokio::sync::broadcast;

use super::heart::Heart;
use super::homes::Rooms;
use super::quarantine::Quarantine;
use super::quit::Teller;
use super::stats::Stats;
use crate::models::Guards;
use crate::resilience::breakers::{Breakers, OF_CAPABILITIES};
use crate::resilience::budget::Budgets;
use crate::resilience::bulkhead::{Bulkhead, Bulkheads};

/// How many progress notes a listener may fall behind before the oldest are dropped for it.
const NOTES: usize = 1_024;

/// What a node's cells share.
pub(crate) struct Hub {
    pub(crate) name: NodeName,
    pub(crate) broker: Broker,
    pub(crate) stats: Arc<Stats>,
    pub(crate) registry: Registry,
    pub(crate) heart: Heart,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) homes: Arc<Rooms>,
    pub(crate) breakers: Arc<Breakers>,
    pub(crate) models: Arc<Models>,
    pub(crate) guards: Guards,
    pub(crate) toolbox: Toolbox,
    pub(crate) bulkheads: Bulkheads,
    budgets: Mutex<Budgets>,
    /// What is submitted here may use unless it says so.
    pub(crate) budget: Budget,
    pub(crate) notes: broadcast::Sender<Note>,
    /// What the whole node does with the work it has.
    pub(crate) quit: Teller,
}

/// What an agent says while it works. Only for who listens now; never stored.
#[derive(Clone, Debug)]
pub struct Note {
    /// The task it works on; none for an ask.
    pub task: Option<TaskId>,
    /// Who says it.
    pub agent: Arc<str>,
    /// What.
    pub what: Said,
}

/// The kinds of things that an agent says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Said {
    /// How far it is, from 0 to 1, and what it is at.
    Progress {
        /// From 0 to 1.
        done: f32,
        /// What it is at.
        note: String,
    },
    /// A piece of its answer.
    Text(String),
}

impl Hub {
    pub(crate) fn new(
        name: NodeName,
        broker: Broker,
        (models, guards, toolbox): (Models, Guards, Toolbox),
        budget: Budget,
        bulkhead: Bulkhead,
    ) -> Arc<Self> {
        Arc::new(Self {
            breakers: Arc::new(Breakers::new(OF_CAPABILITIES, name.clone(), broker.clone())),
            homes: Rooms::new(name.clone(), broker.messages.clone()),
            name,
            broker,
            models: Arc::new(models),
            guards,
            toolbox,
            stats: Arc::default(),
            bulkheads: Bulkheads::new(bulkhead),
            budgets: Mutex::default(),
            budget,
            registry: Registry::default(),
            heart: Heart::default(),
            quarantine: Quarantine::new(),
            notes: broadcast::channel(NOTES).0,
            quit: Teller::default(),
        })
    }
}

impl Hub {
    /// The retries that runs have left on this node.
    pub(crate) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service's handler of one capability, as long as its cell lives.
#[derive(Clone)]
struct Entry {
    agent: Arc<str>,
    door: Door,
    handler: Arc<dyn Handler>,
}

/// The capabilities that are served on this node.
#[derive(Default)]
pub(crate) struct Registry(RwLock<HashMap<CapabilityName, Vec<Entry>>>);

impl Registry {
    /// Announces what a started cell serves; a restarted cell replaces what it announced before.
    pub(crate) fn announce(&self, agent: &Arc<str>, doors: &[Door], handlers: &[Arc<dyn Handler>]) {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (door, handler) in doors.iter().zip(handlers) {
            let entries = served.entry(door.capability.clone()).or_default();
            entries.retain(|entry| entry.agent != *agent);
            entries.push(Entry { agent: agent.clone(), door: door.clone(), handler: handler.clone() });
        }
    }

    /// All of them, by name.
    pub(crate) fn served(&self) -> Vec<Served> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let first = |(name, entries): (&CapabilityName, &Vec<Entry>)| {
            let door = &entries.first()?.door;
            Some(Served { capability: name.clone(), about: door.about.clone(), request: door.request.clone() })
        };
        let mut list: Vec<_> = served.iter().filter_map(first).collect();
        list.sort_by(|a, b| a.capability.cmp(&b.capability));
        list
    }

    /// What a caller may know of each of them, by name.
    pub(crate) fn doors(&self) -> Vec<Door> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut doors: Vec<Door> = served.values().filter_map(|entries| Some(entries.first()?.door.clone())).collect();
        doors.sort_by(|a, b| a.capability.cmp(&b.capability));
        doors
    }

    /// What a caller may know of one of them.
    pub(crate) fn door(&self, capability: &CapabilityName) -> Option<Door> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        served.get(capability).and_then(|entries| entries.first()).map(|entry| entry.door.clone())
    }

    /// Whether an agent here can read a request for it.
    ///
    /// # Errors
    /// `NoRecipient` when none serves it; what that agent has to say against the request.
    pub(crate) fn fits(&self, capability: &CapabilityName, request: &Payload) -> Result<()> {
        let handler = {
            let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
            served.get(capability).and_then(|entries| entries.first()).map(|entry| entry.handler.clone())
        };
        handler.ok_or_else(|| Error::NoRecipient { to: capability.as_str().into() })?.fits(request)
    }

    /// Whether every agent here that serves the task's capability declines it; false when none serves it. A
    /// `can_handle` that panics is a refusal.
    pub(crate) fn is_declined(&self, task: &TaskInfo) -> bool {
        let entries = {
            let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
            served.get(&task.capability).cloned().unwrap_or_default()
        };
        !entries.is_empty() && !entries.iter().any(|entry| takes(&entry.handler, task))
    }
}

/// Asks a handler whether it takes a task; a panic is a no.
pub(crate) fn takes(handler: &Arc<dyn Handler>, task: &TaskInfo) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler.can_handle(task))).unwrap_or(false)
}

/// The best answer so far of one request.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<Payload>>);

impl Kept {
    pub(crate) fn set(&self, partial: Payload) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(partial);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn take(&self) -> Option<Payload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
