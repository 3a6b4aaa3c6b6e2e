//! What may be asked for, and from words to a task.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::prompt::{self, Request};
use callboard_agents::service::Door;
use callboard_agents::source::pack_files;
use callboard_agents::{Run, Value};
use callboard_broker::Broker;
use callboard_broker::budget::Budget;
use callboard_broker::clock::millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Task;
use callboard_broker::tasks::TaskView;
use tokio::sync::broadcast;

use super::visit::{Progress, Visit};
use crate::Node;
use crate::cell::hub::{Hub, Note};
use crate::workflow::declared_budget;

/// What attached files are called together where sources are listed.
const ATTACHED: &str = "attachments";
/// How much of a prompt describes its task, in characters.
const DESCRIBED: usize = 200;

/// Where strangers are received: what they may ask for, and where it goes. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    broker: Broker,
    /// In whose name tasks are submitted.
    who: Arc<str>,
    budget: Budget,
    offers: Offers,
    public: Arc<[CapabilityName]>,
    /// What agents of this node say while they work; none where there are no agents.
    notes: Option<broadcast::Sender<Note>>,
    /// What is read when a prompt names no source, in the form of the request.
    sources: Arc<[String]>,
}

/// Whose agents answer.
#[derive(Clone)]
enum Offers {
    /// Those of this node.
    Here(Arc<Hub>),
    /// Those of other nodes, as they were when the door opened.
    There(Arc<[Door]>),
}

/// A request as it is put to work.
#[derive(Clone, Debug)]
pub struct Order {
    /// For whom.
    pub capability: CapabilityName,
    /// The request.
    pub body: Value,
    /// What it is for, in words; cut to 200 characters.
    pub described: String,
    /// How long all of it may take.
    pub limit: Duration,
}

impl Desk {
    /// That of a node, for these of its capabilities.
    ///
    /// # Errors
    /// `NoRecipient` for one that the node does not serve.
    pub fn of(node: &Node, public: &[CapabilityName]) -> Result<Self> {
        let hub = node.hub();
        if let Some(missing) = public.iter().find(|name| hub.registry.door(name).is_none()) {
            return Err(Error::NoRecipient { to: missing.as_str().into() });
        }
        Ok(Self::of_hub(hub, public))
    }

    pub(crate) fn of_hub(hub: &Arc<Hub>, public: &[CapabilityName]) -> Self {
        Self {
            broker: hub.broker.clone(),
            who: hub.name.as_str().into(),
            budget: hub.budget,
            offers: Offers::Here(hub.clone()),
            public: public.into(),
            notes: Some(hub.notes.clone()),
            sources: Arc::default(),
        }
    }

    /// That of a program without agents, on a broker whose nodes serve `doors`; tasks are submitted in the name of `who`.
    pub fn over(broker: Broker, who: &str, doors: Vec<Door>) -> Self {
        Self {
            broker,
            who: who.into(),
            budget: Budget::default(),
            public: doors.iter().map(|door| door.capability.clone()).collect(),
            offers: Offers::There(doors.into()),
            notes: None,
            sources: Arc::default(),
        }
    }

    /// With sources for requests that take some and name none.
    pub fn sources(self, sources: Vec<String>) -> Self {
        Self { sources: sources.into(), ..self }
    }

    /// With this budget for each run, of which a workflow's own document can only have less. Default: that of the node, or
    /// none.
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// The broker that it submits to.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// What may be asked for, in the order in which it was named.
    pub fn public(&self) -> Vec<Door> {
        self.public.iter().filter_map(|name| self.door(name)).collect()
    }

    /// A capability, if it is public and served.
    pub fn door(&self, name: &CapabilityName) -> Option<Door> {
        let public = self.public.contains(name);
        match &self.offers {
            _ if !public => None,
            Offers::Here(hub) => hub.registry.door(name),
            Offers::There(doors) => doors.iter().find(|door| door.capability == *name).cloned(),
        }
    }

    /// Makes a request of a prompt and of files, each a name without folder and its bytes.
    ///
    /// # Errors
    /// `Decode` for what is no request, has nothing to read or names a parcel itself; `Unavailable` for files where the
    /// broker keeps none.
    pub async fn request(&self, door: &Door, text: &str, files: Vec<(String, Vec<u8>)>) -> Result<Request> {
        let files = match (files.is_empty(), &self.broker.blobs) {
            (true, _) => Vec::new(),
            (false, None) => return Err(Error::unavailable("this broker keeps no attachments")),
            (false, Some(_)) if !prompt::takes_attachments(door) => {
                return Err(Error::decode(format!("{} takes no attachments", door.capability)));
            }
            (false, Some(blobs)) => vec![pack_files(ATTACHED, files, blobs).await?],
        };
        let attached = files.clone();
        let request = prompt::request(door, text, files, |request| self.fits(&door.capability, request))?;
        self.packed(door, &request.body, &attached)?;
        Ok(Request { body: self.sourced(door, request.body)?, ..request })
    }

    /// The same request with the sources of the desk where it names none.
    ///
    /// # Errors
    /// What the agent has to say against it; `Decode` when it has nothing to read or names a parcel.
    pub fn checked(&self, door: &Door, body: Value) -> Result<Value> {
        self.fits(&door.capability, &Payload::from(body.clone()))?;
        self.packed(door, &body, &[])?;
        self.sourced(door, body)
    }

