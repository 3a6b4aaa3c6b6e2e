//! The inside of a `Context` in a replay: everything comes from the log, and nothing goes anywhere.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callboard_agents::TaskInfo;
use callboard_agents::host::{Answer, Call, Facts, Host, Order, Served, Standing};
use callboard_agents::llm::Models;
use callboard_agents::tool::Desk;
use callboard_broker::blobs::{Blobs, Hash};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload;
use callboard_broker::state::States;
use callboard_broker::task::{Entry, Outcome, Status};
use callboard_broker::{BoxFuture, Broker};
use tokio::sync::{oneshot, watch};

use super::book::Book;
use super::past::{Past, Reading};
use crate::cell::effects::Effects;
use crate::cell::grants::Grants;
use crate::cell::guarded::Guarded;
use crate::cell::hub::Kept;

/// What one request of a replay is given.
pub(super) struct Given {
    pub(super) broker: Broker,
    pub(super) facts: Facts,
    pub(super) grants: Grants,
    pub(super) desk: Arc<Desk>,
    pub(super) models: Option<Arc<Models>>,
    pub(super) book: Book,
    pub(super) effects: Arc<Effects>,
    pub(super) past: Past,
    pub(super) served: Vec<Served>,
    /// How the children ended, with their place in the order of submission.
    pub(super) ended: HashMap<TaskId, (u64, Outcome)>,
    /// Counts the looks into the store that are under way.
    pub(super) reading: Arc<AtomicUsize>,
}

/// See the module.
pub(super) struct ReplayHost {
    broker: Broker,
    facts: Facts,
    grants: Grants,
    desk: Arc<Desk>,
    models: Option<Arc<Models>>,
    effects: Arc<Effects>,
    served: Vec<Served>,
    ended: HashMap<TaskId, (u64, Outcome)>,
    reading: Arc<AtomicUsize>,
    states: Arc<dyn States>,
    told: Mutex<Told>,
    pub(super) kept: Kept,
    /// Never set: what ends a replay drops the handler.
    open: watch::Sender<Option<Error>>,
}

/// What the handler has asked for so far.
struct Told {
    book: Book,
    steps: HashSet<String>,
    effects: HashSet<String>,
    waiting: Vec<Waiting>,
    degraded: Vec<String>,
}

impl Told {
    /// A name of a step is used once in an attempt.
    fn claim(&mut self, step: &str) -> Result<()> {
        match self.steps.insert(step.to_owned()) {
            true => Ok(()),
            false => {
                Err(Error::decode(format!("the step \"{step}\" was used twice in one attempt: give each its own name")))
            }
        }
    }
}

/// Who waits for a child that has this place in the order of ends.
struct Waiting {
    place: (u64, bool, u64),
    outcome: Outcome,
    reply: oneshot::Sender<Outcome>,
}

impl ReplayHost {
    pub(super) fn new(given: Given) -> Arc<Self> {
        let Given { broker, facts, grants, desk, models, book, effects, past, served, ended, reading } = given;
        let open = watch::Sender::new(None);
        let taint = desk.taint().clone();
        let states = Arc::new(Guarded::new(Arc::new(past), grants.clone(), &facts, open.subscribe(), taint));
        let (steps, used, waiting, degraded) = Default::default();
        let told = Mutex::new(Told { book, steps, effects: used, waiting, degraded });
        let kept = Kept::default();
        Arc::new(Self {
            broker,
            facts,
            grants,
            desk,
            models,
            effects,
            served,
            ended,
            reading,
            states,
            told,
            kept,
            open,
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log, as far as it was asked for.
    pub(super) fn with_book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.told().book)
    }

    /// Lets the first child in the order of ends be over. Whether somebody waited for one; while something is being read,
    /// it is not known yet who will.
    pub(super) fn end_next(&self) -> bool {
        let mut told = self.told();
        if self.reading.load(Ordering::SeqCst) > 0 {
            return false;
        }
        told.waiting.retain(|waiting| !waiting.reply.is_closed());
        let first = told.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.place).map(|(at, _)| at);
        let Some(first) = first else { return false };
        let Waiting { outcome, reply, .. } = told.waiting.swap_remove(first);
        drop(told);
        reply.send(outcome).is_ok()
    }

    /// How the result comes about, when it is not what was asked for.
    pub(super) fn degraded(&self) -> Vec<String> {
        self.told().degraded.clone()
    }

    fn cannot<T>(&self, what: String) -> Result<T> {
        Err(self.told().book.cut(what))
    }
}

