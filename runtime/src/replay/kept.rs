//! A run as one document: what a release keeps of a run to replay it with every later one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Task};
use callboard_broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, MAX_PAGE, Park, Recorded, Submitted, TaskFilter, TaskView,
    Tasks, Until,
};
use callboard_broker::{BoxFuture, Broker, memory};
use serde::{Deserialize, Serialize};

/// The form of the document that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// All tasks of a run with their logs and outcomes. State is no part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLog {
    /// The run.
    pub run: RunId,
    /// Its tasks in the order of submission.
    pub tasks: Vec<Logged>,
}

/// A task with its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// The task, and how it ended.
    pub view: TaskView,
    /// Its records, oldest first.
    pub log: Vec<Record>,
}

/// What is written: `hash` is over run and tasks, whatever their spelling.
#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    run: RunId,
    hash: String,
    tasks: Payload,
}

impl RunLog {
    /// What a broker has of a run.
    ///
    /// # Errors
    /// `NotFound`; what the store answers.
    pub async fn of(broker: &Broker, run: &RunId) -> Result<Self> {
        let mut tasks = Vec::new();
        for view in super::views(broker, run).await? {
            let log = broker.tasks.log(view.task.id.clone()).await?;
            tasks.push(Logged { view, log });
        }
        if tasks.is_empty() {
            return Err(Error::not_found(format!("run {run}")));
        }
        Ok(Self { run: run.clone(), tasks })
    }

    /// As a document.
    ///
    /// # Errors
    /// `TooLarge` for a run over 8 MiB.
    pub fn write(&self) -> Result<String> {
        let tasks = Payload::of(self.tasks.clone());
        let document = Document { format: FORMAT, run: self.run.clone(), hash: hash(&self.run, &tasks)?, tasks };
        serde_json::to_string_pretty(&document).map_err(|e| Error::decode(format!("a run log cannot be written: {e}")))
    }

    /// Reads a document of this or an earlier release.
    ///
    /// # Errors
    /// `Decode` with what is wrong: it is no run log, it is of a newer release, or it is not as it was written.
    pub fn read(text: &str) -> Result<Self> {
        let Document { format, run, hash: written, tasks } =
            serde_json::from_str(text).map_err(|e| Error::decode(format!("no run log: {e}")))?;
        if format == 0 || format > FORMAT {
            return Err(Error::decode(format!(
                "a run log of form {format}: this program reads up to form {FORMAT}, so it is of a newer release"
            )));
        }
        if hash(&run, &tasks)? != written {
            return Err(Error::decode(format!("the log of run {run} is damaged: it is not as it was written")));
        }
        let tasks: Vec<Logged> = tasks.read()?;
        match tasks.iter().find(|task| !task.is_whole(&run)) {
            Some(task) => Err(Error::decode(format!("the log of task {} has a gap", task.view.task.id))),
            None => Ok(Self { run, tasks }),
        }
    }

    /// A broker that has this run and lets nobody change it.
    pub fn broker(self) -> Broker {
        let memory = memory::open(memory::Options::default());
        Broker { tasks: Arc::new(Kept::new(self)), about: "a run log".into(), ..memory }
    }
}

fn hash(run: &RunId, tasks: &Payload) -> Result<String> {
    Payload::of((run.clone(), tasks.value()?)).content_hash()
}

impl Logged {
    fn is_whole(&self, run: &RunId) -> bool {
        self.view.task.run == *run && self.log.iter().zip(1..).all(|(record, n)| record.n == n)
    }
}

/// The tasks of one document.
struct Kept {
    views: Vec<TaskView>,
    logs: HashMap<TaskId, Vec<Record>>,
}

impl Kept {
    fn new(of: RunLog) -> Self {
        let (mut views, mut logs) = (Vec::new(), HashMap::new());
        for Logged { view, log } in of.tasks {
            logs.insert(view.task.id.clone(), log);
            views.push(view);
        }
        Self { views, logs }
    }

    fn view(&self, task: &TaskId) -> Option<TaskView> {
        self.views.iter().find(|view| view.task.id == *task).cloned()
    }
}

fn passes(view: &TaskView, filter: &TaskFilter) -> bool {
    let task = &view.task;
    let is_beyond = |after: u64| if filter.newest_first { view.seq < after } else { view.seq > after };
    filter.run.as_ref().is_none_or(|run| task.run == *run)
        && filter.parent.as_ref().is_none_or(|parent| task.parent.as_ref() == Some(parent))
        && filter.capability.as_ref().is_none_or(|capability| task.capability == *capability)
        && (filter.status.is_empty() || filter.status.contains(&view.status))
        && (!filter.roots || task.parent.is_none())
        && filter.suffix.as_ref().is_none_or(|suffix| task.id.as_str().ends_with(suffix.as_str()))
        && filter.after.is_none_or(is_beyond)
}

fn unchangeable() -> Error {
    Error::Denied { who: "nobody".into(), what: "change a run log".into() }
}

fn refused<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T>> {
    Box::pin(std::future::ready(Err(unchangeable())))
}

fn each_refused<'a, T: Send + 'a>(count: usize) -> BoxFuture<'a, Vec<Result<T>>> {
    Box::pin(std::future::ready((0..count).map(|_| Err(unchangeable())).collect()))
}

impl Tasks for Kept {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        each_refused(tasks.len())
    }

    fn claim(&self, _claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        refused()
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        each_refused(fences.len())
    }

    fn append(&self, _fence: Fence, _entries: Vec<Entry>, _children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        refused()
    }

    fn release(&self, _back: GiveBack) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn park(&self, _park: Park) -> BoxFuture<'_, Result<()>> {
        refused()
    }

    fn finish(&self, turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        each_refused(turns.len())
    }

    fn conclude(&self, _outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        refused()
    }

    fn cancel(&self, _task: TaskId, _by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        refused()
    }

    fn retry(&self, _task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        refused()
    }

    fn wait(&self, tasks: Vec<TaskId>, _until: Until, _wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        let ended = tasks.iter().filter_map(|task| self.view(task)?.outcome).collect();
        Box::pin(std::future::ready(Ok(ended)))
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        let views = tasks.iter().map(|task| self.view(task)).collect();
        Box::pin(std::future::ready(Ok(views)))
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        let log = self.logs.get(&task).cloned().ok_or_else(|| Error::not_found(format!("task {task}")));
        Box::pin(std::future::ready(log))
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
        let found = self.views.iter().filter(|view| passes(view, &filter)).cloned();
        let page: Vec<TaskView> =
            if filter.newest_first { found.rev().take(limit).collect() } else { found.take(limit).collect() };
        Box::pin(std::future::ready(Ok(page)))
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
