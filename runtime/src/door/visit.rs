//! A run that somebody listens to: what is recorded of its tasks and what agents of this node say, and then its end.

use std::time::Duration;

use callboard_agents::human::{CALLER, PREFIX};
use callboard_agents::{Run, Value};
use callboard_broker::error::{Error, Result};
use callboard_broker::event::{
    Event, TASK_CANCELLED, TASK_COMPLETED, TASK_CREATED, TASK_EXPIRED, TASK_FAILED, TASK_SKIPPED,
};
use callboard_broker::events::{EventFilter, EventStream};
use callboard_broker::id::TaskId;
use callboard_broker::{BoxFuture, Broker};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use crate::cell::hub::{Note, Said};

/// How long the facts that led to an end may come after it.
const CATCH_UP: Duration = Duration::from_secs(3);
/// The facts that end a task.
const ENDS: [&str; 5] = [TASK_COMPLETED, TASK_FAILED, TASK_CANCELLED, TASK_EXPIRED, TASK_SKIPPED];

/// What a listener hears.
#[derive(Debug)]
pub enum Told {
    /// How far it is, in words: `research.web started`.
    Progress(String),
    /// An agent asks its caller something: the task that is the question.
    Asked(TaskId),
    /// It has ended, with its output or with why there is none. Nothing follows.
    End(Result<Value>),
}

/// A run that somebody listens to. Dropping it ends the listening and not the run.
pub struct Visit {
    run: Run<Value>,
    outcome: BoxFuture<'static, Result<Value>>,
    progress: Progress,
    /// How it ended, while what led to that is still to be told; and until when.
    ended: Option<(Result<Value>, Instant)>,
}

impl Visit {
    pub(super) fn of(run: Run<Value>, progress: Progress) -> Self {
        let waiting = run.clone();
        Self { outcome: Box::pin(async move { waiting.outcome().await }), run, progress, ended: None }
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        self.run.id()
    }

    /// The next thing to tell; [`Told::End`] is the last one.
    ///
    /// # Cancellation
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some((_, until)) = self.ended {
                // What led to the end was recorded together with it, and is told before it.
                if let Ok(Some(told)) = timeout_at(until, self.progress.next()).await {
                    return told;
                }
                if let Some((end, _)) = self.ended.take() {
                    return Told::End(end);
                }
            }
            // The end is waited for from the first moment on, however much there is to tell: a node that leaves begins no
            // new waits.
            tokio::select! {
                biased;
                end = &mut self.outcome => self.ended = Some((end, Instant::now() + CATCH_UP)),
                told = self.progress.until_something() => return told,
            }
        }
    }

    /// Cancels the run, as `by`.
    pub fn cancel(&self, by: &str) -> impl Future<Output = ()> + Send + 'static {
        let (run, by) = (self.run.clone(), by.to_owned());
        async move {
            if let Err(error) = run.cancel(&by).await {
                tracing::warn!(%error, run = run.id(), "what nobody waits for was not cancelled");
            }
        }
    }
}

/// What happens to a run, in words.
pub(super) struct Progress {
    root: TaskId,
    events: Box<dyn EventStream>,
    /// None where nobody says anything any more.
    notes: Option<broadcast::Receiver<Note>>,
    /// Whether nothing more will be heard: the end was, or the facts cannot be followed.
    over: bool,
}

impl Progress {
    pub(super) async fn listen(
        broker: &Broker,
        root: &TaskId,
        notes: Option<broadcast::Receiver<Note>>,
    ) -> Result<Self> {
        let from = broker.events.last().await? + 1;
        let filter = EventFilter { run: Some(root.run()), types: vec!["task".into()] };
        let events = broker.events.follow(filter, from).await?;
        Ok(Self { root: root.clone(), events, notes, over: false })
    }

    async fn until_something(&mut self) -> Told {
        match self.next().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    /// The next thing worth telling; none when nothing more will be heard.
    async fn next(&mut self) -> Option<Told> {
        while !self.over {
            let told = tokio::select! {
                event = self.events.next() => match event {
                    Ok(event) => self.happened(&event),
                    Err(Error::Lagged { .. }) => None,
                    Err(error) => {
                        tracing::debug!(%error, "progress cannot be followed");
                        self.over = true;
                        None
                    }
                },
                note = said(&mut self.notes) => match note {
                    Ok(note) => self.noted(&note),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => {
                        self.notes = None;
                        None
                    }
                },
            };
            if told.is_some() {
                return told;
            }
        }
        None
    }

    fn happened(&mut self, event: &Event) -> Option<Told> {
        self.over |= event.task.as_ref() == Some(&self.root) && ENDS.contains(&event.kind.as_str());
        question(event).map(Told::Asked).or_else(|| happened(event).map(Told::Progress))
    }

    fn noted(&self, note: &Note) -> Option<Told> {
        let is_ours = note.task.as_ref().is_some_and(|task| task.run() == self.root.run());
        match &note.what {
            Said::Progress { done, note: words } if is_ours => {
                Some(Told::Progress(format!("{}: {:.0} % {words}", note.agent, done * 100.0)))
            }
            _ => None,
        }
    }
}

async fn said(notes: &mut Option<broadcast::Receiver<Note>>) -> std::result::Result<Note, RecvError> {
    match notes {
        Some(notes) => notes.recv().await,
        None => std::future::pending().await,
    }
}

fn happened(event: &Event) -> Option<String> {
    if event.kind == TASK_CREATED {
        return None;
    }
    let payload = event.payload.value().ok()?;
    let verb = event.kind.strip_prefix("task.")?;
    Some(format!("{} {verb}", payload["capability"].as_str()?))
}

/// The question to the caller that this event tells of. What other people are asked is no affair of a stranger.
fn question(event: &Event) -> Option<TaskId> {
    let task = event.task.as_ref().filter(|_| event.kind == TASK_CREATED)?;
    let is_for_caller = event.payload.value().ok()?["capability"].as_str()?.strip_prefix(PREFIX)? == CALLER;
    is_for_caller.then(|| task.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, payload: Value) -> Event {
        let task = TaskId::parse("r1").ok();
        Event { seq: 1, time: 1, kind: kind.into(), agent: "a".into(), run: None, task, payload: payload.into() }
    }

    #[test]
    fn what_happens_to_a_task_is_told_with_its_capability() {
        let web = json!({ "capability": "research.web", "attempt": 1 });
        assert_eq!(happened(&event("task.started", web.clone())).as_deref(), Some("research.web started"));
        assert_eq!(happened(&event("task.created", web)), None);
        assert_eq!(happened(&event("task.failed", json!({}))), None);
    }

    #[test]
    fn only_what_the_caller_is_asked_is_a_question() {
        let asked = |queue: &str| question(&event("task.created", json!({ "capability": queue })));
        assert!(asked("human.caller").is_some());
        assert_eq!((asked("human.finance"), asked("diag.echo")), (None, None));
    }
}