    /// A stranger's files are packed here: who could name a parcel could attach one that lists what others attached, or
    /// one file ten thousand times.
    fn packed(&self, door: &Door, body: &Value, attached: &[String]) -> Result<()> {
        let own = [attached, &*self.sources].concat();
        let named = prompt::parcel(door, body, &own);
        named.map_or(Ok(()), |name| Err(Error::decode(format!("{name} may not be named here: attach the files"))))
    }

    fn sourced(&self, door: &Door, body: Value) -> Result<Value> {
        let body = prompt::with_sources(door, body, &self.sources);
        match prompt::lacks_sources(door, &body) {
            false => Ok(body),
            true => {
                let what = "has nothing to read: attach files or name public URLs, or have it started with --sources";
                Err(Error::decode(format!("{} {what}", door.capability)))
            }
        }
    }

    /// Whether an agent can read a request. What agents of other nodes take is known by its schema.
    fn fits(&self, capability: &CapabilityName, request: &Payload) -> Result<()> {
        match &self.offers {
            Offers::Here(hub) => hub.registry.fits(capability, request),
            Offers::There(_) => {
                let door = self.door(capability);
                let door = door.ok_or_else(|| Error::NoRecipient { to: capability.as_str().into() })?;
                crate::schema::fits(&door.request, &request.value()?).map_err(Error::decode)
            }
        }
    }

    /// Submits it as a run of its own, listened to from before it is there.
    ///
    /// # Errors
    /// `NotFound` for a capability that is not public; as for a submission.
    pub async fn begin(&self, order: Order) -> Result<Visit> {
        let Order { capability, body, described, limit } = order;
        if !self.public.contains(&capability) {
            return Err(Error::not_found(format!("public capability {capability}")));
        }
        let (run, now) = (RunId::fresh(), self.broker.clock.now());
        let task = Task {
            from: Some(self.who.to_string()),
            deadline: now.saturating_add(millis(limit)),
            description: Some(described.chars().take(DESCRIBED).collect()),
            ..Task::root(run.clone(), capability, body.into(), now)
        };
        // Whoever wrote the document is a stranger.
        let budget = least(self.budget, declared_budget(&task.capability, &task.input));
        let task = task.budgeted(budget);
        let task = Task { traceparent: crate::telemetry::here(task.traceparent), ..task };
        let notes = self.notes.as_ref().map(broadcast::Sender::subscribe);
        let progress = Progress::listen(&self.broker, &task.id, notes).await?;
        let visit = Visit::of(Run::of_tasks(self.broker.tasks.clone(), task.id.clone()), progress);
        let stored = self.broker.tasks.submit(vec![task]).await.pop();
        stored.unwrap_or_else(|| Err(Error::Unknown { what: "a prompt".into() }))?;
        Ok(visit)
    }

    /// Listens to a run that was begun before, whoever did: how its root stands, and what comes from now on.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    pub async fn join(&self, run: &str) -> Result<(TaskView, Visit)> {
        let root = TaskId::root(&RunId::parse(run)?);
        let notes = self.notes.as_ref().map(broadcast::Sender::subscribe);
        // First, so that nothing falls between what is seen and what is heard.
        let progress = Progress::listen(&self.broker, &root, notes).await?;
        let seen = self.look(run).await?;
        Ok((seen, Visit::of(Run::of_tasks(self.broker.tasks.clone(), root), progress)))
    }

    /// The root task of a run, if its capability is public.
    ///
    /// # Errors
    /// `NotFound` otherwise; `Decode` for an id that is none.
    pub async fn look(&self, run: &str) -> Result<TaskView> {
        let root = TaskId::root(&RunId::parse(run)?);
        let found = self.broker.tasks.get(vec![root]).await?.pop().flatten();
        let shown = found.filter(|view| self.public.contains(&view.task.capability));
        shown.ok_or_else(|| Error::not_found(format!("run {run}")))
    }

    /// Cancels a run whose capability is public; how its root stands then.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    pub async fn cancel(&self, run: &str, by: &str) -> Result<TaskView> {
        let seen = self.look(run).await?;
        if !seen.status.is_final() {
            self.broker.tasks.cancel(seen.task.id, by.to_owned()).await?;
        }
        self.look(run).await
    }
}

/// A budget with what a document makes less of it, or of the defaults.
fn least(of: Budget, declared: Budget) -> Budget {
    if declared.is_default() {
        return of;
    }
    let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
    let shape = Budget {
        depth: Some(of.depth()),
        hops: Some(of.hops()),
        ping_pong: Some(of.ping_pong()),
        repeats: Some(of.repeats()),
        width: Some(of.width()),
        ..of
    };
    Budget {
        tasks: least(of.tasks, declared.tasks),
        steps: least(of.steps, declared.steps),
        tokens: least(of.tokens, declared.tokens),
        cost_micros: least(of.cost_micros, declared.cost_micros),
        wall_ms: least(of.wall_ms, declared.wall_ms),
        ..shape.within(declared)
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("who", &self.who).field("public", &self.public).finish_non_exhaustive()
    }
}
