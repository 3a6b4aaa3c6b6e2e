use std::collections::HashMap;
use std::time::Duration;

use callboard_broker::clock::Clock;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::{Entry, Outcome, Status, Task};

use crate::Failure;
use crate::host::{Order, Standing};

/// The logs of all tasks: what a later attempt finds.
#[derive(Default)]
pub(super) struct Journal {
    steps: HashMap<(TaskId, String), Body>,
    effects: HashMap<(TaskId, String), Effect>,
    children: HashMap<TaskId, Child>,
}

#[derive(Default)]
struct Effect {
    intents: u32,
    /// Begun, and neither done nor certainly not done.
    is_open: bool,
    done: Option<Body>,
}

struct Child {
    task: Task,
    attempts: u32,
    ended: Option<Outcome>,
    /// How long it may take.
    limit: Option<Duration>,
}

impl Journal {
    pub(super) fn step(&self, of: &TaskId, name: &str) -> Option<Body> {
        self.steps.get(&(of.clone(), name.to_owned())).cloned()
    }

    /// Where an effect stands.
    pub(super) fn effect(&self, of: &TaskId, name: &str) -> Standing {
        let key = format!("{of}/{name}");
        match self.effects.get(&(of.clone(), name.to_owned())) {
            Some(Effect { done: Some(value), .. }) => Standing::Done(value.clone()),
            None | Some(Effect { is_open: false, .. }) => Standing::Open(key),
            Some(Effect { intents, .. }) => Standing::InDoubt { key, intents: *intents },
        }
    }

    pub(super) fn record(&mut self, of: &TaskId, entry: Entry) {
        match entry {
            Entry::Step { name, value, .. } => {
                self.steps.insert((of.clone(), name), value);
            }
            Entry::Intent { name, .. } => {
                let effect = self.effects.entry((of.clone(), name)).or_default();
                effect.intents += 1;
                effect.is_open = true;
            }
            Entry::Effect { name, value } => self.effects.entry((of.clone(), name)).or_default().done = Some(value),
            Entry::Undone { name } => self.effects.entry((of.clone(), name)).or_default().is_open = false,
            Entry::Claimed { .. }
            | Entry::Released { .. }
            | Entry::Delegated { .. }
            | Entry::Parked { .. }
            | Entry::Died { .. } => {}
        }
    }

    /// The child of `parent` under `key`: a new one, or the one that an earlier attempt delegated.
    pub(super) fn delegate(&mut self, parent: &TaskId, key: &str, order: Order) -> Result<TaskId> {
        let now = Clock::system().now();
        let above = Task {
            id: parent.clone(),
            base: parent.clone(),
            ..Task::root(parent.run(), order.capability.clone(), Body::null(), now)
        };
        let mut task = above.child(key, order.capability, order.input, now);
        task.retry = order.retry.unwrap_or(task.retry);
        let id = task.id.clone();
        if let Some(known) = self.children.get(&id) {
            let (recorded, given) = (known.task.input.content_hash()?, task.input.content_hash()?);
            if recorded != given {
                let (recorded, given) = (recorded.into(), given.into());
                return Err(Error::Diverged { key: key.into(), recorded, given });
            }
        } else {
            let skip = |why: String| failed(&task, Status::Skipped, Failure::permanent(why), now);
            let ended = order.skipped.map(skip);
            self.children.insert(id.clone(), Child { task, attempts: 0, ended, limit: order.deadline });
        }
        Ok(id)
    }

    /// A child, and its outcome when it has one.
    pub(super) fn child(&self, id: &TaskId) -> Result<(Task, Option<Outcome>)> {
        let child = self.children.get(id).ok_or_else(|| Error::not_found(format!("child {id}")))?;
        Ok((child.task.clone(), child.ended.clone()))
    }

    /// How long a child may take, where its parent said so.
    pub(super) fn limit(&self, id: &TaskId) -> Option<Duration> {
        self.children.get(id)?.limit
    }

    /// The number of the attempt that begins.
    pub(super) fn begin(&mut self, id: &TaskId) -> u32 {
        self.children.get_mut(id).map_or(1, |child| {
            child.attempts += 1;
            child.attempts
        })
    }

    /// A child that nobody waits for any more: it stays cancelled, unless it had ended.
    pub(super) fn cancel(&mut self, id: &TaskId, by: String) {
        if let Some(child) = self.children.get_mut(id).filter(|child| child.ended.is_none()) {
            let error = Error::Cancelled { by: by.into() };
            child.ended = Some(failed(&child.task, Status::Cancelled, error.into(), Clock::system().now()));
        }
    }

    /// What became of a child. One that did not complete is done again by the next attempt of its parent.
    pub(super) fn ended(&mut self, task: &Task, agent: &str, attempt: u32, answer: Result<Body>) -> Outcome {
        let now = Clock::system().now();
        let outcome = match answer {
            Ok(output) => Outcome { output, ..Outcome::of(task, Status::Completed, None, now) },
            Err(e @ Error::Cancelled { .. }) => failed(task, Status::Cancelled, e.into(), now),
            Err(e @ Error::Expired) => failed(task, Status::Expired, e.into(), now),
            Err(Error::Failed { failure, .. }) => Outcome::of(task, Status::Failed, Some(*failure), now),
            Err(e) => failed(task, Status::Failed, e.into(), now),
        };
        let outcome = Outcome { attempt, agent: Some(agent.into()), started_at: Some(now), ..outcome };
        if let (Status::Completed, Some(child)) = (outcome.status, self.children.get_mut(&task.id)) {
            child.ended = Some(outcome.clone());
        }
        outcome
    }
}

fn failed(task: &Task, status: Status, failure: Failure, now: u64) -> Outcome {
    Outcome::of(task, status, Some(failure.into_remote()), now)
}
