//! What a node is made of, and its start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::{Broker, memory, sqlite};

use super::child::{Child, Pools};
use super::{Inner, Node, Supervisor};
use crate::cell::heart::beat;
use crate::cell::hub::Hub;
use crate::tree::{ChildSpec, ExitReason, Intensity, Strategy, SupervisorSpec, Tree, TreeError};

/// Where a node keeps what must last.
#[derive(Debug)]
enum Store {
    Memory,
    File(PathBuf),
    Given(Broker),
}

/// A node before its start.
#[derive(Debug)]
#[must_use = "a node runs once it is started"]
pub struct NodeBuilder {
    name: Option<String>,
    store: Store,
    children: Vec<Child>,
    intensity: (u32, Duration),
}

impl NodeBuilder {
    pub(super) fn embedded() -> Self {
        Self { name: None, store: Store::Memory, children: Vec::new(), intensity: (3, Duration::from_secs(60)) }
    }

    pub(super) fn over(broker: Broker) -> Self {
        Self { store: Store::Given(broker), ..Self::embedded() }
    }

    /// Its name: 1 to 80 letters, digits, `_` and `-`. Default: the host's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps tasks, state and events in this SQLite file, made when missing, instead of in memory. One process owns a store
    /// at a time; what its predecessor had at work goes on here.
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Store::File(path.as_ref().to_owned());
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
        self.intensity = (restarts, within);
        self
    }

    /// Starts everything; done when every agent has started.
    ///
    /// # Errors
    /// `Decode` for a name that is none, `Config` for a store that cannot be used, `Unavailable` when an agent does not
    /// start; then nothing of it is left running.
    ///
    /// # Cancellation
    /// Dropping the future stops what had been started.
    pub async fn start(self) -> Result<Node> {
        let name = self.name.unwrap_or_else(host_name);
        let name = NodeName::parse(&name)?;
        let verbs = sqlite::Verbs::default();
        let broker = match self.store {
            Store::Memory => memory::open(memory::Options::default()),
            Store::File(path) => sqlite::open(path, sqlite::Options { verbs: verbs.clone(), ..Default::default() })?,
            Store::Given(broker) => broker,
        };
        let hub = Hub::new(name, broker);
        let mut pools = Pools::default();
        let agents = self.children.into_iter().fold(Supervisor::new("agents"), Supervisor::child);
        let agents = agents.child(crate::workflow::service()).open(&hub, hub.name.as_str(), &mut pools.0);
        let spec =
            agents.and_then(|agents| root(&hub, agents, self.intensity)).map_err(|e| Error::decode(e.to_string()))?;
        let tree = Tree::builder(spec).start().await.map_err(not_started)?;
        let node = Node { inner: Arc::new(Inner { hub, tree, pools }) };
        node.answer(&verbs);
        Ok(node)
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
