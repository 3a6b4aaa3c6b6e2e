//! One task, its handler run again from the beginning of its last attempt.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::Duration;

use callboard_agents::host::{Facts, Served};
use callboard_agents::llm::Models;
use callboard_agents::service::Handler;
use callboard_agents::tool::{Taint, Toolbox};
use callboard_agents::{Context, Failure, Grant};
use callboard_broker::error::{Error, Remote, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::task::{Outcome, Record, Status, was_begun};
use callboard_broker::tasks::TaskView;
use callboard_broker::{Broker, code};
use serde_json::json;
use tokio::time::Instant;

use super::Verdict;
use super::book::{Book, Over};
use super::host::{Given, ReplayHost};
use super::past::Past;
use crate::cell::catch::CatchPanic;
use crate::cell::chain::Chain;
use crate::cell::effects::Effects;
use crate::cell::grants::Grants;

/// How many outcomes are read at a time.
const PAGE: usize = 256;
/// What a deadline says that is no concern of a replay.
const EVER: Duration = Duration::from_secs(24 * 3600);

/// Who serves a capability.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) name: Arc<str>,
    pub(super) team: Arc<str>,
    pub(super) grants: Arc<[Grant]>,
    pub(super) handler: Arc<dyn Handler>,
}

/// What is there for all tasks of a replay.
pub(super) struct Around<'a> {
    pub(super) served: &'a [Served],
    pub(super) toolbox: &'a Toolbox,
    pub(super) models: Option<Arc<Models>>,
}

/// How a handler came to its end.
enum Ended {
    With(Result<Payload, Remote>),
    /// What it asked for was not there.
    Over,
    TooLate,
}

/// Runs the handler of a task again; what came of it, and how many records were asked for.
pub(super) async fn replay(
    broker: &Broker,
    agent: &Agent,
    view: &TaskView,
    around: &Around<'_>,
    patience: Duration,
) -> Result<(Verdict, u64)> {
    let task = &view.task;
    let log = broker.tasks.log(task.id.clone()).await?;
    let host = host(broker, agent, view, &log, around).await?;
    let ended = run(&agent.handler, &host, task.input.clone(), patience).await;
    let verdict = judge(&host, view.outcome.as_ref(), ended, patience);
    Ok((verdict, host.with_book(|book| book.asked())))
}

async fn host(
    broker: &Broker,
    agent: &Agent,
    view: &TaskView,
    log: &[Record],
    around: &Around<'_>,
) -> Result<Arc<ReplayHost>> {
    let (task, outcome) = (&view.task, view.outcome.as_ref());
    let is_complete = outcome.is_some_and(|outcome| outcome.status == Status::Completed);
    let book = Book::new(&task.id, log, is_complete);
    let attempt = outcome.map_or(view.attempt, |outcome| outcome.attempt).max(1);
    let facts = Facts {
        agent: agent.name.clone(),
        capability: task.capability.clone(),
        task: Some(task.id.clone()),
        run: Some(task.run.clone()),
        team: agent.team.clone(),
        attempt,
        again: was_begun(attempt, log),
        attempts: task.retry.attempts,
        deadline: Instant::now() + EVER,
        model: task.model.as_deref().map(Into::into),
    };
    let began = outcome.and_then(|outcome| outcome.started_at).or(view.started_at).unwrap_or(task.created_at);
    let reading = Arc::new(AtomicUsize::new(0));
    let past = Past::new(broker.states.clone(), task.id.clone(), began, reading.clone());
    let mut served = around.served.to_vec();
    for capability in book.capabilities() {
        if served.iter().all(|one| one.capability != capability) {
            served.push(Served { capability, about: "".into(), request: Arc::new(json!({})) });
        }
    }
    let grants = Grants::new(&facts, agent.grants.clone());
    let taint = Taint::default();
    Chain::of_task(task).came_from().iter().for_each(|origin| taint.add(origin));
    Ok(ReplayHost::new(Given {
        desk: grants.desk(around.toolbox, taint),
        models: around.models.clone(),
        grants,
        ended: ended(broker, book.children()).await?,
        effects: Arc::new(Effects::new(task, log)),
        broker: broker.clone(),
        facts,
        book,
        past,
        served,
        reading,
    }))
}

/// How these tasks ended, those of them that have.
async fn ended(broker: &Broker, children: Vec<TaskId>) -> Result<HashMap<TaskId, (u64, Outcome)>> {
    let mut ended = HashMap::new();
    for some in children.chunks(PAGE) {
        for view in broker.tasks.get(some.to_vec()).await?.into_iter().flatten() {
            ended.extend(view.outcome.map(|outcome| (view.task.id, (view.seq, outcome))));
        }
    }
    Ok(ended)
}

