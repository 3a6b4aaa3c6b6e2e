//! One request under all that may end it early.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use callboard_agents::host::Host;
use callboard_agents::service::Handler;
use callboard_agents::{Context, Failure};
use callboard_broker::code;
use callboard_broker::error::{Class, Error, Remote};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use tokio::time::Instant;

use super::catch::CatchPanic;
use super::host::RequestHost;
use super::load::Load;
use super::quit::{Quit, Quits};
use super::slot::{Permit, Slots, Slotted};

/// How the work on a request ended.
#[derive(Debug)]
pub(crate) enum Worked {
    Done(Payload),
    /// The handler gave up.
    Failed(Remote),
    /// The handler panicked; nothing else did.
    Panicked(Remote),
    /// The time for this attempt was up.
    TimedOut(Duration),
    /// Nobody wants it any more.
    Unwanted(Error),
    /// The cell is going away.
    HandedBack,
    /// It only waits for these tasks, and would for long.
    Parked(Vec<TaskId>),
}

impl Worked {
    /// The reason, when the agent asked to be rebuilt.
    pub(crate) fn fatal(&self) -> Option<String> {
        match self {
            Self::Failed(remote) if remote.fatal => Some(remote.message.clone()),
            _ => None,
        }
    }
}

/// How long a handler may have nothing open but waits for tasks before its task is parked. One that waits for a person is
/// parked at once.
pub(crate) const PARK_AFTER: Duration = Duration::from_secs(20);

/// How long a handler that listens for its cancel may take to put things in order before it is dropped. What it returns
/// then is not recorded.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_millis(200);

/// Runs a handler until it ends, its time is up, `unwanted` resolves or the cell quits.
///
/// The host is ended before the handler's future is dropped, so that what falls out of it (a delegation it waited for)
/// is left alone. That also holds when this future is itself dropped, by a kill.
pub(crate) async fn work(
    handler: &Arc<dyn Handler>,
    host: &Arc<RequestHost>,
    request: Payload,
    (slots, held): (&Arc<Slots>, Option<Permit>),
    deadline: Instant,
    unwanted: impl Future<Output = Error>,
    quits: &Quits,
) -> Worked {
    let context = Context::new(host.clone());
    let handling = CatchPanic::new(async move { handler.handle(context, request).await });
    let mut handling = Box::pin(Slotted::new(handling, slots.clone(), host.load(), held));
    let mut handling = poll_fn(move |cx| {
        host.orphans.begin();
        let polled = handling.as_mut().poll(cx);
        host.orphans.end(matches!(polled, Poll::Pending | Poll::Ready(Ok(Ok(_)))));
        polled
    });
    let _ended = EndOnDrop(host);
    let load = host.load();
    let can_park = host.facts().task.is_some();
    let started = Instant::now();
    let name = || host.facts().agent.to_string();
    let worked = tokio::select! {
        biased;
        ended = &mut handling => match ended {
            Ok(Ok(response)) => Worked::Done(response),
            Ok(Err(failure)) => Worked::Failed(with_partial(failure, host)),
            Err(panic) => Worked::Panicked(with_partial(crash(&name(), panic), host)),
        },
        () = host.until_exhausted() => Worked::HandedBack,
        why = unwanted => {
            host.end(why.clone());
            if host.is_heeded() {
                // Whether it is done by then makes no difference.
                let _ = tokio::time::timeout(CANCEL_GRACE, &mut handling).await;
            }
            Worked::Unwanted(why)
        }
        () = tokio::time::sleep_until(deadline) => {
            let limit = deadline.saturating_duration_since(started);
            host.end(Error::Deadline { to: name().into(), limit });
            Worked::TimedOut(limit)
        }
        on = host.until_parkable(&load), if can_park => {
            host.end(Error::Cancelled { by: "the runtime: its task is parked".into() });
            Worked::Parked(on)
        }
        () = cannot_finish(quits, &load) => {
            host.end(Error::Cancelled { by: "the cell, which is stopping".into() });
            Worked::HandedBack
        }
    };
    match (host.cut_off(), worked) {
        (None, worked) | (_, worked @ Worked::Unwanted(_)) => worked,
        (Some(why), worked) => {
            let mut failed = with_partial(Failure::from(why), host);
            if let Worked::Failed(said) | Worked::Panicked(said) = worked {
                failed.partial = said.partial.or(failed.partial);
            }
            Worked::Failed(failed)
        }
    }
}

/// A stopping cell hands back what it is told to, and a parent that waits for tasks: it may wait for long, and finds them
/// again wherever it goes on.
async fn cannot_finish(quits: &Quits, load: &Load) {
    quits.until(Quit::Finish).await;
    tokio::select! {
        biased;
        () = quits.until(Quit::HandBack) => {}
        () = load.until_only_waits() => {}
    }
}

/// What a time-out leaves behind.
pub(crate) fn timed_out(agent: &str, limit: Duration, host: &RequestHost) -> Remote {
    let error = Error::Deadline { to: agent.into(), limit };
    with_partial(Failure::from(error), host)
}

fn crash(agent: &str, reason: String) -> Failure {
    Failure::from(Error::Crashed { to: agent.into(), reason: reason.into() })
}

fn with_partial(failure: Failure, host: &RequestHost) -> Remote {
    let mut remote = failure.into_remote();
    remote.partial = remote.partial.take().or_else(|| host.kept.take());
    remote
}

/// A request whose handler could not even be given its input.
pub(crate) fn no_agent(capability: &str) -> Remote {
    Remote {
        class: Class::Permanent,
        code: code::NO_AGENT.into(),
        message: format!("no agent available for task: all that serve {capability} declined it"),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    }
}

struct EndOnDrop<'a>(&'a RequestHost);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(Error::Cancelled { by: "the runtime: the request has ended".into() });
    }
}
