//! What a node is made of, and its start.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::llm::Models;
use callboard_agents::tool::{self, Toolbox};
use callboard_agents::{Capability, Payload};
use callboard_broker::blobs::Blobs;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::subject::CapabilityName;
use callboard_broker::{Broker, sqlite};
use serde_json::Value;
use tokio::sync::watch;

use super::child::{Child, Pools};
use super::control::Verbs;
use super::{Inner, Node, Supervisor, catalogue, outside};
use crate::cell::heart::beat;
use crate::cell::homes;
use crate::cell::hub::Hub;
use crate::models::Guards;
use crate::period::Period;
use crate::resilience::bulkhead::Bulkhead;
use crate::settings::budget::BudgetDoc;
use crate::settings::node::Config;
use crate::telemetry::{self, Program};
use crate::tree::{ChildSpec, ExitReason, Intensity, Strategy, SupervisorSpec, Tree, TreeError};

/// A node before its start.
#[must_use = "a node runs once it is started"]
pub struct NodeBuilder {
    config: Config,
    given: Option<Broker>,
    children: Vec<Child>,
    intensity: Option<(u32, Duration)>,
    verbs: Verbs,
    models: Option<Models>,
    blobs: Option<Arc<dyn Blobs>>,
    toolbox: Toolbox,
    /// Whether this is the node of a program that leaves its telemetry to us.
    is_program: bool,
}

/// Restarts within this time are counted together, unless the code says otherwise.
const WITHIN: Duration = Duration::from_secs(60);

impl NodeBuilder {
    pub(super) fn configured(config: Config) -> Self {
        let (children, verbs, toolbox) = (Vec::new(), Verbs::default(), Toolbox::new());
        let (given, models, blobs) = (None, None, None);
        Self { config, given, children, intensity: None, verbs, models, toolbox, blobs, is_program: false }
    }

    pub(super) fn over(broker: Broker) -> Self {
        Self { given: Some(broker), ..Self::configured(Config::default()) }
    }

    pub(super) fn of_program(self) -> Self {
        Self { is_program: true, ..self }
    }

    /// Its name: 1 to 80 letters, digits, `_` and `-`. Default: the host's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Joins the broker at this address, `nats://host:port`, or at one of several with commas between; the same agents
    /// then run as one of many nodes. Needs the feature `nats`.
    pub fn broker(mut self, address: impl AsRef<str>) -> Self {
        self.config.broker.servers = address.as_ref().split(',').map(|one| one.trim().to_owned()).collect();
        self.given = None;
        self
    }

    /// Keeps tasks, state and events in this SQLite file, made when missing, instead of in memory. One process owns a store
    /// at a time; what its predecessor had at work goes on here.
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.config.store = Some(path.as_ref().to_owned());
        self.config.broker.servers.clear();
        self.given = None;
        self
    }

    /// Adds a service or a supervisor. They start in the order in which they were added, and stop in reverse.
    pub fn serve(mut self, child: impl Into<Child>) -> Self {
        self.children.push(child.into());
        self
    }

    /// The models of its agents, instead of those that are configured. Default: none.
    pub fn models(mut self, models: Models) -> Self {
        self.models = Some(models);
        self
    }

    /// Where an embedded node keeps the files that others hand in. From then on its agents open no path that a request
    /// names, and fetch only public addresses, as on a broker. Default: it keeps none.
    pub fn blobs(mut self, blobs: Arc<dyn Blobs>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    /// The tools of its agents, beside those that are configured. Default: none. An agent calls those that it was granted,
    /// with [`Service::tools`](callboard_agents::Service::tools).
    pub fn tools(mut self, tools: Toolbox) -> Self {
        self.toolbox = tools;
        self
    }

    /// After more than so many restarts of its parts within this time the node gives up: [`Node::until_stopped`] returns
    /// an error, for which a process should exit with 70. Default 3 in 60 s.
    pub fn intensity(mut self, restarts: u32, within: Duration) -> Self {
        self.intensity = Some((restarts, within));
        self
    }

    /// What a run that is submitted through this node may use, unless it says so itself. Default: that of [`Budget`].
    ///
    /// [`Budget`]: callboard_broker::budget::Budget
    pub fn budget(mut self, budget: BudgetDoc) -> Self {
        self.config.budget = budget;
        self
    }

    /// How many asks for this capability the agents of this node have under way at a time, at least one. Default 10, or
    /// `limits.bulkhead` of the configuration. More wait in order; asks that hang on another ask are not counted.
    pub fn bulkhead<Req: Payload, Res: Payload>(mut self, of: Capability<Req, Res>, at_once: usize) -> Self {
        self.config.bulkhead.insert(of.id(), at_once);
        self
    }

    /// Answers one more verb of [`control`](Node::control), for what only the program around the node can do.
    pub fn verb(mut self, verb: &'static str, answer: impl Fn(Value) -> Result<Value> + Send + Sync + 'static) -> Self {
        self.verbs.insert(verb, Arc::new(answer));
        self
    }

    /// Starts everything; done when every agent has started.
    ///
    /// # Errors
    /// `Decode` for a name that is none; `Config` for a store that cannot be used or a capability that nothing here
    /// serves; `Unavailable` when an agent does not start, or the broker is not there (told within 2 s); `Denied` when it
    /// does not accept the credentials. Then nothing of the node is left running.
    ///
    /// # Cancellation
    /// Dropping the future stops what had been started.
    pub async fn start(self) -> Result<Node> {
        let name = self.config.name.clone().unwrap_or_else(host_name);
        let name = NodeName::parse(&name)?;
        let telemetry = if self.is_program { Program::begin() } else { Program::default() };
        let children = catalogue::configured(self.children, &self.config)?;
        children.iter().try_for_each(Child::check)?;
        let intensity = self.intensity.unwrap_or((self.config.limits.restarts.unwrap_or(3), WITHIN));
        let door = sqlite::Verbs::default();
        let served: Vec<_> = children.iter().flat_map(Child::capabilities).collect();
        outside::check_public(&self.config, &served)?;
        let models = models(self.models, &self.config)?;
        let toolbox = toolbox(self.toolbox, &self.config, &children)?;
        let mcp = crate::mcp_servers::supervisor(&self.config.mcp, &toolbox)
            .map_err(|wrong| Error::Config(Box::new(wrong)))?;
        let joined = outside::join(&name, &self.config, self.given, &door).await?;
        let mut broker = joined.broker();
        broker.blobs = broker.blobs.or(self.blobs);
        let guards = Guards::new(&self.config.models.limits, &name, &broker);
        let models = guards.over(models, &self.config.models.cache, &name, &broker);
        let bulkhead = Bulkhead { at_once: self.config.limits.bulkhead, of: self.config.bulkhead.clone() };
        let aids = (models, guards, toolbox);
        let hub = Hub::new(name, broker, aids, self.config.budget.budget(), bulkhead);
        hub.breakers.follow();
        hub.guards.follow();
        let mut pools = Pools::default();
        let agents = children.into_iter().fold(Supervisor::new("agents"), Supervisor::child);
        let agents = agents.child(crate::workflow::service()).open(&hub, hub.name.as_str(), &mut pools.0);
        let spec =
            agents.and_then(|agents| root(&hub, (mcp, agents), intensity)).map_err(|e| Error::decode(e.to_string()))?;
        let tree = Tree::builder(spec).seed(seed(&hub.name)).start().await.map_err(not_started)?;
        let drain = self.config.limits.drain.map(Period::length);
        let inner = Inner {
            hub,
            tree,
            pools,
            scaling: Default::default(),
            verbs: self.verbs,
            drain,
            asked: watch::channel(None).0,
            joined,
            telemetry,
        };
        let node = Node { inner: Arc::new(inner) };
        node.answer(&door);
        outside::show(&node, &self.config).await?;
        telemetry::watch(&node.inner);
        Ok(node)
    }
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder").field("config", &self.config).field("children", &self.children).finish()
    }
}

