//! Time travel: the handlers of a run are run again against its log, and nothing else happens.
//!
//! Results of steps, effects and children come from the log; state is what it was when the attempt began. No effect is
//! done, nothing is submitted, told or stored. What each handler comes to is compared with what was recorded, byte for
//! byte; where the code or a prompt is not what made the log, the first record that differs is named.
//!
//! What is compared is the last attempt of each task, the one that ended it. Children end in the order in which they had
//! ended, so that races between them come out as before. What is in no log cannot be replayed: the answer to an ask, the
//! clock, chance; a handler that goes by them differs or is cut, and the report says so.
//!
//! | file | holds |
//! |---|---|
//! | `book` | what may be asked for, and where the first difference is: pure |
//! | `host` | the inside of a `Context` that only reads |
//! | `past` | state as it was |
//! | `kept` | a run as a document, and a broker that has nothing else |
//! | `one` | one task: its handler, driven to its end, and the verdict |
//!
//! Replaying a log through the code that made it is how Temporal tests that a changed workflow still fits.

mod book;
mod host;
mod kept;
mod one;
mod past;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::Service;
use callboard_agents::host::Served;
use callboard_agents::llm::Models;
use callboard_agents::tool::Toolbox;
use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Status;
use callboard_broker::tasks::{MAX_PAGE, TaskFilter, TaskView};
use serde::Serialize;

pub use book::Divergence;
pub use kept::{Logged, RunLog};
use one::{Agent, Around};

use crate::node::{self, Child};
use crate::settings::node::Config;

/// How long the handler of one task may take, unless it is told otherwise: 60 s.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What came of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Its handler asked for what is recorded and came to the recorded outcome.
    Identical,
    /// It went the way that is recorded as far as that goes, and nobody can say more.
    Cut {
        /// Why.
        why: String,
    },
    /// It did not.
    Diverged(Box<Divergence>),
    /// Nothing here serves its capability.
    Unserved,
}

/// One task of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The task.
    pub task: TaskId,
    /// Its capability.
    pub capability: CapabilityName,
    /// Records that its handler asked for, all of them with the recorded answer.
    pub records: u64,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A run that was replayed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The run.
    pub run: RunId,
    /// Its tasks in the order of submission, without those that people answered and those that were never begun.
    pub tasks: Vec<Replayed>,
}

impl Report {
    /// The first record, by its time, that differs.
    pub fn first(&self) -> Option<&Divergence> {
        let found = self.tasks.iter().filter_map(|task| match &task.verdict {
            Verdict::Diverged(found) => Some(&**found),
            _ => None,
        });
        found.min_by_key(|found| found.at)
    }

    /// Whether every task came to its recorded outcome.
    pub fn is_identical(&self) -> bool {
        self.tasks.iter().all(|task| task.verdict == Verdict::Identical)
    }

    /// Records that were asked for, in all tasks.
    pub fn records(&self) -> u64 {
        self.tasks.iter().map(|task| task.records).sum()
    }
}

/// Runs handlers again. Makes no node: it claims nothing, and may be used beside nodes that work.
///
/// ```no_run
/// # use callboard::replay::Replay;
/// # async fn replay(broker: &callboard::broker::Broker, my_service: callboard::Service) -> callboard::Result<(), callboard::Error> {
/// let report = Replay::of(broker).serve(my_service).run("pay-17").await?;
/// assert!(report.is_identical(), "{:?}", report.first());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Replay {
    broker: Broker,
    services: Vec<(Service, Arc<str>)>,
    toolbox: Toolbox,
    models: Option<Arc<Models>>,
    patience: Duration,
}

impl Replay {
    /// Of runs on this broker, with the workflows that every node serves, and no other agent yet.
    pub fn of(broker: &Broker) -> Self {
        let services = vec![(crate::workflow::service(), "agents".into())];
        Self { broker: broker.clone(), services, toolbox: Toolbox::new(), models: None, patience: PATIENCE }
    }

    /// Adds agents: those that made the log, or those that are to be compared with them.
    pub fn serve(mut self, child: impl Into<Child>) -> Self {
        child.into().services("agents", &mut self.services);
        self
    }

    /// With these models, so that an agent that has one goes the way that it went: their answers come from the log, and none
    /// is asked.
    pub fn models(mut self, models: Models) -> Self {
        self.models = Some(Arc::new(models));
        self
    }

    /// With these tools, so that calls of them are found in the log: none is made. Those of MCP servers need not be there.
    pub fn tools(mut self, tools: Toolbox) -> Self {
        self.toolbox = tools;
        self
    }

