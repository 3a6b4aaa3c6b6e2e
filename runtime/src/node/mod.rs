//! A running node: a process, or one of several in it.
//!
//! | file | holds |
//! |---|---|
//! | `builder` | what a node is made of, and its start |
//! | `child` | services and supervisors, as users write them |
//! | `client`, `submit` | what a program outside any agent may do through a node |
//! | `catalogue` | what a node can be told to run by name |
//! | `control` | what other processes may ask a node |
//! | `figures` | what telemetry reads off a node |
//! | `outside` | joining a broker, being seen, steered and prompted there, leaving it |
//! | `streams` | facts and broadcasts to watch |
//! | `stop` | draining, signals, the end |

mod builder;
mod catalogue;
mod child;
mod client;
mod control;
#[cfg(feature = "otel")]
mod figures;
mod outside;
mod stop;
mod streams;
mod submit;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::state::{Party, State};
use callboard_agents::{Ask, Capability, Payload, Run, StateKey, Tell};
use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use serde_json::Value;
use tokio::sync::watch;

use crate::cell::hub::Hub;
use crate::cell::quit::Quit;
use crate::cell::stats::Reading;
use crate::settings::args;
use crate::settings::node::Config;
use crate::telemetry::Program;
use crate::tree::{ChildInfo, Tree, TreeEvents, TreeInfo};
use crate::workflow::{WORKFLOW, Workflow};

pub use builder::NodeBuilder;
pub(crate) use builder::{models, toolbox};
pub use catalogue::built_in;
pub(crate) use catalogue::configured;
pub use child::{Child, Supervisor};
#[cfg(feature = "nats")]
pub use outside::broker_options;
pub use streams::Event;
pub use submit::Submit;

#[cfg(feature = "otel")]
pub(crate) use figures::Figures;

use crate::schedule::Schedules;
use child::{Opened, Pools};
use client::Client;

/// A running node. Cheap to clone. The last clone that goes away stops it at once; [`shutdown`](Node::shutdown) drains.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    hub: Arc<Hub>,
    tree: Tree,
    pools: Pools,
    /// Held while a pool is resized: a person and a setting that changed may ask for it at once.
    scaling: tokio::sync::Mutex<()>,
    /// Verbs of the program around the node.
    verbs: control::Verbs,
    /// How long a drain may take.
    drain: Option<Duration>,
    /// How somebody has asked for its end.
    asked: watch::Sender<Option<Quit>>,
    joined: outside::Joined,
    /// Of this program, if this is its node.
    telemetry: Program,
}

impl Node {
    /// One process, no server. Everything is in memory unless the builder is given a [`store`](NodeBuilder::store).
    pub fn embedded() -> NodeBuilder {
        NodeBuilder::configured(Config::default())
    }

    /// One of many nodes, over the broker at this address: `nats://host:port`. The one line that changes.
    pub fn on(address: impl AsRef<str>) -> NodeBuilder {
        Self::embedded().broker(address)
    }

    /// A node as a file configures it, under what the environment says; its own agents come from code.
    ///
    /// # Errors
    /// `Config` with everything that is wrong with either.
    pub fn config(path: impl AsRef<Path>) -> Result<NodeBuilder> {
        let config = Config::read(path.as_ref()).and_then(Config::over_environment);
        config.map(Self::configured).map_err(|wrong| Error::Config(Box::new(wrong)))
    }

    /// A node as the command line of this process configures it: the flags of `callboard node start`, over `CALLBOARD_`
    /// variables, over the file that `--config` names. With the feature `otel` the program's traces and metrics go where
    /// the `OTEL_` variables say: see [`telemetry`](crate::telemetry).
    ///
    /// # Errors
    /// `Config` with everything that is wrong with any of them; for `--help`, with the flags.
    pub fn from_args() -> Result<NodeBuilder> {
        let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
        args::read(args, |name| std::env::var(name).ok()).map(|config| Self::configured(config).of_program())
    }

    /// A node with this configuration.
    pub fn configured(config: Config) -> NodeBuilder {
        NodeBuilder::configured(config)
    }

    /// A node over a broker that is open already; several nodes of one process may share it.
    pub fn over(broker: Broker) -> NodeBuilder {
        NodeBuilder::over(broker)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.inner.hub.name.as_str()
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// The broker under it, for what this handle does not offer.
    pub fn broker(&self) -> &Broker {
        &self.inner.hub.broker
    }

    /// Asks whoever serves the capability.
    pub fn ask<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, request: Req) -> Ask<Res> {
        Ask::over(Client::new(&self.inner.hub, to.id()), to, request)
    }

