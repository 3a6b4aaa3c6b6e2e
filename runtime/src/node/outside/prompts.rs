//! Prompts from outside: each becomes a task, whose progress is told and whose output is the answer.
//!
//! A task and not an ask, because a prompt may take minutes and is worked on by many nodes: whatever becomes of one of
//! them, the work goes on. It ends when nobody waits for it any more: its deadline is that of the prompt, and when the
//! caller is known to have gone it is cancelled.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::prompt::{self, Request};
use callboard_agents::service::Door;
use callboard_agents::source::pack_files;
use callboard_agents::{Run, Value};
use callboard_broker::BoxFuture;
use callboard_broker::clock::millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::{
    Event, TASK_CANCELLED, TASK_COMPLETED, TASK_CREATED, TASK_EXPIRED, TASK_FAILED, TASK_SKIPPED,
};
use callboard_broker::events::{EventFilter, EventStream};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::nats::Link;
use callboard_broker::nats::outside::{
    AT_ONCE, Answer, Attachment, Caller, LIMIT, Offer, Options, Outside, Over, Prompt, may_attach,
};
use callboard_broker::payload::Payload;
use callboard_broker::task::Task;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::cell::hub::{Hub, Note, Said};
use crate::period::Period;
use crate::settings::node::Config;

/// Under whose name capabilities are offered unless the configuration says otherwise.
const OWNER: &str = "local";
/// What attached files are called together where sources are listed.
const ATTACHED: &str = "attachments";
/// The name of the file in which all of an output goes with an answer in words.
const OUTPUT: &str = "output.json";
/// How much of a prompt describes its task.
const DESCRIBED: usize = 200;
/// How much longer than the task its caller is answered, so that it is told what became of the task.
const GRACE: Duration = Duration::from_secs(10);
/// How long the facts that led to an end may come after it.
const CATCH_UP: Duration = Duration::from_secs(3);
/// The facts that end a task.
const ENDS: [&str; 5] = [TASK_COMPLETED, TASK_FAILED, TASK_CANCELLED, TASK_EXPIRED, TASK_SKIPPED];

/// What one prompt needs of the node.
#[derive(Clone)]
struct Desk {
    hub: Arc<Hub>,
    link: Arc<Link>,
    door: Arc<Door>,
    limit: Duration,
}

/// Opens the door to what is configured as public; none when nothing is.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub(super) async fn open(hub: &Arc<Hub>, link: &Arc<Link>, config: &Config) -> Result<Option<Outside>> {
    if config.public.is_empty() {
        return Ok(None);
    }
    let limit = config.limits.prompt_time.map_or(LIMIT, Period::length);
    let offers = config.public.iter().filter_map(|name| hub.registry.door(name)).map(|door| {
        let desk = Desk { hub: hub.clone(), link: link.clone(), door: Arc::new(door), limit };
        desk.offer()
    });
    let options = Options {
        at_once: config.limits.prompts.unwrap_or(AT_ONCE),
        limit: limit + GRACE,
        ..Options::new(config.owner.as_deref().unwrap_or(OWNER))
    };
    Outside::open(link.clone(), offers.collect(), options).await.map(Some)
}

impl Desk {
    fn offer(self) -> Offer {
        let door = self.door.clone();
        Offer {
            capability: door.capability.clone(),
            about: door.about.to_owned(),
            attachments: prompt::takes_attachments(&door),
            answer: Arc::new(move |prompt, caller| {
                let desk = self.clone();
                Box::pin(async move { desk.answer(prompt, &caller).await }) as BoxFuture<'static, _>
            }),
        }
    }

    async fn answer(&self, prompt: Prompt, caller: &Caller) -> Result<Answer> {
        let described = prompt.text.chars().take(DESCRIBED).collect();
        let request = self.request(prompt).await?;
        let tasks = self.hub.broker.tasks.clone();
        let (task, mut progress) = self.task(request.body, described).await?;
        let run = Run::<Value>::of_tasks(tasks.clone(), task.id.clone());
        tasks.submit(vec![task]).await.pop().unwrap_or_else(|| Err(Error::Unknown { what: "a prompt".into() }))?;
        let outcome = {
            let telling = async {
                progress.tell(caller).await;
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                outcome = run.outcome() => outcome,
                over = caller.over() => return Err(self.over(over, &run).await),
                never = telling => match never {},
            }
        };
        // What led to the end was recorded together with it, and is told before it.
        let _ = timeout(CATCH_UP, progress.tell(caller)).await;
        let output = outcome?;
        self.said(&output, request.in_words)
    }