    /// With all that a node of this configuration would have, beside what was given before: its agents, its tools, and
    /// its models unless some were given. Nothing of it is started or connected to: MCP servers are known by their
    /// rules only, and the broker or store that it names is not the one that is read.
    ///
    /// # Errors
    /// `Config` for what a node of it could not start with, MCP servers aside.
    pub fn configured(mut self, config: &Config) -> Result<Self> {
        let given = self.services.len();
        let own = self.services.iter().map(|(service, _)| service.clone().into()).collect();
        let children = node::configured(own, config)?;
        self.toolbox = node::toolbox(self.toolbox, config, &children)?;
        for (name, server) in &config.mcp {
            self.toolbox.rule(&format!("{name}.*"), server.rules.clone());
        }
        if self.models.is_none() {
            self.models = Some(Arc::new(node::models(None, config)?));
        }
        Ok(children.into_iter().skip(given).fold(self, Self::serve))
    }

    /// How long the handler of one task may take. A handler that sleeps does so again. Default [`PATIENCE`].
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Replays a run: each of its tasks by itself, with the recorded results of its children.
    ///
    /// # Errors
    /// `NotFound` when there is no such run; `Decode` for an id that is none; what an agent fails to start with; what the
    /// store answers. That something differs is no error.
    ///
    /// # Cancellation
    /// Nothing was changed, so nothing is left.
    pub async fn run(&self, run: &str) -> Result<Report> {
        let run = RunId::parse(run)?;
        let views = views(&self.broker, &run).await?;
        if views.is_empty() {
            return Err(Error::not_found(format!("run {run}")));
        }
        let (agents, served) = self.agents().await?;
        let mut tasks = Vec::new();
        for view in views.iter().filter(|view| was_begun(view)) {
            tasks.push(self.one(view, &agents, &served).await?);
        }
        Ok(Report { run, tasks })
    }

    /// Replays one task.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn task(&self, task: &TaskId) -> Result<Report> {
        let view = self.broker.tasks.get(vec![task.clone()]).await?.pop().flatten();
        let view = view.ok_or_else(|| Error::not_found(format!("task {task}")))?;
        let (agents, served) = self.agents().await?;
        let replayed = self.one(&view, &agents, &served).await?;
        Ok(Report { run: view.task.run, tasks: vec![replayed] })
    }

    async fn one(&self, view: &TaskView, agents: &Agents, served: &[Served]) -> Result<Replayed> {
        let (task, capability) = (view.task.id.clone(), view.task.capability.clone());
        let around = Around { served, toolbox: &self.toolbox, models: self.models.clone() };
        let (verdict, records) = match agents.get(&capability) {
            Some(agent) => one::replay(&self.broker, agent, view, &around, self.patience).await?,
            None => (Verdict::Unserved, 0),
        };
        Ok(Replayed { task, capability, records, verdict })
    }

    /// Starts every agent once.
    async fn agents(&self) -> Result<(Agents, Vec<Served>)> {
        let (mut agents, mut served) = (HashMap::new(), Vec::new());
        for (service, team) in &self.services {
            let handlers = service.starter()().await.map_err(|failure| Error::Failed {
                to: format!("the start of agent {}", service.name()).into(),
                failure: Box::new(failure.into_remote()),
            })?;
            let options = service.options();
            let team = options.team.clone().unwrap_or_else(|| team.clone());
            for (door, handler) in service.doors().iter().zip(handlers) {
                let (capability, request) = (door.capability.clone(), door.request.clone());
                served.push(Served { capability, about: door.about.clone(), request });
                let (name, grants) = (service.name().into(), options.grants.clone().into());
                agents.insert(door.capability.clone(), Agent { name, team: team.clone(), grants, handler });
            }
        }
        served.sort_by(|a, b| a.capability.cmp(&b.capability));
        Ok((agents, served))
    }
}

/// All tasks of a run in the order of submission.
async fn views(broker: &Broker, run: &RunId) -> Result<Vec<TaskView>> {
    let mut views: Vec<TaskView> = Vec::new();
    loop {
        let after = views.last().map(|view| view.seq);
        let filter = TaskFilter { run: Some(run.clone()), after, limit: MAX_PAGE, ..TaskFilter::default() };
        let page = broker.tasks.list(filter).await?;
        let is_last = page.len() < MAX_PAGE;
        views.extend(page);
        if is_last {
            return Ok(views);
        }
    }
}

type Agents = HashMap<CapabilityName, Agent>;

/// Whether a handler ever worked on it. What people answer has none.
fn was_begun(view: &TaskView) -> bool {
    view.attempt > 0 && view.status != Status::Skipped && !view.task.capability.is_human()
}