impl Host for ReplayHost {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn ask(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        let asked = self.grants.call(&call.capability);
        Box::pin(async move {
            asked?;
            self.cannot(format!("it asks {}, and what an ask is answered is in no log unless a step has it", call.to))
        })
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        let told = self.grants.call(&call.capability);
        Box::pin(std::future::ready(told))
    }

    fn broadcast(&self, _topic: &str, _body: Payload) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>> {
        let child = self.grants.call(&order.capability).and_then(|()| self.told().book.child(&order));
        Box::pin(std::future::ready(child))
    }

    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let Some((seq, outcome)) = self.ended.get(&child).cloned() else {
                return self.cannot(format!("it waits for task {child}, which has not ended"));
            };
            let (reply, ended) = oneshot::channel();
            // Of two that ended at once, the one that was no longer wanted came second.
            let place = (outcome.finished_at, outcome.status == Status::Cancelled, seq);
            self.told().waiting.push(Waiting { place, outcome, reply });
            let outcome = ended.await.map_err(|_| Error::Cancelled { by: "the end of the replay".into() })?;
            if !outcome.capability.is_human() {
                self.desk.taint().add(&format!("agent {}", outcome.capability));
            }
            Ok(outcome)
        })
    }

    fn abandon(&self, _child: TaskId) {}

    fn recorded(&self, step: &str) -> Result<Option<Payload>> {
        self.recorded_from(step, None)
    }

    fn recorded_from(&self, step: &str, input: Option<&str>) -> Result<Option<Payload>> {
        let mut told = self.told();
        told.claim(step)?;
        told.book.step(step, input).map(Some)
    }

    fn recorded_if_any(&self, step: &str) -> Result<Option<Payload>> {
        let mut told = self.told();
        told.claim(step)?;
        if told.book.has_step(step) { told.book.step(step, None).map(Some) } else { Ok(None) }
    }

    fn effect(&self, name: &str) -> BoxFuture<'_, Result<Standing>> {
        let name = name.to_owned();
        Box::pin(async move {
            if !self.told().effects.insert(name.clone()) {
                return Err(Error::decode(format!(
                    "the effect \"{name}\" was used twice in one attempt: give each its own name"
                )));
            }
            let standing = {
                let _reading = Reading::begin(&self.reading);
                self.effects.standing(&self.broker, &name).await?
            };
            match standing {
                Standing::Done(value) => {
                    self.told().book.effect(&name);
                    Ok(Standing::Done(value))
                }
                // It is never done here, whatever is known of it.
                Standing::Open(_) | Standing::InDoubt { .. } => {
                    Err(self.told().book.missing(&format!("effect {name}")))
                }
            }
        })
    }

    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<()>> {
        let refused = self.told().book.missing(&format!("to record a {}", entry.kind()));
        Box::pin(std::future::ready(Err(refused)))
    }

    fn models(&self) -> Option<Arc<Models>> {
        self.models.clone()
    }

    fn desk(&self) -> Option<Arc<Desk>> {
        Some(self.desk.clone())
    }

    fn states(&self) -> Arc<dyn States> {
        self.states.clone()
    }

    fn degrade(&self, how: String) {
        let degraded = &mut self.told().degraded;
        if !degraded.contains(&how) {
            degraded.push(how);
        }
    }

    fn emit(&self, _kind: &str, _fact: Payload) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn progress(&self, _done: f32, _note: String) {}

    fn say(&self, _text: String) {}

    fn keep(&self, partial: Payload) {
        self.kept.set(partial);
    }

    fn blobs(&self) -> Option<Arc<dyn Blobs>> {
        let blobs = self.broker.blobs.clone()?;
        Some(Arc::new(OnlyRead(blobs)))
    }

    fn served(&self) -> Vec<Served> {
        self.served.clone()
    }

    fn is_declined(&self, _task: &TaskInfo) -> bool {
        false
    }

    fn cancelled(&self) -> BoxFuture<'_, Error> {
        let mut open = self.open.subscribe();
        Box::pin(async move {
            let why = open.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            why.unwrap_or_else(|| Error::Cancelled { by: "the end of the replay".into() })
        })
    }
}

/// Large bodies that can be read and to which nothing is added.
#[derive(Debug)]
struct OnlyRead(Arc<dyn Blobs>);

impl Blobs for OnlyRead {
    fn put(&self, _bytes: Vec<u8>) -> BoxFuture<'_, Result<Hash>> {
        let what = "a body that is put beside the log can only be had from a step in a replay";
        Box::pin(async move { Err(Error::decode(what)) })
    }

    fn get(&self, hash: &Hash) -> BoxFuture<'_, Result<Vec<u8>>> {
        self.0.get(hash)
    }
}
