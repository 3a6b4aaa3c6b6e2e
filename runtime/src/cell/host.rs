//! The inside of a `Context`: what the runtime does when an agent calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_agents::TaskInfo;
use callboard_agents::host::{Answer, Call, Facts, Host, Order, Served, Spend, Standing};
use callboard_broker::BoxFuture;
use callboard_broker::blobs::Blobs;
use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::NewEvent;
use callboard_broker::id::TaskId;
use callboard_broker::messages::{ASK_DEADLINE, Broadcast, Message, TTL};
use callboard_broker::payload::Payload;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome};
use callboard_broker::tasks::Until;
use callboard_broker::trace::TraceContext;
use tokio::sync::watch;
use tokio::time::Instant;

use super::account::Account;
use super::chain::Chain;
use super::grants::{Grants, Guarded};
use super::hub::{Hub, Kept, Note, Said};
use super::journal::Journal;
use super::orphans::Orphans;
use super::slot::Load;
use crate::resilience::breaker::Seen;
use crate::telemetry;

/// Wait before a wait for a child is begun again that the store could not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The most reasons why a result is degraded that its outcome names.
const REASONS: usize = 10;

/// One request's host.
pub(crate) struct RequestHost {
    hub: Arc<Hub>,
    facts: Facts,
    grants: Grants,
    journal: Option<Arc<Journal>>,
    load: Arc<Load>,
    chain: Chain,
    /// The trace of what is asked and delegated outside of any span.
    trace: Option<TraceContext>,
    pub(crate) orphans: Arc<Orphans>,
    /// Set once, when the request has ended or is no longer wanted.
    ended: watch::Sender<Option<Error>>,
    /// Set once, when the budget of the run has run out.
    exhausted: watch::Sender<Option<Error>>,
    pub(crate) kept: Kept,
    degraded: Mutex<Vec<String>>,
}

impl RequestHost {
    pub(crate) fn new(
        hub: Arc<Hub>,
        facts: Facts,
        grants: Grants,
        journal: Option<Arc<Journal>>,
        chain: Chain,
        trace: Option<TraceContext>,
    ) -> Arc<Self> {
        let ((ended, _), (exhausted, _)) = (watch::channel(None), watch::channel(None));
        let orphans = Orphans::new(hub.broker.tasks.clone(), &facts.agent);
        let (load, kept, degraded) = (Arc::default(), Kept::default(), Mutex::default());
        Arc::new(Self { hub, facts, grants, journal, load, chain, trace, orphans, ended, exhausted, kept, degraded })
    }

    pub(crate) fn load(&self) -> Arc<Load> {
        self.load.clone()
    }