/// Polls a handler to its end. Whenever it can go no further, the first of the children that it waits for is over: so races
/// between them end as they did.
async fn run(handler: &Arc<dyn Handler>, host: &Arc<ReplayHost>, input: Payload, patience: Duration) -> Ended {
    let (context, handler) = (Context::new(host.clone()), handler.clone());
    let mut handling = CatchPanic::new(async move { handler.handle(context, input).await });
    let polled = poll_fn(|cx| {
        loop {
            let polled = std::pin::Pin::new(&mut handling).poll(cx);
            if host.with_book(|book| book.over().is_some()) {
                return Poll::Ready(Ended::Over);
            }
            match polled {
                Poll::Ready(Ok(done)) => {
                    return Poll::Ready(Ended::With(done.map_err(|failure| with_partial(failure, host))));
                }
                Poll::Ready(Err(panic)) => {
                    let to = host_name(host);
                    let crash = Failure::from(Error::Crashed { to: to.into(), reason: panic.into() });
                    return Poll::Ready(Ended::With(Err(with_partial(crash, host))));
                }
                Poll::Pending if host.end_next() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    tokio::time::timeout(patience, polled).await.unwrap_or(Ended::TooLate)
}

fn host_name(host: &ReplayHost) -> String {
    use callboard_agents::host::Host;
    host.facts().agent.to_string()
}

fn with_partial(failure: Failure, host: &ReplayHost) -> Remote {
    let mut remote = failure.into_remote();
    remote.partial = remote.partial.take().or_else(|| host.kept.take());
    remote
}

fn judge(host: &ReplayHost, recorded: Option<&Outcome>, ended: Ended, patience: Duration) -> Verdict {
    let degraded = host.degraded();
    host.with_book(|book| {
        match (ended, recorded) {
            (Ended::Over, _) => {}
            (Ended::TooLate, _) => drop(book.cut(format!("its handler took longer than {} s", patience.as_secs()))),
            (Ended::With(_), None) => drop(book.cut("it has not ended".into())),
            (Ended::With(came_to), Some(outcome)) => compare(book, outcome, came_to, &degraded),
        }
        match book.over() {
            None => Verdict::Identical,
            Some(Over::Cut(why)) => Verdict::Cut { why: why.clone() },
            Some(Over::Diverged(found)) => Verdict::Diverged(found.clone()),
        }
    })
}

fn compare(book: &mut Book, outcome: &Outcome, came_to: Result<Payload, Remote>, degraded: &[String]) {
    let (status, at) = (outcome.status.as_str(), outcome.finished_at);
    if is_of_others(outcome) {
        let why = outcome.error.as_ref().map_or("", |error| error.message.as_str());
        drop(book.cut(format!("it was not its handler that ended it: {status}, {why}")));
        return;
    }
    let was = match &outcome.error {
        None => outcome.output.json().unwrap_or("what is no JSON").to_owned(),
        Some(error) => told(error),
    };
    let is = match &came_to {
        Ok(output) => output.json().map_or_else(|error| error.to_string(), str::to_owned),
        Err(error) => told(error),
    };
    book.close(&format!("its end: {}", is.chars().take(120).collect::<String>()));
    if book.over().is_some() {
        return;
    }
    if was != is || came_to.is_ok() != (outcome.status == Status::Completed) {
        book.ends(status, at, &was, &is);
    } else if came_to.is_ok() && outcome.degraded.is_some() == degraded.is_empty() {
        let is = if degraded.is_empty() { "not degraded".to_owned() } else { degraded.join("; ") };
        book.ends(status, at, outcome.degraded.as_deref().unwrap_or("not degraded"), &is);
    }
}

/// Whether a task was ended by somebody else than its handler: then nobody knows what that would have come to.
fn is_of_others(outcome: &Outcome) -> bool {
    let by_others = [
        code::VERSION,
        code::EXHAUSTED,
        code::DEADLINE,
        code::ATTEMPTS,
        code::DEADLY,
        code::NO_AGENT,
        code::CORRUPT_STORE,
    ];
    match (outcome.status, &outcome.error) {
        (Status::Completed, _) => false,
        (Status::Failed, Some(error)) => by_others.contains(&error.code.as_str()),
        _ => true,
    }
}

/// A failure as text, with all of it that does not depend on the time.
fn told(error: &Remote) -> String {
    let partial = error.partial.as_ref().and_then(|partial| partial.json().ok()).unwrap_or_default();
    // What the retry budget of the run had to say is not the handler's.
    let message = error.message.split(": not tried again, the retry budget").next().unwrap_or_default();
    format!("{} {message} {partial}", error.code)
}
