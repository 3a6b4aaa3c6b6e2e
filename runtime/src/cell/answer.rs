//! One message: work on it, then answer. At most once: what fails is told to the asker and not tried again.

use std::sync::Arc;

use callboard_agents::host::Facts;
use callboard_agents::service::Handler;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Error, Remote, Result};
use callboard_broker::messages::{Incoming, ReplyTo};
use callboard_broker::payload::Payload;
use callboard_broker::trace::TraceContext;
use tokio::time::Instant;
use tracing::Instrument;

use super::chain::Chain;
use super::grants::Grants;
use super::host::RequestHost;
use super::pool::{Pool, after};
use super::quit::Quits;
use super::slot::{Permit, Slots};
use super::stats::Ended;
use super::work::{Worked, timed_out, work};
use crate::telemetry;

/// A message at its cell.
pub(crate) struct Answering {
    pub(crate) pool: Arc<Pool>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) held: Option<Permit>,
    pub(crate) quits: Quits,
}

impl Answering {
    /// Runs it. The reason, when the agent asked to be rebuilt.
    pub(crate) async fn run(self, incoming: Incoming) -> Option<String> {
        let span = tracing::info_span!(
            "agent.request",
            capability = %incoming.message.capability, from = &*incoming.message.from,
            run = incoming.message.run.as_ref().map(tracing::field::display),
            node = %self.pool.hub.name, agent = &*self.pool.name,
        );
        let trace = telemetry::request(&span, incoming.message.traceparent);
        self.work(incoming, trace).instrument(span).await
    }

    async fn work(mut self, incoming: Incoming, trace: Option<TraceContext>) -> Option<String> {
        if let Err(error) = self.handler.fits(&incoming.message.body) {
            telemetry::ended("failed", Some(error.code()));
            incoming.refuse(Reason::Undecodable, &error.to_string());
            return None;
        }
        let Incoming { message, reply, place, .. } = incoming;
        let hub = self.pool.hub.clone();
        let _running = (self.pool.stats.begin(), hub.stats.begin());
        let began = Instant::now();
        let limit = self.pool.options.deadline;
        let deadline = limit.map_or(message.deadline, |limit| message.deadline.min(after(began, limit)));
        let capability = message.capability.clone();
        let facts = Facts {
            agent: self.pool.name.clone(),
            capability: message.capability,
            task: None,
            run: message.run,
            team: self.pool.team.clone(),
            attempt: 1,
            again: false,
            attempts: 1,
            deadline,
            // Only tasks name one.
            model: None,
        };
        let chain = Chain::of_message(message.hops, &message.body);
        let grants = Grants::new(&facts, self.pool.grants.clone());
        let host = RequestHost::new(hub.clone(), facts, grants, None, chain, trace);
        let unwanted = reply.as_ref().map(ReplyTo::unwanted);
        let asker_gone = async {
            match unwanted {
                Some(unwanted) => unwanted.await,
                None => std::future::pending().await,
            }
            Error::Cancelled { by: "its asker, who no longer waits".into() }
        };
        let slots = (&self.slots, self.held.take());
        let worked = work(&self.handler, &host, message.body, slots, deadline, asker_gone, &self.quits).await;
        let fatal = worked.fatal();
        let (answer, ended) = self.answer(worked, &host);
        let (code, node) = (answer.as_ref().err().map(Error::code), hub.name.as_str());
        let by = telemetry::By { node, agent: &self.pool.name, capability: capability.as_str(), kind: "message" };
        telemetry::ended(ended.word(), code);
        telemetry::worked(&by, ended.word(), code, began.elapsed());
        self.pool.stats.ended(ended, began.elapsed());
        hub.stats.ended(ended, began.elapsed());
        drop(place);
        match (reply, answer) {
            (Some(reply), answer) => reply.send(answer),
            (None, Err(error)) => tracing::info!(%error, "a notification came to nothing"),
            (None, Ok(_)) => {}
        }
        fatal
    }

    fn answer(&self, worked: Worked, host: &RequestHost) -> (Result<Payload>, Ended) {
        let name = || self.pool.name.as_ref().into();
        match worked {
            Worked::Done(response) => (Ok(response), Ended::Done),
            Worked::Failed(remote) => (Err(self.failed(remote)), Ended::Failed),
            Worked::Panicked(remote) => {
                self.pool.stats.panicked();
                (Err(Error::Crashed { to: name(), reason: crash_reason(&remote).into() }), Ended::Failed)
            }
            Worked::TimedOut(limit) => {
                let error = match host.kept.is_set() {
                    true => self.failed(timed_out(&self.pool.name, limit, host)),
                    false => Error::Deadline { to: name(), limit },
                };
                (Err(error), Ended::Failed)
            }
            Worked::Unwanted(error) => (Err(error), Ended::Withdrawn),
            Worked::HandedBack | Worked::Parked(_) => {
                (Err(Error::Cancelled { by: "the node, which is stopping".into() }), Ended::Withdrawn)
            }
        }
    }

    fn failed(&self, failure: Remote) -> Error {
        Error::Failed { to: self.pool.name.as_ref().into(), failure: Box::new(failure) }
    }
}

/// The panic's own words, without the sentence that was put around them on the way.
fn crash_reason(remote: &Remote) -> &str {
    remote.message.split_once("crashed: ").map_or(remote.message.as_str(), |(_, reason)| reason)
}
