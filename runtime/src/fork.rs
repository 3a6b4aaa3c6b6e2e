//! Forks: a new run that begins with the recorded results of another, up to any record, and goes on by itself.
//!
//! The fork is a task of a run of its own. Before its handler begins, the records are copied into its log: results of
//! steps and effects, and children with the outcomes that they had. A child that had not ended, or was cancelled, is
//! delegated anew when the handler asks for it. Nothing that was done is done again; what the changed input leads to is
//! new work. An inherited child that the handler now orders with another input under the same key is refused as
//! *diverged*: fork from a record before it.
//!
//! The original is left as it is, and must stay until the fork has begun.

use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Forked, Task};
use callboard_broker::tasks::TaskView;
use serde_json::Value;

use crate::cell::chain::Chain;

/// A fork before it is submitted.
#[derive(Clone, Debug)]
#[must_use = "nothing is forked until it is submitted"]
pub struct Fork {
    broker: Broker,
    task: TaskId,
    from: Option<u64>,
    changes: Vec<(String, Value)>,
    capability: Option<CapabilityName>,
    model: Option<String>,
    run: Option<RunId>,
}

impl Fork {
    /// A fork of a task, with all of its records unless it is told otherwise. It may still be at work.
    pub fn of(broker: &Broker, task: TaskId) -> Self {
        let (from, changes, capability, model, run) = Default::default();
        Self { broker: broker.clone(), task, from, changes, capability, model, run }
    }

    /// The last record that is inherited, by its number in the log of the task; 0: none.
    pub fn from(mut self, record: u64) -> Self {
        self.from = Some(record);
        self
    }

    /// Changes the input at a path: names and places joined by dots (`messages.0.text`), or a JSON pointer that begins
    /// with `/`. A name that is not there yet is added to its object; `.` stands for the whole input.
    pub fn set(mut self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.changes.push((path.into(), value.into()));
        self
    }

    /// Another agent: whoever serves this capability.
    pub fn capability(mut self, name: CapabilityName) -> Self {
        self.capability = Some(name);
        self
    }

    /// Another model, `PROVIDER/NAME`: that which it and all that it delegates from now on ask. What is inherited keeps
    /// the answers of the one before.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// A name of the caller's own for the new run. Default: a fresh one.
    pub fn run(mut self, id: RunId) -> Self {
        self.run = Some(id);
        self
    }

    /// Submits it; the new run's root.
    ///
    /// # Errors
    /// `NotFound` for a task that is none; `Decode` for a record that its log does not have or a path that its input does
    /// not have; `Diverged` when the named run is there with another input; what the store answers.
    pub async fn submit(self) -> Result<TaskView> {
        let view = self.broker.tasks.get(vec![self.task.clone()]).await?.pop().flatten();
        let original = view.ok_or_else(|| Error::not_found(format!("task {}", self.task)))?.task;
        let last = self.broker.tasks.log(self.task.clone()).await?.last().map_or(0, |record| record.n);
        let upto = self.from.unwrap_or(last);
        if upto > last {
            return Err(Error::decode(format!(
                "the log of task {} has {last} records: a fork is from 0 to {last}, not from {upto}",
                self.task
            )));
        }
        let mut input = original.input.value()?;
        for (path, value) in self.changes {
            change(&mut input, &path, value)?;
        }
        let (run, now) = (self.run.unwrap_or_else(RunId::fresh), self.broker.clock.now());
        let capability = self.capability.unwrap_or_else(|| original.capability.clone());
        let allowed = original.deadline.saturating_sub(original.created_at);
        // What it is given came from there, also when it was done for somebody else.
        let origins = Chain::of_task(&original).came_from();
        let task = Task {
            description: original.description,
            priority: original.priority,
            model: self.model.or(original.model),
            deadline: now.saturating_add(allowed),
            timeout_ms: original.timeout_ms,
            retry: original.retry,
            budget: original.budget,
            origins,
            from: Some("fork".into()),
            forked: Some(Forked { task: self.task, upto }),
            ..Task::root(run, capability, Payload::of(input), now)
        };
        let id = task.id.clone();
        let stored = self.broker.tasks.submit(vec![task]).await.pop();
        stored.unwrap_or_else(|| Err(Error::Unknown { what: "a submission".into() }))?;
        let view = self.broker.tasks.get(vec![id.clone()]).await?.pop().flatten();
        view.ok_or_else(|| Error::not_found(format!("task {id}")))
    }
}

/// Puts a value at a path.
fn change(input: &mut Value, path: &str, value: Value) -> Result<()> {
    if path == "." {
        *input = value;
        return Ok(());
    }
    let pointer = if path.starts_with('/') { path.to_owned() } else { format!("/{}", path.replace('.', "/")) };
    let (above, name) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
    let no_place = |why: String| Error::decode(format!("the input has no place \"{path}\": {why}"));
    let name = name.replace("~1", "/").replace("~0", "~");
    match input.pointer_mut(above) {
        Some(Value::Object(fields)) => {
            fields.insert(name, value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            let count = items.len();
            let place = name.parse().ok().and_then(|at: usize| items.get_mut(at));
            let place = place.ok_or_else(|| no_place(format!("there are {count} items here, from 0")))?;
            *place = value;
            Ok(())
        }
        Some(_) => Err(no_place("what is above it is neither an object nor a list".into())),
        None => Err(no_place("what is above it is not there".into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_where_its_path_says_and_nowhere_else() {
        let input = json!({ "question": "?", "sources": ["a", "b"], "deep": { "x": 1 } });
        for (path, expected) in [
            ("question", json!({ "question": 9, "sources": ["a", "b"], "deep": { "x": 1 } })),
            ("sources.1", json!({ "question": "?", "sources": ["a", 9], "deep": { "x": 1 } })),
            ("/deep/x", json!({ "question": "?", "sources": ["a", "b"], "deep": { "x": 9 } })),
            ("deep.y", json!({ "question": "?", "sources": ["a", "b"], "deep": { "x": 1, "y": 9 } })),
            (".", json!(9)),
        ] {
            let mut changed = input.clone();
            change(&mut changed, path, json!(9)).unwrap();
            assert_eq!(changed, expected, "{path}");
        }
        for path in ["sources.2", "sources.x", "question.x", "nothing.here"] {
            let refused = change(&mut input.clone(), path, json!(9)).unwrap_err().to_string();
            assert!(refused.contains(path), "{refused}");
        }
    }
}