    /// From now on every call answers `Cancelled`, and what the handler drops is left alone.
    pub(crate) fn end(&self, why: Error) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(why);
            }
            first
        });
    }

    /// How the result comes about, when it is not what was asked for.
    pub(crate) fn degraded(&self) -> Option<String> {
        let reasons = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        let more = reasons.len().saturating_sub(REASONS);
        let mut told = reasons.iter().take(REASONS).cloned().collect::<Vec<_>>();
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn live(&self) -> Result<()> {
        self.ended.borrow().as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }

    fn journal(&self, what: &str) -> Result<&Arc<Journal>> {
        self.journal.as_ref().ok_or_else(|| Error::Denied {
            who: (&*self.facts.agent).into(),
            what: format!("{what} while it answers an ask: only a task has a log to keep it in").into(),
        })
    }

    /// Runs a call under the request's end: an end that comes first wins.
    async fn within<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.live()?;
        let mut ended = self.ended.subscribe();
        tokio::select! {
            result = call => result,
            why = ended.wait_for(Option::is_some) => {
                let why = why.ok().and_then(|why| why.clone());
                Err(why.unwrap_or_else(|| Error::Cancelled { by: "the runtime".into() }))
            }
        }
    }

    fn message(&self, call: Call, limit: Duration) -> Result<Message> {
        self.grants.call(&call.capability)?;
        let limit = call.deadline.unwrap_or(limit);
        Ok(Message {
            to: call.to,
            capability: call.capability,
            from: self.facts.agent.clone(),
            body: call.body,
            deadline: (Instant::now() + limit).min(self.facts.deadline),
            run: self.facts.run.clone(),
            hops: self.chain.hops(&self.facts),
            traceparent: telemetry::here(self.trace),
        })
    }

    fn account(&self) -> Option<&Account> {
        self.journal.as_ref().and_then(|journal| journal.account())
    }

    /// When the budget of the run has run out, the whole request ends with that, whatever its handler makes of it.
    async fn bound<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Exhausted { .. }) = &result {
            self.look_for_exhaustion().await;
        }
        result
    }

    /// As [`bound`](Self::bound), for a child that ended so.
    async fn bound_by(&self, outcome: Option<&Outcome>) {
        let error = outcome.and_then(|outcome| outcome.error.as_ref());
        if error.is_some_and(|error| error.code == code::EXHAUSTED) {
            self.look_for_exhaustion().await;
        }
    }

    async fn look_for_exhaustion(&self) {
        let Some(account) = self.account() else { return };
        if let Ok(Some(error)) = account.is_exhausted(&self.hub.broker).await {
            self.exhausted.send_replace(Some(error));
        }
    }

    /// Resolves when the budget of the run has run out, as far as this request has seen.
    pub(crate) async fn until_exhausted(&self) {
        // It cannot go away while somebody holds this host.
        let _ = self.exhausted.subscribe().wait_for(Option::is_some).await;
    }

    /// The task has its outcome: what it dropped is cancelled.
    pub(crate) fn give_up(&self) {
        self.orphans.give_up();
        // A child that was on its way to the store when the budget ran out has arrived by now.
        self.cut_off();
    }

    /// When the budget of the run has run out: ends the request and cancels all that its task has delegated.
    pub(crate) fn cut_off(&self) -> Option<Error> {
        let why = self.exhausted.borrow().clone()?;
        self.end(why.clone());
        self.journal.iter().flat_map(|journal| journal.children()).for_each(|child| self.orphans.add(child));
        Some(why)
    }

    /// What becomes of a child that nobody waits for any more: nothing, once the request has ended.
    fn abandoner(&self) -> impl FnOnce(TaskId) + Send + use<> {
        let (ended, orphans) = (self.ended.subscribe(), self.orphans.clone());
        move |child| {
            if ended.borrow().is_none() {
                orphans.add(child);
            }
        }
    }

    fn note(&self, what: Said) {
        let note = Note { task: self.facts.task.clone(), agent: self.facts.agent.clone(), what };
        // Nobody listening is the normal case.
        let _ = self.hub.notes.send(note);
    }
}