    async fn request(&self, prompt: Prompt) -> Result<Request> {
        let Prompt { text, attachments } = prompt;
        let capability = &self.door.capability;
        let files = match (attachments.is_empty(), &self.hub.broker.blobs) {
            (true, _) => Vec::new(),
            (false, None) => return Err(Error::unavailable("this broker keeps no attachments")),
            (false, Some(blobs)) => {
                let files = attachments.into_iter().map(|one| (one.filename, one.bytes)).collect();
                vec![pack_files(ATTACHED, files, blobs).await?]
            }
        };
        let fits = |request: &Payload| self.hub.registry.fits(capability, request);
        prompt::request(&self.door, &text, files, fits)
    }

    /// The task of a prompt, and what will be told of it: listened to from before it is there.
    async fn task(&self, body: Value, described: String) -> Result<(Task, Progress)> {
        let (broker, run) = (&self.hub.broker, RunId::fresh());
        let now = broker.clock.now();
        let task = Task {
            from: Some(self.hub.name.to_string()),
            deadline: now.saturating_add(millis(self.limit)),
            description: Some(described),
            ..Task::root(run.clone(), self.door.capability.clone(), body.into(), now)
        };
        let from = broker.events.last().await? + 1;
        let filter = EventFilter { run: Some(run), types: vec!["task".into()] };
        let events = broker.events.follow(filter, from).await?;
        let notes = self.hub.notes.subscribe();
        let progress = Progress { root: task.id.clone(), events, notes, ended: false };
        Ok((task, progress))
    }

    /// Nobody waits any more, or nobody here can.
    async fn over(&self, over: Over, run: &Run<Value>) -> Error {
        match over {
            Over::Gone => {
                let by = "whoever prompted it has gone";
                if let Err(error) = run.cancel(by).await {
                    tracing::warn!(%error, run = run.id(), "what nobody waits for was not cancelled");
                }
                Error::Cancelled { by: by.into() }
            }
            Over::Leaving => {
                let (node, run) = (&self.hub.name, run.id());
                Error::unavailable(format!("node {node} stops and cannot wait for the answer; run {run} goes on"))
            }
        }
    }

    /// An answer in words to words, with all of the output beside it; to a request in JSON the output in JSON.
    fn said(&self, output: &Value, in_words: bool) -> Result<Answer> {
        let whole = output.to_string();
        let Some(words) = prompt::answer(&self.door, output).filter(|_| in_words) else {
            return Ok(Answer { text: whole, attachments: Vec::new() });
        };
        let attached = output.is_object() && may_attach(&self.link, whole.len());
        let file = Attachment { filename: OUTPUT.to_owned(), bytes: whole.into_bytes() };
        Ok(Answer { text: words, attachments: if attached { vec![file] } else { Vec::new() } })
    }
}

/// What happens to a run, in words: what is recorded of its tasks, and what agents of this node say meanwhile.
struct Progress {
    root: TaskId,
    events: Box<dyn EventStream>,
    notes: broadcast::Receiver<Note>,
    /// Whether the end of the run was heard.
    ended: bool,
}

impl Progress {
    /// Tells until the end of the run, or until nothing more can be heard.
    async fn tell(&mut self, caller: &Caller) {
        while !self.ended {
            let Some(words) = self.next().await else { return };
            caller.progress(&words).await;
        }
    }

    /// The next thing worth telling; none when nothing more will be heard.
    async fn next(&mut self) -> Option<String> {
        loop {
            let words = tokio::select! {
                event = self.events.next() => match event {
                    Ok(event) => {
                        self.ended |= event.task.as_ref() == Some(&self.root) && ENDS.contains(&event.kind.as_str());
                        happened(&event)
                    }
                    Err(Error::Lagged { .. }) => None,
                    Err(error) => {
                        tracing::debug!(%error, "progress cannot be followed");
                        return None;
                    }
                },
                note = self.notes.recv() => match note {
                    Ok(note) => self.noted(&note),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return None,
                },
            };
            if words.is_some() {
                return words;
            }
        }
    }

    fn noted(&self, note: &Note) -> Option<String> {
        let is_ours = note.task.as_ref().is_some_and(|task| task.run() == self.root.run());
        match &note.what {
            Said::Progress { done, note: words } if is_ours => {
                Some(format!("{}: {:.0} % {words}", note.agent, done * 100.0))
            }
            _ => None,
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, payload: Value) -> Event {
        Event { seq: 1, time: 1, kind: kind.into(), agent: "a".into(), run: None, task: None, payload: payload.into() }
    }

    #[test]
    fn what_happens_to_a_task_is_told_with_its_capability() {
        let web = json!({ "capability": "research.web", "attempt": 1 });
        assert_eq!(happened(&event("task.started", web.clone())).as_deref(), Some("research.web started"));
        assert_eq!(happened(&event("task.created", web)), None);
        assert_eq!(happened(&event("task.failed", json!({}))), None);
    }
}
