//! Asks and notifications.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::host::{Answer, Call};
use callboard_broker::error::{Class, Error, Result};
use callboard_broker::lineage;
use callboard_broker::messages::{ASK_DEADLINE, Message, TTL};
use callboard_broker::payload::Payload;
use tokio::sync::watch;
use tokio::time::Instant;

use super::RequestHost;
use super::ending::unless;
use crate::apart::apart;
use crate::cell::hub::Hub;
use crate::cell::pool::after;
use crate::resilience::breaker::Seen;
use crate::resilience::pass::Pass;
use crate::telemetry;

impl RequestHost {
    /// What is sent; at most `limit`, or the deadline of the call, and never longer than the request itself. `told`: nobody
    /// waits for what becomes of it.
    fn message(&self, call: Call, limit: Duration, told: bool) -> Result<Message> {
        self.grants.call(&call.capability)?;
        let limit = call.deadline.unwrap_or(limit);
        let mut hops = self.chain.hops(&self.facts);
        // Before its own, which comes last.
        if let Some(origins) = lineage::origins(&self.desk.taint().origins()) {
            hops.insert(hops.len().saturating_sub(1), origins);
        }
        hops.extend(told.then(lineage::told));
        // Whoever tells itself something again and again has come over more and more of them.
        hops.drain(..hops.len().saturating_sub(lineage::KEPT));
        Ok(Message {
            to: call.to,
            capability: call.capability,
            from: self.facts.agent.clone(),
            body: call.body,
            deadline: after(Instant::now(), limit).min(self.facts.deadline),
            run: self.facts.run.clone(),
            hops,
            traceparent: telemetry::here(self.trace),
        })
    }

    pub(super) async fn put(&self, call: Call) -> Result<Answer> {
        let _open = self.load.call();
        self.live()?;
        let link = self.chain.check(&self.facts, &call)?;
        self.repeats().check(&link, self.chain.repeats())?;
        let message = self.message(call, ASK_DEADLINE, false)?;
        let (started, agent) = (Instant::now(), message.to.to_string());
        // Who hangs on an ask that has a place and waits for another could wait for ever.
        let asked = asked(self.hub.clone(), message, !self.chain.is_asked(), self.ended.subscribe());
        let answered = apart(asked).await;
        match &answered {
            Ok(body) => self.repeats().note(link, || body.content_hash().ok()),
            Err(error) if error.class() == Class::Permanent => self.repeats().note(link, || Some(error.to_string())),
            Err(_) => {}
        }
        let body = answered?;
        Ok(Answer { body, agent: agent.into(), took: started.elapsed() })
    }

    pub(super) async fn notify(&self, call: Call) -> Result<()> {
        let _open = self.load.call();
        // A notification outlives the request that sent it, so the request's own deadline does not shorten it.
        let limit = call.deadline.unwrap_or(TTL);
        let message = Message { deadline: after(Instant::now(), limit), ..self.message(call, limit, true)? };
        let told = self.within(async { Ok(self.hub.broker.messages.tell(vec![message]).await) }).await?;
        told.into_iter().next().unwrap_or_else(|| Err(Error::Unknown { what: "a notification".into() }))
    }
}

/// Asks: within the bulkhead of the capability, unless it needs no place there, and as its breaker allows.
async fn asked(
    hub: Arc<Hub>,
    message: Message,
    needs_place: bool,
    ended: watch::Receiver<Option<Error>>,
) -> Result<Payload> {
    let capability = message.capability.clone();
    let _place = match needs_place {
        true => Some(unless(ended.clone(), hub.bulkheads.enter(&capability, message.deadline)).await?),
        false => None,
    };
    let mut pass = unless(ended.clone(), Pass::to(hub.breakers.clone(), &capability)).await?;
    let answered = unless(ended, hub.broker.messages.ask(message)).await;
    pass.ended(seen(&answered)).await;
    answered
}

/// What an answer says of who was asked. That nobody was there to be asked is known at once, and needs no breaker.
fn seen(answered: &Result<Payload>) -> Seen {
    match answered {
        Ok(_) => Seen::Success,
        Err(Error::NoRecipient { .. }) => Seen::Nothing,
        Err(error) => Seen::of(error.class()),
    }
}