    /// Notifies whoever serves the capability.
    pub fn tell<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, request: Req) -> Tell {
        Tell::over(Client::new(&self.inner.hub, to.id()), to, request)
    }

    /// Submits a task, the root of a run. `.await?` gives a [`Run`] once it is stored.
    pub fn submit<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, input: Req) -> Submit<Res> {
        Submit::new(&self.inner.hub, to, input)
    }

    /// The schedules of its broker, to add to, list, pause and remove in the name of this node.
    pub fn schedules(&self) -> Schedules {
        Schedules::of(self.broker(), self.name())
    }

    /// The run of that id, whoever submitted it. Its capability is not checked; a response of another type is `Decode`.
    ///
    /// # Errors
    /// `Decode` for an id that is none.
    pub fn attach<Req: Payload, Res: Payload>(&self, _to: Capability<Req, Res>, run: &str) -> Result<Run<Res>> {
        let root = TaskId::root(&RunId::parse(run)?);
        Ok(Run::of_tasks(self.inner.hub.broker.tasks.clone(), root))
    }

    /// Runs a workflow as a task of the capability `workflow`, which every node serves. Done when it is stored; the
    /// workflow goes on whatever becomes of this node.
    ///
    /// # Errors
    /// `Config` with all that is wrong with the graph; otherwise as for [`submit`](Node::submit).
    pub async fn run<Out: Payload>(&self, flow: Workflow<Out>) -> Result<Run<Out>> {
        flow.check()?;
        let doc = flow.document().clone();
        let (name, budget) = (doc.name.clone(), doc.budget.budget());
        let run = self.submit(WORKFLOW, doc).describe(name).budget(budget).await?;
        Ok(Run::of_tasks(self.inner.hub.broker.tasks.clone(), TaskId::parse(run.id())?))
    }

    /// Shared state at a key, in the node's own name. A key of a run is reached from the agents of that run.
    pub fn state<T: Payload>(&self, key: StateKey<T>) -> State<T> {
        State::over(self.inner.hub.broker.states.clone(), &key, Party::client(self.name()))
    }

    /// How many cells the pool of a capability has on this node from now on. Cells that go finish what they have.
    ///
    /// # Errors
    /// `NoRecipient` when no pool here serves it; `Unavailable` when the node is stopping.
    pub async fn scale<Req: Payload, Res: Payload>(&self, pool: Capability<Req, Res>, workers: usize) -> Result<()> {
        self.scale_named(pool.name(), workers).await
    }

    pub(crate) async fn scale_named(&self, capability: &str, workers: usize) -> Result<()> {
        let _scaling = self.inner.scaling.lock().await;
        let serves = |o: &&Opened| o.pool.doors.iter().any(|door| door.capability.as_str() == capability);
        let opened = self.inner.pools.0.iter().find(serves);
        let opened = opened.ok_or_else(|| Error::NoRecipient { to: capability.into() })?;
        let stopping = |e: crate::tree::TreeError| Error::unavailable(e.to_string());
        let info = self.tree();
        let cells = info.root.find(&opened.path).map_or(&[][..], |pool| pool.children());
        let number = |cell: &ChildInfo| cell.id().trim_start_matches('#').parse().unwrap_or(0);
        let here: BTreeSet<usize> = cells.iter().map(number).collect();
        for n in (1..=workers.max(1)).filter(|n| !here.contains(n)) {
            self.inner.tree.start_child(&opened.path, opened.pool.cell(n)).await.map_err(stopping)?;
        }
        for n in here.into_iter().rev().take_while(|n| *n > workers.max(1)) {
            self.inner.tree.terminate_child(&format!("{}/#{n}", opened.path)).await.map_err(stopping)?;
        }
        opened.pool.set_workers(workers.max(1));
        Ok(())
    }

    /// The supervision tree with the figures of its pools. Waits for nobody.
    pub fn tree(&self) -> TreeInfo {
        self.inner.tree.info()
    }

    /// What happens in the tree from now on.
    pub fn tree_events(&self) -> TreeEvents {
        self.inner.tree.events()
    }

    /// Ends one child of the tree as if it had crashed, by its path in [`tree`](Node::tree): to see it heal.
    ///
    /// # Errors
    /// `NotFound` when no child of that path is running.
    pub fn kill(&self, path: &str) -> Result<()> {
        self.inner.tree.kill(path).map_err(|e| Error::not_found(e.to_string()))
    }

    /// Counters and latencies of all pools of this node together.
    pub fn metrics(&self) -> Reading {
        self.inner.hub.stats.read()
    }

    /// The pools of this node with their figures, in start order.
    pub fn agents(&self) -> Vec<(String, Value)> {
        self.inner.pools.0.iter().map(|opened| (opened.pool.name.to_string(), opened.pool.figures())).collect()
    }

    /// The capabilities that this node serves, by name.
    pub fn served(&self) -> Vec<callboard_agents::host::Served> {
        self.inner.hub.registry.served()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.name())
    }
}