/// The models that were given, or those that are configured.
pub(crate) fn models(given: Option<Models>, config: &Config) -> Result<Models> {
    let opened = given.map_or_else(|| Models::open(&config.models, |name| std::env::var(name).ok()), Ok);
    opened.map_err(|wrong| Error::Config(Box::new(wrong)))
}

/// The tools that were given, and those that are configured.
pub(crate) fn toolbox(given: Toolbox, config: &Config, children: &[Child]) -> Result<Toolbox> {
    let mut services = Vec::new();
    children.iter().for_each(|child| child.services("agents", &mut services));
    let door = |name: &CapabilityName| {
        services.iter().flat_map(|(service, _)| service.doors()).find(|door| door.capability == *name).cloned()
    };
    let configured = tool::open(&config.tools, door).map_err(|wrong| Error::Config(Box::new(wrong)))?;
    given.take_from(&configured)?;
    Ok(given)
}

/// Later children depend on earlier ones: agents cannot go on when nobody keeps their claims.
fn root(
    hub: &Arc<Hub>,
    (mcp, agents): (Option<ChildSpec>, ChildSpec),
    (restarts, within): (u32, Duration),
) -> Result<SupervisorSpec, crate::tree::SpecError> {
    let beating = hub.clone();
    let heart = ChildSpec::task("heart", move |mut ctx| {
        let hub = beating.clone();
        async move {
            Ok(async move {
                tokio::select! {
                    biased;
                    () = beat(hub) => {}
                    () = ctx.stopping() => {}
                }
                Ok(())
            })
        }
    });
    let (broker, name, budget) = (hub.broker.clone(), hub.name.to_string(), hub.budget);
    let schedules = ChildSpec::task("schedules", move |mut ctx| {
        let (broker, name) = (broker.clone(), name.clone());
        async move {
            Ok(async move {
                tokio::select! {
                    biased;
                    () = crate::schedule::keep(broker, name, budget) => {}
                    () = ctx.stopping() => {}
                }
                Ok(())
            })
        }
    });
    let spec = SupervisorSpec::new(
        hub.name.as_str(),
        [heart, homes::child(hub)].into_iter().chain(mcp).chain([agents, schedules]),
    )?;
    Ok(spec.strategy(Strategy::RestForOne).intensity(Intensity::new(restarts, within)?).backoff(None))
}

/// Where the tree has its jitter from: nodes differ by their names, and a simulation comes again.
fn seed(name: &NodeName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    hasher.finish()
}

fn not_started(error: TreeError) -> Error {
    match error {
        TreeError::Start { path, reason } => Error::unavailable(format!("{path} was not started: {}", cause(&reason))),
        other => Error::decode(other.to_string()),
    }
}

/// The first cause, in its own words: supervisors in between add nothing that a person needs at a start.
fn cause(reason: &ExitReason) -> String {
    reason.root_cause().to_string()
}

/// The host's name as a node's name, or `node`.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    let name: String =
        name.unwrap_or_default().trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "node".into() } else { name.chars().take(40).collect() }
}
