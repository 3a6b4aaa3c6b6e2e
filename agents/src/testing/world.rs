use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use callboard_broker::Broker;
use callboard_broker::error::Error;
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::memory;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::DEFAULT_ATTEMPTS;
use tokio::sync::watch;

use super::host::{Attempt, TestHost};
use super::journal::Journal;
use super::script::Scripts;
use crate::host::Spend;
use crate::llm::{Model, Models, Prices};
use crate::state::Party;
use crate::tool::{Rules, Tool, Toolbox};
use crate::{Capability, Context, EventKind, Payload, Service, State, StateKey, Topic};

/// Everything around an agent under test. Cheap to clone; clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Inner>);

/// What the contexts of a world share.
pub(super) struct Inner {
    pub(super) run: RunId,
    pub(super) agent: Mutex<Arc<str>>,
    pub(super) is_task: std::sync::atomic::AtomicBool,
    pub(super) attempts: AtomicU32,
    pub(super) scripts: Mutex<Scripts>,
    pub(super) journal: Mutex<Journal>,
    pub(super) seen: Mutex<Seen>,
    said: Arc<Mutex<Said>>,
    broker: OnceLock<Broker>,
    pub(super) models: Mutex<Models>,
    pub(super) toolbox: Toolbox,
    pub(super) may_use: Mutex<Vec<String>>,
    pub(super) spent: Mutex<Spend>,
    pub(super) cancelled: watch::Sender<Option<Error>>,
}

/// What the agents of a world did.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) asked: Vec<(CapabilityName, Body)>,
    pub(super) abandoned: Vec<(CapabilityName, Body)>,
    pub(super) emitted: Vec<(String, Body)>,
    pub(super) broadcast: Vec<(String, Body)>,
}

/// What an agent said to whoever waits for it.
#[derive(Default)]
pub(super) struct Said {
    pub(super) progress: Vec<(f32, String)>,
    pub(super) text: String,
    pub(super) kept: Option<Body>,
    pub(super) degraded: Vec<String>,
}

