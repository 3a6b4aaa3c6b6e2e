//! The inside of a `Context`: what the runtime does when an agent calls.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use callboard_agents::TaskInfo;
use callboard_agents::host::{Answer, Call, Facts, Host, Order, Place, Served, Spend, Standing, ToolCalled};
use callboard_agents::llm::{ModelCall, Models};
use callboard_agents::stateful::Homes;
use callboard_agents::tool::{Desk, Taint};
use callboard_broker::BoxFuture;
use callboard_broker::blobs::Blobs;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::NewEvent;
use callboard_broker::id::TaskId;
use callboard_broker::messages::Broadcast;
use callboard_broker::payload::Payload;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome};
use callboard_broker::trace::TraceContext;
use tokio::sync::watch;

use super::account::Account;
use super::chain::Chain;
use super::grants::Grants;
use super::guarded::Guarded;
use super::hub::{Hub, Kept, Note, Said};
use super::journal::Journal;
use super::load::Load;
use super::orphans::Orphans;
use super::places::Places;
use super::work::PARK_AFTER;
use crate::limits::Repeats;
use crate::telemetry;

mod children;
mod ending;
mod talk;
mod tooled;

/// The most reasons why a result is degraded that its outcome names.
const REASONS: usize = 10;

/// One request's host.
pub(crate) struct RequestHost {
    hub: Arc<Hub>,
    facts: Facts,
    grants: Grants,
    desk: Arc<Desk>,
    journal: Option<Arc<Journal>>,
    /// Of an ask: what its run may spend.
    asked: Option<Account>,
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
    repeats: Mutex<Repeats>,
    /// Of its children, those that may be queued or at work.
    places: Arc<Places>,
    /// Whether the handler listens for its end.
    heeded: AtomicBool,
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
        let taint = Taint::default();
        chain.came_from().iter().for_each(|origin| taint.add(origin));
        let desk = grants.desk(&hub.toolbox, taint);
        let asked = match (&journal, &facts.run, chain.purse()) {
            // A root whose id makes no key has no account; ids are checked where they come in.
            (None, Some(run), Some(purse)) => Account::of_ask(run, purse).ok(),
            _ => None,
        };
        Arc::new(Self {
            hub,
            facts,
            grants,
            desk,
            journal,
            asked,
            load: Arc::default(),
            places: Places::new(chain.width() as usize),
            chain,
            trace,
            orphans,
            ended,
            exhausted,
            kept: Kept::default(),
            degraded: Mutex::default(),
            repeats: Mutex::default(),
            heeded: AtomicBool::new(false),
        })
    }

    pub(crate) fn load(&self) -> Arc<Load> {
        self.load.clone()
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

    /// Resolves with what its handler only waits for, once that has been long enough for its task to be parked.
    pub(crate) async fn until_parkable(&self, load: &Load) -> Vec<TaskId> {
        self.hub.quarantine.until_parkable(load, PARK_AFTER).await
    }

    fn journal(&self, what: &str) -> Result<&Arc<Journal>> {
        self.journal.as_ref().ok_or_else(|| Error::Denied {
            who: (&*self.facts.agent).into(),
            what: format!("{what} while it answers an ask: only a task has a log to keep it in").into(),
        })
    }

    fn account(&self) -> Option<&Account> {
        self.journal.as_ref().map_or(self.asked.as_ref(), |journal| journal.account())
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
            let origin = format!("agent {}", call.capability);
            let answered = self.bound(self.put(call).await).await;
            // Also the words of a failure are somebody else's.
            self.desk.taint().add(&origin);
            answered
        })
    }

    fn chain(&self) -> Vec<Arc<str>> {
        self.chain.hops(&self.facts)
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.notify(call))
    }

    fn broadcast(&self, topic: &str, body: Payload) -> BoxFuture<'_, Result<()>> {
        let topic = topic.into();
        Box::pin(async move {
            let _open = self.load.call();
            let broadcast = Broadcast { topic, from: self.facts.agent.clone(), body };
            self.within(self.hub.broker.messages.broadcast(broadcast)).await
        })
    }

    fn place<'a>(&'a self, of: &'a CapabilityName) -> BoxFuture<'a, Result<Place>> {
        Box::pin(self.place_of(of))
    }

    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(self.hand_on(order))
    }

    fn has_child<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let Some(journal) = &self.journal else { return self.live().map(|()| false) };
            let _open = self.load.call();
            self.within(journal.has_child(&self.hub.broker, order)).await
        })
    }

    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        self.outcome_in(child, Place::default())
    }

    fn outcome_in(&self, child: TaskId, place: Place) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let outcome = self.end_of(child, place).await?;
            // What people say of what they are asked is an instruction.
            if !outcome.capability.is_human() {
                self.desk.taint().add(&format!("agent {}", outcome.capability));
            }
            Ok(outcome)
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

    fn in_line(&self) -> Box<dyn Send + Sync> {
        Box::new(self.load.line())
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

    fn book(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(account) = self.account() else { return self.live() };
            let _open = self.load.call();
            self.within(account.book(&self.hub.broker, spend)).await
        })
    }

    fn give_back(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(account) = self.account() else { return self.live() };
            let _open = self.load.call();
            self.within(account.give_back(&self.hub.broker, spend)).await
        })
    }

    fn models(&self) -> Option<Arc<Models>> {
        Some(self.hub.models.clone())
    }

    fn modelled(&self, call: &ModelCall<'_>) {
        telemetry::modelled(self.hub.name.as_str(), call);
    }

    fn desk(&self) -> Option<Arc<Desk>> {
        Some(self.desk.clone())
    }

    fn admits_tool<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.may_call(tool))
    }

    fn tooled<'a>(&'a self, call: &'a ToolCalled<'a>) -> BoxFuture<'a, ()> {
        Box::pin(self.called(call))
    }

    fn states(&self) -> Arc<dyn States> {
        let (states, taint) = (self.hub.broker.states.clone(), self.desk.taint().clone());
        let states = Guarded::new(states, self.grants.clone(), &self.facts, self.ended.subscribe(), taint);
        Arc::new(match &self.journal {
            Some(journal) => states.under(self.hub.broker.tasks.clone(), journal.hold()),
            None => states,
        })
    }

    fn homes(&self) -> Option<Arc<dyn Homes>> {
        Some(self.hub.homes.clone())
    }

    fn cache(&self) -> Option<Arc<dyn States>> {
        Some(self.hub.broker.states.clone())
    }

    fn admits<'a>(&'a self, capability: &'a CapabilityName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { self.within(self.hub.breakers.admit(capability)).await.map(drop) })
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
        Box::pin(self.until_ended())
    }
}
