//! What a node is made of, and its start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::{Broker, sqlite};
use serde_json::Value;
use tokio::sync::watch;

use super::child::{Child, Pools};
use super::control::Verbs;
use super::{Inner, Node, Supervisor, catalogue, outside};
use crate::cell::heart::beat;
use crate::cell::hub::Hub;
use crate::period::Period;
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
    /// Whether this is the node of a program that leaves its telemetry to us.
    is_program: bool,
}

/// Restarts within this time are counted together, unless the code says otherwise.
const WITHIN: Duration = Duration::from_secs(60);

impl NodeBuilder {
    pub(super) fn configured(config: Config) -> Self {
        Self { config, given: None, children: Vec::new(), intensity: None, verbs: Verbs::default(), is_program: false }
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

    /// After more than so many restarts of its parts within this time the node gives up: [`Node::until_stopped`] returns
    /// an error, for which a process should exit with 70. Default 3 in 60 s.
    pub fn intensity(mut self, restarts: u32, within: Duration) -> Self {
        self.intensity = Some((restarts, within));
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
        let intensity = self.intensity.unwrap_or((self.config.limits.restarts.unwrap_or(3), WITHIN));
        let door = sqlite::Verbs::default();
        let served: Vec<_> = children.iter().flat_map(Child::capabilities).collect();
        outside::check_public(&self.config, &served)?;
        let joined = outside::join(&name, &self.config, self.given, &door).await?;
        let hub = Hub::new(name, joined.broker());
        hub.breakers.follow();
        let mut pools = Pools::default();
        let agents = children.into_iter().fold(Supervisor::new("agents"), Supervisor::child);
        let agents = agents.child(crate::workflow::service()).open(&hub, hub.name.as_str(), &mut pools.0);
        let spec = agents.and_then(|agents| root(&hub, agents, intensity)).map_err(|e| Error::decode(e.to_string()))?;
        let tree = Tree::builder(spec).start().await.map_err(not_started)?;
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

/// Later children depend on earlier ones: agents cannot go on when nobody keeps their claims.
fn root(
    hub: &Arc<Hub>,
    agents: ChildSpec,
    (restarts, within): (u32, Duration),
) -> Result<SupervisorSpec, crate::tree::SpecError> {
    let beating = hub.clone();
    let heart = ChildSpec::task("heart", move |mut ctx| {
        let hub = beating.clone();
        async move {
            Ok(async move {
                tokio::select! {
                    () = beat(hub) => {}
                    () = ctx.stopping() => {}
                }
                Ok(())
            })
        }
    });
    let spec = SupervisorSpec::new(hub.name.as_str(), [heart, agents])?;
    Ok(spec.strategy(Strategy::RestForOne).intensity(Intensity::new(restarts, within)?).backoff(None))
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