impl Host for RequestHost {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn ask(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(async move {
            let _open = self.load.call();
            self.live()?;
            self.chain.check(&self.facts, &call)?;
            let message = self.message(call, ASK_DEADLINE)?;
            let (started, agent, capability) = (Instant::now(), message.to.to_string(), message.capability.clone());
            self.within(self.hub.breakers.admit(&capability)).await?;
            let answered = self.within(self.hub.broker.messages.ask(message)).await;
            self.hub.breakers.seen(&capability, seen(&answered)).await;
            let body = answered?;
            Ok(Answer { body, agent: agent.into(), took: started.elapsed() })
        })
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _open = self.load.call();
            // A notification outlives the request that sent it, so the request's own deadline does not shorten it.
            let limit = call.deadline.unwrap_or(TTL);
            let message = Message { deadline: Instant::now() + limit, ..self.message(call, limit)? };
            let told = self.within(async { Ok(self.hub.broker.messages.tell(vec![message]).await) }).await?;
            told.into_iter().next().unwrap_or_else(|| Err(Error::Unknown { what: "a notification".into() }))
        })
    }

    fn broadcast(&self, topic: &str, body: Payload) -> BoxFuture<'_, Result<()>> {
        let topic = topic.into();
        Box::pin(async move {
            let _open = self.load.call();
            let broadcast = Broadcast { topic, from: self.facts.agent.clone(), body };
            self.within(self.hub.broker.messages.broadcast(broadcast)).await
        })
    }

    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            let _open = self.load.call();
            self.grants.call(&order.capability)?;
            let journal = self.journal("delegate")?;
            let trace = telemetry::here(self.trace);
            let child = self.within(journal.delegate(&self.hub.broker, order, trace, self.abandoner())).await;
            self.bound(child).await
        })
    }

    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let human = self.journal.as_ref().is_some_and(|journal| journal.is_for_people(&child));
            if human {
                // Who waits for a person is parked at once: so it is looked first whether they have answered.
                let _open = self.load.call();
                let look = self.hub.broker.tasks.wait(vec![child.clone()], Until::All, Duration::ZERO);
                if let Ok(Some(outcome)) = self.within(look).await.map(|mut outcomes| outcomes.pop()) {
                    return Ok(outcome);
                }
            }
            let _open = self.load.wait(&child, human);
            let limit = self.facts.deadline.saturating_duration_since(Instant::now());
            loop {
                let left = self.facts.deadline.saturating_duration_since(Instant::now());
                let waiting = self.hub.broker.tasks.wait(vec![child.clone()], Until::All, left);
                match self.within(waiting).await {
                    Ok(mut outcomes) => {
                        self.bound_by(outcomes.last()).await;
                        let late = || Error::Deadline { to: format!("task {child}").into(), limit };
                        return outcomes.pop().ok_or_else(late);
                    }
                    // The child does not suffer from a store that is away, so neither does who waits for it.
                    Err(Error::Unavailable { .. }) if left > LOOK_AGAIN => {
                        let pause = async {
                            tokio::time::sleep(LOOK_AGAIN).await;
                            Ok(())
                        };
                        self.within(pause).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn abandon(&self, child: TaskId) {
        self.abandoner()(child);
    }

    fn recorded(&self, step: &str) -> Result<Option<Payload>> {
        self.live()?;
        self.journal.as_ref().map_or(Ok(None), |journal| journal.recorded(step))
    }

    fn busy(&self) -> Box<dyn Send + Sync> {
        Box::new(self.load.call())
    }

    fn effect(&self, name: &str) -> BoxFuture<'_, Result<Standing>> {
        let name = name.to_owned();
        Box::pin(async move {
            let _open = self.load.call();
            match &self.journal {
                Some(journal) => self.within(journal.effect(&self.hub.broker, &name)).await,
                None => self.live().map(|()| Standing::Open(name)),
            }
        })
    }

    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _open = self.load.call();
            match &self.journal {
                Some(journal) => self.within(journal.record(&self.hub.broker, entry)).await,
                None => self.live(),
            }
        })
    }

    fn spend(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(account) = self.account() else { return self.live() };
            let _open = self.load.call();
            let spent = self.within(account.spend(&self.hub.broker, spend)).await;
            self.bound(spent).await
        })
    }

    fn states(&self) -> Arc<dyn States> {
        let states = self.hub.broker.states.clone();
        Arc::new(Guarded::new(states, self.grants.clone(), &self.facts, self.ended.subscribe()))
    }

    fn cache(&self) -> Option<Arc<dyn States>> {
        Some(self.hub.broker.states.clone())
    }

    fn admits<'a>(&'a self, capability: &'a CapabilityName) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.within(self.hub.breakers.admit(capability)))
    }

    fn degrade(&self, how: String) {
        let mut reasons = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        if !reasons.contains(&how) {
            reasons.push(how);
        }
    }

    fn emit(&self, kind: &str, fact: Payload) -> BoxFuture<'_, Result<()>> {
        let kind = kind.to_owned();
        Box::pin(async move {
            let _open = self.load.call();
            let event = NewEvent {
                kind,
                agent: self.facts.agent.to_string(),
                run: self.facts.run.clone(),
                task: self.facts.task.clone(),
                payload: fact,
            };
            event.check()?;
            let published = self.within(async { Ok(self.hub.broker.events.publish(vec![event]).await) }).await?;
            published.into_iter().next().map_or(Ok(()), |seq| seq.map(drop))
        })
    }

    fn progress(&self, done: f32, note: String) {
        self.note(Said::Progress { done: done.clamp(0.0, 1.0), note });
    }

    fn say(&self, text: String) {
        self.note(Said::Text(text));
    }

    fn keep(&self, partial: Payload) {
        if self.live().is_ok() {
            self.kept.set(partial);
        }
    }

    fn blobs(&self) -> Option<Arc<dyn Blobs>> {
        self.hub.broker.blobs.clone()
    }

    fn served(&self) -> Vec<Served> {
        self.hub.registry.served()
    }

    fn is_declined(&self, task: &TaskInfo) -> bool {
        self.hub.registry.is_declined(task)
    }

    fn cancelled(&self) -> BoxFuture<'_, Error> {
        Box::pin(async move {
            let mut ended = self.ended.subscribe();
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            why.unwrap_or_else(|| Error::Cancelled { by: "the runtime".into() })
        })
    }
}

/// What an answer says of who was asked. That nobody was there to be asked is known at once, and needs no breaker.
fn seen(answered: &Result<Payload>) -> Seen {
    match answered {
        Ok(_) => Seen::Success,
        Err(Error::NoRecipient { .. }) => Seen::Nothing,
        Err(error) => Seen::of(error.class()),
    }
}
