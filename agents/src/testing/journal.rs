use std::collections::HashMap;

use callboard_broker::clock::Clock;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::RunId;
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::{Outcome, Status, Task};

use crate::Failure;
use crate::host::Order;

/// The log of the task under test: what a later attempt finds.
#[derive(Default)]
pub(super) struct Journal {
    steps: HashMap<String, Body>,
    children: HashMap<TaskId, Child>,
}

struct Child {
    task: Task,
    ended: Option<Outcome>,
}

impl Journal {
    pub(super) fn step(&self, name: &str) -> Option<Body> {
        self.steps.get(name).cloned()
    }

    pub(super) fn record(&mut self, name: &str, value: Body) {
        self.steps.insert(name.into(), value);
    }

    /// The child under `key`: a new one, or the one that an earlier attempt delegated.
    pub(super) fn delegate(&mut self, run: &RunId, key: &str, order: Order) -> Result<TaskId> {
        let now = Clock::system().now();
        let root = Task::root(run.clone(), order.capability.clone(), Body::null(), now);
        let task = root.child(key, order.capability, order.input, now);
        let (id, given) = (task.id.clone(), task.input.content_hash()?);
        match self.children.get(&id) {
            Some(known) => {
                let recorded = known.task.input.content_hash()?;
                if recorded != given {
                    let (recorded, given) = (recorded.into(), given.into());
                    return Err(Error::Diverged { key: key.into(), recorded, given });
                }
            }
            None => {
                let skip = |why: String| failed(&task, Status::Skipped, Failure::permanent(why), now);
                let ended = order.skipped.map(skip);
                self.children.insert(id.clone(), Child { task, ended });
            }
        }
        Ok(id)
    }

    pub(super) fn child(&self, id: &TaskId) -> Result<(Task, Option<Outcome>)> {
        let child = self.children.get(id).ok_or_else(|| Error::not_found(format!("child {id}")))?;
        Ok((child.task.clone(), child.ended.clone()))
    }

    /// What became of a child. One that did not complete is done again by the next attempt.
    pub(super) fn ended(&mut self, task: &Task, answer: Result<Body>) -> Outcome {
        let now = Clock::system().now();
        let mut outcome = match answer {
            Ok(output) => Outcome { output, ..Outcome::of(task, Status::Completed, None, now) },
            Err(e @ Error::Cancelled { .. }) => failed(task, Status::Cancelled, e.into(), now),
            Err(e @ Error::Expired) => failed(task, Status::Expired, e.into(), now),
            Err(Error::Failed { failure, .. }) => Outcome::of(task, Status::Failed, Some(*failure), now),
            Err(e) => failed(task, Status::Failed, e.into(), now),
        };
        (outcome.attempt, outcome.started_at) = (1, Some(now));
        if let (Status::Completed, Some(child)) = (outcome.status, self.children.get_mut(&task.id)) {
            child.ended = Some(outcome.clone());
        }
        outcome
    }
}

fn failed(task: &Task, status: Status, failure: Failure, now: u64) -> Outcome {
    Outcome::of(task, status, Some(failure.into_remote()), now)
}
