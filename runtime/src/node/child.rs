//! What a node is given to run: services, and supervisors over them.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::{Service, Stateful, StatefulService};
use callboard_broker::subject::{BadName, CapabilityName};

use crate::cell::hub::Hub;
use crate::cell::pool::Pool;
use crate::tree::{Backoff, ChildSpec, Intensity, SpecError, Strategy, SupervisorSpec};

/// A service or a supervisor; made by `into()`.
#[derive(Clone, Debug)]
pub enum Child {
    /// A pool of cells.
    Service(Box<Service>),
    /// Children under a supervisor of their own.
    Supervisor(Supervisor),
}

impl Child {
    /// What it serves, and what everything below it serves, in start order.
    pub fn capabilities(&self) -> Vec<CapabilityName> {
        match self {
            Self::Service(service) => service.doors().iter().map(|door| door.capability.clone()).collect(),
            Self::Supervisor(supervisor) => supervisor.children.iter().flat_map(Self::capabilities).collect(),
        }
    }
}

impl Child {
    /// Whether all that is named in it has a good name.
    pub(super) fn check(&self) -> Result<(), BadName> {
        match self {
            Self::Service(service) => service.check(),
            Self::Supervisor(supervisor) => supervisor.children.iter().try_for_each(Self::check),
        }
    }

    /// Gives the agents that serve a capability so many workers.
    pub(super) fn resize(&mut self, capability: &CapabilityName, workers: usize) {
        self.change(&|service| match service.doors().iter().any(|door| door.capability == *capability) {
            true => service.workers(workers),
            false => service,
        });
    }

    /// Bounds the queue of every agent.
    pub(super) fn bound(&mut self, queue: usize) {
        self.change(&|service| service.queue(queue));
    }

    /// The services in it, in start order, each with the supervisor above it.
    pub(crate) fn services(&self, team: &str, found: &mut Vec<(Service, Arc<str>)>) {
        match self {
            Self::Service(service) => found.push(((**service).clone(), team.into())),
            Self::Supervisor(above) => above.children.iter().for_each(|child| child.services(&above.name, found)),
        }
    }

    fn change(&mut self, how: &impl Fn(Service) -> Service) {
        match self {
            Self::Service(service) => **service = how((**service).clone()),
            Self::Supervisor(supervisor) => supervisor.children.iter_mut().for_each(|child| child.change(how)),
        }
    }
}

impl From<Service> for Child {
    fn from(service: Service) -> Self {
        Self::Service(Box::new(service))
    }
}

impl<A: Stateful> From<StatefulService<A>> for Child {
    fn from(service: StatefulService<A>) -> Self {
        Service::from(service).into()
    }
}

impl From<Supervisor> for Child {
    fn from(supervisor: Supervisor) -> Self {
        Self::Supervisor(supervisor)
    }
}

/// A supervisor in OTP's words. It holds no user code: a lead is a [`Service`] among its children.
#[derive(Clone, Debug)]
pub struct Supervisor {
    name: Arc<str>,
    strategy: Strategy,
    intensity: (u32, Duration),
    backoff: (Duration, Duration),
    children: Vec<Child>,
}

impl Supervisor {
    /// One that restarts each child alone, at most 5 times in 30 s.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            strategy: Strategy::OneForOne,
            intensity: (5, Duration::from_secs(30)),
            backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            children: Vec::new(),
        }
    }

    /// Which children are restarted when one ends. Default [`Strategy::OneForOne`].
    pub fn strategy(mut self, s: Strategy) -> Self {
        self.strategy = s;
        self
    }

    /// After more than so many restarts within this time it gives up, which its own supervisor sees as the failure of a
    /// child. Default 5 in 30 s.
    pub fn intensity(mut self, restarts: u32, within: Duration) -> Self {
        self.intensity = (restarts, within);
        self
    }

    /// The shortest and longest wait before a restart; the first one comes at once. Default 100 ms to 10 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = (min, max);
        self
    }

    /// Adds a child; children start in the order in which they were added, and stop in reverse.
    pub fn child(mut self, c: impl Into<Child>) -> Self {
        self.children.push(c.into());
        self
    }

    /// The spec of this supervisor and all below it; the pools that were opened for it are added to `pools`.
    pub(super) fn open(&self, hub: &Arc<Hub>, path: &str, pools: &mut Vec<Opened>) -> Result<ChildSpec, SpecError> {
        let path = format!("{path}/{}", self.name);
        let children: Result<Vec<_>, _> =
            self.children.iter().map(|child| child.open(hub, &self.name, &path, pools)).collect();
        let spec = SupervisorSpec::new(self.name.clone(), children?)?
            .strategy(self.strategy)
            .intensity(Intensity::new(self.intensity.0, self.intensity.1)?)
            .backoff(Backoff::new(self.backoff.0, self.backoff.1)?);
        Ok(ChildSpec::supervisor(spec))
    }
}

/// The pools of a node, in start order. They serve until this is dropped, or were closed before.
#[derive(Default)]
pub(crate) struct Pools(pub(crate) Vec<Opened>);

impl Drop for Pools {
    fn drop(&mut self) {
        self.0.iter().for_each(|opened| opened.pool.close());
    }
}

/// A pool and where it stands in the tree.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) pool: Arc<Pool>,
    pub(crate) path: String,
}

impl Child {
    pub(super) fn open(
        &self,
        hub: &Arc<Hub>,
        team: &str,
        path: &str,
        pools: &mut Vec<Opened>,
    ) -> Result<ChildSpec, SpecError> {
        match self {
            Self::Supervisor(supervisor) => supervisor.open(hub, path, pools),
            Self::Service(service) => {
                let pool = Pool::open(hub, service, team);
                pools.push(Opened { pool: pool.clone(), path: format!("{path}/{}", pool.name) });
                pool.supervisor()
            }
        }
    }
}
