//! The store as this process uses it: read beside its owner, written for a moment, or owned by a node that works.

use std::time::Duration;

use callboard::broker::clock::Millis;
use callboard::broker::problem::{Problem, Problems};
use callboard::broker::sqlite::{self, Attached};
use callboard::broker::{Broker, code, memory};
use callboard::config::Limits;
use callboard::{Error, Node};
use serde_json::Value;

use crate::console::{Console, Place, Remote};
use crate::failure::Failure;
use crate::nodes::Nodes;
use crate::services;
use crate::signals::Signals;

/// How long a running node may take to answer a verb: it answers from what it knows, so longer means that it is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether the owner of a store is still there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An open store.
pub(crate) struct Store {
    pub(crate) broker: Broker,
    who: Who,
    /// When it was opened, on its own clock.
    pub(crate) opened: Millis,
    /// What may ask this process to end, for a command that has to do something before it does.
    signals: Option<Signals>,
    /// Whether this process is to work on it when nobody else does.
    works: bool,
}

/// Who works on what is in the store.
enum Who {
    /// Nobody at the moment.
    Nobody,
    /// A node in this process.
    Node(Node),
    /// Another process.
    Other(Attached, u32),
    /// Nodes on a broker.
    Nodes(Box<Nodes>),
}

impl Console {
    /// Opens the store to read it. Where there is none yet it is empty.
    pub(crate) async fn look(&self) -> Result<Store, Failure> {
        if let Place::Broker(remote) = &self.place {
            return join(remote).await;
        }
        match self.place.file() {
            Some(path) if path.exists() => self.touch().await,
            _ => Ok(Store::of(memory::open(memory::Options::default()), Who::Nobody)),
        }
    }

    /// Opens the store to read and to write something small, making it when there is none.
    pub(crate) async fn touch(&self) -> Result<Store, Failure> {
        if let Place::Broker(remote) = &self.place {
            return join(remote).await;
        }
        let Some(path) = self.place.file() else {
            return Ok(Store::of(memory::open(memory::Options::default()), Who::Nobody));
        };
        let attached = sqlite::attach(path, sqlite::Options::default())?;
        // An owner without a door does one write of his own and is about to go.
        let owner = attached.owner()?.filter(|owner| owner.socket.is_some());
        let broker = attached.broker();
        Ok(Store::of(broker, owner.map_or(Who::Nobody, |owner| Who::Other(attached, owner.pid))))
    }

    /// Opens the store to work on what is in it: as its owner, or through the process that owns it.
    pub(crate) async fn work(&self) -> Result<Store, Failure> {
        // From before anything is held.
        let signals = Some(Signals::listen());
        if let Place::Broker(remote) = &self.place {
            return Ok(Store { signals, ..join(remote).await? });
        }
        let node = || Node::configured(self.config.clone());
        let start = |node| start(node, &self.config.limits);
        let started = match self.place.file() {
            Some(path) => start(node().store(path)).await,
            None => start(node()).await,
        };
        let store = match started {
            Ok(node) => Store::of(node.broker().clone(), Who::Node(node)),
            Err(error) if error.code() == code::OWNED => self.touch().await?,
            Err(Error::Config(problems)) if self.may_do_without(&problems) => {
                let why = format!("memory, for nothing can be kept: {}", told(&problems));
                self.out.note(&self.out.page.field("store", 7, &why));
                let node = start(node()).await?;
                Store::of(node.broker().clone(), Who::Node(node))
            }
            Err(error) => return Err(error.into()),
        };
        match &store.who {
            // The owner has gone in between.
            Who::Nobody => Box::pin(self.work()).await,
            _ => Ok(Store { works: true, signals, ..store }),
        }
    }

    /// Whether work can be done in memory instead: only when nobody asked for a file.
    fn may_do_without(&self, problems: &Problems) -> bool {
        matches!(self.place, Place::Usual(_)) && problems.iter().all(|problem| problem.code == code::NOT_WRITABLE)
    }
}

/// A broker that nodes work on.
async fn join(remote: &Remote) -> Result<Store, Failure> {
    let nodes = Nodes::join(remote).await?;
    Ok(Store::of(nodes.broker().clone(), Who::Nodes(Box::new(nodes))))
}