/// A panic of one test must not hide another's message behind a poisoned lock.
pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// An empty world: the agent works on a task of the run `test`, and nobody answers.
    pub fn new() -> Self {
        let run = RunId::parse("test").expect("four letters are a run id");
        Self(Arc::new(Inner {
            run,
            agent: Mutex::new("agent.under.test".into()),
            is_task: true.into(),
            attempts: AtomicU32::new(0),
            scripts: Mutex::default(),
            journal: Mutex::default(),
            seen: Mutex::default(),
            said: Arc::default(),
            broker: OnceLock::new(),
            models: Mutex::default(),
            toolbox: Toolbox::new(),
            may_use: Mutex::new(vec!["*".into()]),
            spent: Mutex::default(),
            cancelled: watch::Sender::new(None),
        }))
    }

    /// Asks, notifications and delegations of a capability are answered by `f`. The last one given for it counts.
    pub fn answers<Req, Res, F>(self, to: Capability<Req, Res>, f: F) -> Self
    where
        Req: Payload,
        Res: Payload,
        F: Fn(Req) -> Result<Res, Error> + Send + Sync + 'static,
    {
        self.answers_async(to, move |request| std::future::ready(f(request)))
    }

    /// As [`World::answers`], for answers that take their time: `|_| std::future::pending()` never comes.
    pub fn answers_async<Req, Res, F, Fut>(self, to: Capability<Req, Res>, f: F) -> Self
    where
        Req: Payload,
        Res: Payload,
        F: Fn(Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Res, Error>> + Send + 'static,
    {
        lock(&self.0.scripts).function(to, f);
        self
    }

    /// What the service serves is answered by its own agents, over this world like the agent under test.
    pub fn serves(self, service: impl Into<Service>) -> Self {
        lock(&self.0.scripts).service(&service.into());
        self
    }

    /// This model has the role: `world.model("content.writer", Script::new().reply(".."))`.
    pub fn model(self, role: &str, model: impl Model) -> Self {
        let mut models = lock(&self.0.models);
        *models = std::mem::take(&mut *models).role(role, Arc::new(model));
        drop(models);
        self
    }

    /// What tokens of models cost.
    pub fn prices(self, prices: Prices) -> Self {
        let mut models = lock(&self.0.models);
        *models = std::mem::take(&mut *models).prices(prices);
        drop(models);
        self
    }

    /// This tool is there, under these rules; agents of this world may call it unless [`may_use`](Self::may_use) says less.
    ///
    /// # Panics
    /// When its name is none, or is taken.
    pub fn tool(self, tool: impl Tool, rules: Rules) -> Self {
        self.0.toolbox.clone().with_rules(tool, rules).expect("a tool has a name of its own");
        self
    }

    /// The tools of this box are there, with the rules that they have in it.
    ///
    /// # Panics
    /// When one of their names is taken.
    pub fn toolbox(self, tools: &Toolbox) -> Self {
        self.0.toolbox.take_from(tools).expect("a tool has a name of its own");
        self
    }

    /// Agents of this world may call these tools only, by name or by family (`docs.*`).
    pub fn may_use<S: Into<String>>(self, patterns: impl IntoIterator<Item = S>) -> Self {
        *lock(&self.0.may_use) = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// All facts that were published, in order, by type.
    pub fn facts(&self) -> Vec<(String, serde_json::Value)> {
        let seen = lock(&self.0.seen);
        seen.emitted.iter().map(|(kind, fact)| (kind.clone(), fact.value().unwrap_or_default())).collect()
    }

    /// What was spent of tokens and cost until now, and not given back.
    pub fn spent(&self) -> Spend {
        *lock(&self.0.spent)
    }

    /// The agent works on an ask and not on a task: there is no log, and it cannot delegate.
    pub fn asking(self) -> Self {
        self.0.is_task.store(false, Ordering::Relaxed);
        self
    }

    /// The name of the agent. Default `agent.under.test`.
    pub fn named(self, agent: &str) -> Self {
        *lock(&self.0.agent) = agent.into();
        self
    }

    /// What the agent gets: each context is the next attempt at the same task.
    pub fn context(&self) -> Context {
        let attempt = self.0.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let capability = CapabilityName::parse("agent.under.test").expect("three words are a name");
        let (agent, said) = (lock(&self.0.agent).clone(), self.0.said.clone());
        let task = self.0.task();
        let attempts = task.as_ref().map_or(1, |_| DEFAULT_ATTEMPTS);
        TestHost::context(self.0.clone(), Attempt { agent, capability, task, attempt, attempts, said })
    }

    /// The request is no longer wanted: every call of every context is `Cancelled` from now on.
    pub fn cancel(&self, by: &str) {
        self.0.cancelled.send_replace(Some(Error::Cancelled { by: by.into() }));
    }

    /// What was asked, told or delegated to a capability, in order.
    pub fn asked<Req: Payload, Res: Payload>(&self, of: Capability<Req, Res>) -> Vec<Req> {
        read(&lock(&self.0.seen).asked, |name| name.as_str() == of.name())
    }

    /// Inputs of children that nobody waited for any more, in order.
    pub fn abandoned<Req: Payload, Res: Payload>(&self, of: Capability<Req, Res>) -> Vec<Req> {
        read(&lock(&self.0.seen).abandoned, |name| name.as_str() == of.name())
    }

    /// Facts of a kind that were published, in order.
    pub fn emitted<T: Payload>(&self, kind: EventKind<T>) -> Vec<T> {
        read(&lock(&self.0.seen).emitted, |name| name == kind.name())
    }

    /// What was sent to all who listen to a topic, in order.
    pub fn broadcast<T: Payload>(&self, topic: Topic<T>) -> Vec<T> {
        read(&lock(&self.0.seen).broadcast, |name| name == topic.name())
    }

    /// All text that the agent under test said, joined.
    pub fn said(&self) -> String {
        lock(&self.0.said).text.clone()
    }

    /// How far the agent under test said it was, in order.
    pub fn progress(&self) -> Vec<(f32, String)> {
        lock(&self.0.said).progress.clone()
    }

    /// The best answer that the agent under test kept; none also when it is no `T`.
    pub fn kept<T: Payload>(&self) -> Option<T> {
        lock(&self.0.said).kept.as_ref()?.read().ok()
    }

    /// Why the result of the agent under test is not what was asked for, in order.
    pub fn degraded(&self) -> Vec<String> {
        lock(&self.0.said).degraded.clone()
    }

    /// Shared state, to prepare and to look at. It belongs to the run `test` and the team `test`.
    pub fn state<T: Payload>(&self, key: StateKey<T>) -> State<T> {
        let (run, team) = (Some(self.0.run.clone()), Some("test".into()));
        let party = Party { run, team, ..Party::client("test") };
        State::over(self.0.states(), &key, party)
    }
}

impl Inner {
    /// The shared state of the world. Made when it is first used, because it needs tokio's timer and a world does not.
    pub(super) fn states(&self) -> Arc<dyn States> {
        self.broker.get_or_init(|| memory::open(memory::Options::default())).states.clone()
    }

    pub(super) fn task(&self) -> Option<TaskId> {
        self.is_task.load(Ordering::Relaxed).then(|| TaskId::root(&self.run))
    }
}

fn read<N, T: Payload>(all: &[(N, Body)], wanted: impl Fn(&N) -> bool) -> Vec<T> {
    let of_kind = all.iter().filter(|(name, _)| wanted(name));
    of_kind.map(|(_, body)| body.read().expect("a name is used with the types of its constant")).collect()
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(attempts: {})", self.0.attempts.load(Ordering::Relaxed))
    }
}
