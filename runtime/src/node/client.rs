//! What a program outside any agent may do through a node: the same calls, in the node's own name.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::TaskInfo;
use callboard_agents::host::{Answer, Call, Facts, Host, Order, Served, Standing};
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::NewEvent;
use callboard_broker::id::TaskId;
use callboard_broker::messages::{ASK_DEADLINE, Broadcast, Message, TTL};
use callboard_broker::payload::Payload;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome};
use callboard_broker::tasks::Until;
use tokio::time::Instant;

use crate::cell::hub::Hub;
use crate::cell::pool::after;
use crate::telemetry;

/// A year: a client's own requests end by their own deadlines.
const EVER: Duration = Duration::from_secs(366 * 24 * 3600);

/// The host of a node's own calls.
pub(crate) struct Client {
    hub: Arc<Hub>,
    facts: Facts,
}

impl Client {
    pub(crate) fn new(hub: &Arc<Hub>, capability: CapabilityName) -> Arc<Self> {
        let facts = Facts {
            agent: hub.name.as_str().into(),
            capability,
            task: None,
            run: None,
            team: hub.name.as_str().into(),
            attempt: 1,
            again: false,
            attempts: 1,
            deadline: Instant::now() + EVER,
            model: None,
        };
        Arc::new(Self { hub: hub.clone(), facts })
    }

    fn message(&self, call: Call, limit: Duration) -> Message {
        Message {
            to: call.to,
            capability: call.capability,
            from: self.facts.agent.clone(),
            body: call.body,
            deadline: after(Instant::now(), call.deadline.unwrap_or(limit)),
            run: None,
            hops: Vec::new(),
            traceparent: telemetry::here(None),
        }
    }

    fn only_agents<T>(&self, what: &str) -> Result<T> {
        Err(Error::Denied { who: (&*self.facts.agent).into(), what: format!("{what}: it runs no task").into() })
    }
}

impl Host for Client {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn ask(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(async move {
            let message = self.message(call, ASK_DEADLINE);
            let (started, agent) = (Instant::now(), message.to.to_string());
            let body = self.hub.broker.messages.ask(message).await?;
            Ok(Answer { body, agent: agent.into(), took: started.elapsed() })
        })
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let told = self.hub.broker.messages.tell(vec![self.message(call, TTL)]).await;
            told.into_iter().next().unwrap_or_else(|| Err(Error::Unknown { what: "a notification".into() }))
        })
    }

    fn broadcast(&self, topic: &str, body: Payload) -> BoxFuture<'_, Result<()>> {
        let broadcast = Broadcast { topic: topic.into(), from: self.facts.agent.clone(), body };
        self.hub.broker.messages.broadcast(broadcast)
    }

    fn delegate(&self, _order: Order) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move { self.only_agents("delegate") })
    }

    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let outcome = self.hub.broker.tasks.wait(vec![child.clone()], Until::All, EVER).await?.pop();
            outcome.ok_or_else(|| Error::Deadline { to: format!("task {child}").into(), limit: EVER })
        })
    }

    fn abandon(&self, _child: TaskId) {}

    fn recorded(&self, _step: &str) -> Result<Option<Payload>> {
        Ok(None)
    }

    fn effect(&self, _name: &str) -> BoxFuture<'_, Result<Standing>> {
        Box::pin(async move { self.only_agents("have an effect") })
    }

    fn record(&self, _entry: Entry) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.only_agents("record a step") })
    }

    fn states(&self) -> Arc<dyn States> {
        self.hub.broker.states.clone()
    }

    fn emit(&self, kind: &str, fact: Payload) -> BoxFuture<'_, Result<()>> {
        let agent = self.facts.agent.to_string();
        let event = NewEvent { kind: kind.into(), agent, run: None, task: None, payload: fact };
        Box::pin(async move {
            event.check()?;
            let published = self.hub.broker.events.publish(vec![event]).await;
            published.into_iter().next().map_or(Ok(()), |seq| seq.map(drop))
        })
    }

    fn progress(&self, _done: f32, _note: String) {}

    fn say(&self, _text: String) {}

    fn keep(&self, _partial: Payload) {}

    fn served(&self) -> Vec<Served> {
        self.hub.registry.served()
    }

    fn is_declined(&self, task: &TaskInfo) -> bool {
        self.hub.registry.is_declined(task)
    }

    fn cancelled(&self) -> BoxFuture<'_, Error> {
        Box::pin(std::future::pending())
    }
}