async fn start(node: callboard::NodeBuilder, limits: &Limits) -> Result<Node, Error> {
    services::with(limits).into_iter().fold(node, |node, service| node.serve(service)).start().await
}

fn told(problems: &Problems) -> String {
    let all = problems.iter().map(|problem| {
        let note = problem.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{}{note}", problem.what)
    });
    all.collect::<Vec<_>>().join("; ")
}

impl Store {
    fn of(broker: Broker, who: Who) -> Store {
        let opened = broker.clock.now();
        Store { broker, who, opened, signals: None, works: false }
    }

    /// What the node that works on this store answers to a verb; none when nobody works.
    ///
    /// # Errors
    /// CB0004 when it does not answer within 2 s.
    pub(crate) async fn node_says(&self, verb: &str) -> Result<Option<Value>, Failure> {
        self.node_says_about(verb, Value::Null).await
    }

    /// As [`node_says`](Self::node_says), about something.
    pub(crate) async fn node_says_about(&self, verb: &str, body: Value) -> Result<Option<Value>, Failure> {
        let said = match &self.who {
            Who::Nobody => return Ok(None),
            // There are many, and each is asked by name.
            Who::Nodes(_) => return Ok(None),
            Who::Node(node) => node.control(verb, body).await,
            Who::Other(attached, pid) => match tokio::time::timeout(PATIENCE, attached.ask(verb, body)).await {
                Ok(said) => said,
                Err(_) => {
                    let problem =
                        Problem::new(code::UNREACHABLE, format!("process {pid} owns the store and does not answer"));
                    return Err(problem
                        .note("waited 2 s")
                        .fix(format!("see whether it is stopped: ps -p {pid}"))
                        .into());
                }
            },
        };
        match said {
            Ok(value) => Ok(Some(value)),
            // It has gone in between, or it is no node of ours that owns the store.
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether somebody works on what is in it.
    pub(crate) fn is_worked_on(&self) -> bool {
        !matches!(self.who, Who::Nobody)
    }

    /// Whether this process is to work on it when nobody else does.
    pub(crate) fn works(&self) -> bool {
        self.works
    }

    /// The node, when it is in this process.
    pub(crate) fn node(&self) -> Option<&Node> {
        match &self.who {
            Who::Node(node) => Some(node),
            Who::Nobody | Who::Other(..) | Who::Nodes(_) => None,
        }
    }

    /// The other process that works on it.
    pub(crate) fn owner(&self) -> Option<u32> {
        match &self.who {
            Who::Other(_, pid) => Some(*pid),
            Who::Nobody | Who::Node(_) | Who::Nodes(_) => None,
        }
    }

    /// The nodes, on a broker.
    pub(crate) fn nodes(&self) -> Option<&Nodes> {
        match &self.who {
            Who::Nodes(nodes) => Some(nodes),
            Who::Nobody | Who::Node(_) | Who::Other(..) => None,
        }
    }

    /// The capabilities that are served by whoever works on the store, or by a run of this program when nobody does.
    pub(crate) async fn served(&self) -> Result<Vec<String>, Failure> {
        if let Some(nodes) = self.nodes() {
            return nodes.served().await;
        }
        let named = |list: &Value| -> Vec<String> {
            let names = list.as_array().into_iter().flatten().filter_map(|one| one.get("capability")?.as_str());
            names.map(str::to_owned).collect()
        };
        Ok(self.node_says("served").await?.as_ref().map_or_else(services::capabilities, named))
    }

    /// Whether its contents are gone with this process.
    pub(crate) fn is_memory(&self) -> bool {
        &*self.broker.about == "memory"
    }

    /// From now on it is for the command to end when it is asked to.
    pub(crate) fn listen(&mut self) {
        self.signals = Some(Signals::listen());
    }

    /// Resolves when this process has been asked to end; never where nobody listens and it ends by itself.
    pub(crate) async fn interrupted(&self) {
        match &self.signals {
            Some(signals) => signals.first().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the other process that works on it has ended.
    ///
    /// # Errors
    /// When its lock cannot be looked at.
    pub(crate) async fn owner_gone(&self) -> Result<(), Failure> {
        let Who::Other(attached, pid) = &self.who else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if attached.owner()?.is_none_or(|owner| owner.pid != *pid) {
                return Ok(());
            }
        }
    }
}
