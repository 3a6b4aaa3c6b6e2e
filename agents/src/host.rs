//! What an agent needs from whoever runs it: the inside of a [`Context`](crate::Context).
//!
//! The runtime supplies one host, the test kit another; agents see neither. Everything is untyped here, so that generic
//! code ends in the thin typed calls above and nothing below is compiled once per capability.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::blobs::Blobs;
use callboard_broker::budget::Budget;
use callboard_broker::error::{Class, Error, Result};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::messages::Address;
use callboard_broker::payload::Payload;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Priority, Retry};
use tokio::time::Instant;

use crate::llm::{ModelCall, Models};
use crate::stateful::Homes;
use crate::tool::{Desk, Does};

/// The facts about a request that do not change while it is worked on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The agent that works on it.
    pub agent: Arc<str>,
    /// The capability it was asked for.
    pub capability: CapabilityName,
    /// The task; none for an ask or a notification.
    pub task: Option<TaskId>,
    /// The run on whose behalf; none for an ask from outside any run.
    pub run: Option<RunId>,
    /// The team whose state `StateKey::team` means.
    pub team: Arc<str>,
    /// Counted from 1.
    pub attempt: u32,
    /// Whether a handler may have begun the task before, be it under the same attempt number.
    pub again: bool,
    /// How many there may be; 1 outside a task.
    pub attempts: u32,
    /// When the attempt must have ended.
    pub deadline: Instant,
    /// The model that the task names, `PROVIDER/NAME`; none: whatever its node has for the role.
    pub model: Option<Arc<str>>,
}

/// One request to somebody else.
#[derive(Clone, Debug)]
pub struct Call {
    /// To whom.
    pub to: Address,
    /// In which terms.
    pub capability: CapabilityName,
    /// What.
    pub body: Payload,
    /// How long it may take at most; what is inherited can only be shortened.
    pub deadline: Option<Duration>,
}

/// The answer to a [`Call`] with how it came about.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response.
    pub body: Payload,
    /// Who gave it, when known.
    pub agent: Arc<str>,
    /// How long it took.
    pub took: Duration,
}

/// One durable child.
#[derive(Clone, Debug)]
pub struct Order {
    /// For whom.
    pub capability: CapabilityName,
    /// What.
    pub input: Payload,
    /// A name of the caller's own; otherwise capability, input and how many identical ones came before.
    pub key: Option<String>,
    /// What it is for, in words.
    pub description: Option<String>,
    /// How long all attempts may take; what is inherited can only be shortened.
    pub deadline: Option<Duration>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// When a failed attempt is tried again.
    pub retry: Option<Retry>,
    /// How deep it and all below it may go; what is inherited can only be made smaller, and what is counted is the run's.
    pub budget: Budget,
    /// Who goes first; inherited unless set.
    pub priority: Option<Priority>,
    /// The model that it and all below it ask, `PROVIDER/NAME`; inherited unless set.
    pub model: Option<String>,
    /// Siblings it had to wait for, for people to see.
    pub depends_on: Vec<TaskId>,
    /// Set when it is not to be done, but recorded as skipped for this reason.
    pub skipped: Option<String>,
    /// Whether it asks people about an effect in doubt, which only effects do. No budget stands in the way of that, and it
    /// outlives whoever asks.
    pub is_about_doubt: bool,
}

impl Order {
    /// Work for a capability, with everything else at its default.
    pub fn new(capability: CapabilityName, input: Payload) -> Self {
        Self {
            capability,
            input,
            key: None,
            description: None,
            deadline: None,
            timeout: None,
            retry: None,
            budget: Budget::default(),
            priority: None,
            model: None,
            depends_on: Vec::new(),
            skipped: None,
            is_about_doubt: false,
        }
    }
}

/// What is spent of a run's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Tasks; counted by the runtime.
    pub tasks: u64,
    /// Steps; counted by the runtime.
    pub steps: u64,
    /// Tokens.
    pub tokens: u64,
    /// Cost, in millionths of whatever it is paid in.
    pub cost_micros: u64,
}

/// A capability that is served here, as [`Host::served`] lists it.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub capability: CapabilityName,
    /// What it is for.
    pub about: Cow<'static, str>,
    /// JSON Schema of its request.
    pub request: Arc<serde_json::Value>,
}

/// A call of a tool that has ended: never what was said in it.
#[derive(Clone, Debug)]
pub struct ToolCalled<'a> {
    /// Its name.
    pub tool: &'a str,
    /// What it does.
    pub does: Does,
    /// How long it took.
    pub took: Duration,
    /// Of a failure: what retry goes by.
    pub class: Option<Class>,
    /// Of a failure: its code.
    pub code: Option<&'a str>,
}

/// What the log of a task, and the logs of its earlier generations, say of a named effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It was not begun, or was certainly not done; the next intent is recorded with this key.
    Open(String),
    /// It was begun with this key and nobody knows whether it was done. `intents` counts how often it was begun.
    InDoubt {
        /// What tells the other side that a repeat is one.
        key: String,
        /// How often it was begun, from 1: each doubt is a new one.
        intents: u32,
    },
    /// It was done, with this result.
    Done(Payload),
}

/// The place of a child among those of its parent that are queued or at work, until it is dropped.
#[derive(Default)]
pub struct Place(#[expect(dead_code, reason = "held until it is dropped")] Option<Box<dyn Send + Sync>>);

impl Place {
    /// One that others wait for, given back when this guard is dropped.
    pub fn of(guard: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(guard)))
    }
}

/// What runs an agent. Every method answers [`Error::Cancelled`] once the request has ended.
///
/// # Cancellation
/// Dropping a future withdraws the call. A child that was delegated goes on; see [`Host::abandon`].
pub trait Host: Send + Sync + 'static {
    /// The facts about the request.
    fn facts(&self) -> &Facts;

    /// Asks and waits for the answer.
    fn ask(&self, call: Call) -> BoxFuture<'_, Result<Answer>>;

    /// The chain that led to this request, itself last, each as a hop. Without one: nothing above it is known.
    fn chain(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// Notifies; done when it is in the recipient's queue.
    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>>;

    /// Sends to all who listen to a topic.
    fn broadcast(&self, topic: &str, body: Payload) -> BoxFuture<'_, Result<()>>;

    /// Records and queues a child, or finds the one that an earlier attempt delegated under the same key. Outside a
    /// task there is nothing to attach a child to: `Denied`.
    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>>;

    /// Whether [`delegate`](Self::delegate) would find a child for this order, and so begin nothing new. Default: no.
    fn has_child<'a>(&'a self, _order: &'a Order) -> BoxFuture<'a, Result<bool>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Waits until one more child may be queued, and holds its place until the guard is dropped. Default: at once.
    fn place<'a>(&'a self, _of: &'a CapabilityName) -> BoxFuture<'a, Result<Place>> {
        Box::pin(std::future::ready(Ok(Place::default())))
    }

    /// Waits until a child has ended. The slot of the waiting agent is given back meanwhile.
    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>>;

    /// As [`outcome`](Self::outcome). The child has this place, which is given back when it has ended, also while nobody
    /// polls the future. Default: when the future has ended.
    fn outcome_in(&self, child: TaskId, place: Place) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let _place = place;
            self.outcome(child).await
        })
    }

    /// Nobody waits for this child any more: it is cancelled if the handler is still at work, and left alone if the
    /// handler was itself dropped by the runtime.
    fn abandon(&self, child: TaskId);

    /// The recorded result of a step, if an earlier attempt has one. Claims the name for this attempt: a second call
    /// with the same name is refused as `Decode`.
    fn recorded(&self, step: &str) -> Result<Option<Payload>>;

    /// As [`recorded`](Self::recorded), for a step that says what it is made from, by its hash. An attempt gets the record
    /// whatever it was made from; a replay compares. Default: it does not matter.
    fn recorded_from(&self, step: &str, _input: Option<&str>) -> Result<Option<Payload>> {
        self.recorded(step)
    }

    /// As [`recorded`](Self::recorded), where an attempt need not have made the record: a replay takes one that is not there
    /// for one that was not made, and not for a difference. Default: [`recorded`](Self::recorded).
    fn recorded_if_any(&self, step: &str) -> Result<Option<Payload>> {
        self.recorded(step)
    }

    /// Says that the handler does something itself (the work of a step, an effect) until the guard is dropped: a handler
    /// that only waits may lose its slot, and be parked. Default: nothing listens.
    fn busy(&self) -> Box<dyn Send + Sync> {
        Box::new(())
    }

    /// Says that the handler waits in a line in which others stand, until the guard is dropped: its slot is lent meanwhile
    /// to those who have waited for a child and come back, because one of them may be whom the line waits for. Default:
    /// nothing listens.
    fn in_line(&self) -> Box<dyn Send + Sync> {
        Box::new(())
    }

    /// Where a named effect stands. Claims the name for this attempt, as [`recorded`](Self::recorded) does for a step.
    /// Outside a task there is no log, and every effect is open.
    fn effect(&self, name: &str) -> BoxFuture<'_, Result<Standing>>;

    /// Records a step's result, or an effect's intent, result or end without one. Outside a task there is no log, and
    /// nothing happens.
    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<()>>;

    /// Spends from the budget of the run, before what it is spent on is done. Default: nothing is counted.
    fn spend(&self, _spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Books what was used already, also where that goes over a limit: no more of it is to be had then. Default: nothing
    /// is counted.
    fn book(&self, _spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Gives back what was spent and then not used. Default: nothing is counted.
    fn give_back(&self, _spend: Spend) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The models of this node. Default: none.
    fn models(&self) -> Option<Arc<Models>> {
        None
    }

    /// A call of a model has ended. Default: nothing listens.
    fn modelled(&self, _call: &ModelCall<'_>) {}

    /// The tools of this request, and what it knows. Default: none.
    fn desk(&self) -> Option<Arc<Desk>> {
        None
    }

    /// Whether a tool may be called now; its circuit is open when it failed too often. Default: always.
    ///
    /// # Errors
    /// `Unavailable` when it may not.
    fn admits_tool<'a>(&'a self, _tool: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// A call of a tool has ended. Default: nothing listens.
    fn tooled<'a>(&'a self, _call: &'a ToolCalled<'a>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Shared state, as far as this agent may reach it.
    fn states(&self) -> Arc<dyn States>;

    /// Where the states of stateful agents are awake. Default: nobody else has a part in them.
    fn homes(&self) -> Option<Arc<dyn Homes>> {
        None
    }

    /// Where the large bodies of clients are, when clients and nodes have no file system in common. Then no path and no
    /// private address that a client names may be opened. Default: none.
    fn blobs(&self) -> Option<Arc<dyn Blobs>> {
        None
    }

    /// Where responses are left behind for [`or_cached`](crate::Delegation::or_cached), whatever the agent itself may
    /// reach. Default: nowhere.
    fn cache(&self) -> Option<Arc<dyn States>> {
        None
    }

    /// Whether a capability may be given work now; its circuit is open when it failed too often. Default: always.
    ///
    /// # Errors
    /// `Unavailable` when it may not.
    fn admits<'a>(&'a self, _capability: &'a CapabilityName) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Says that the result will not be what was asked for, and how it comes about instead. Default: nothing listens.
    fn degrade(&self, _how: String) {}

    /// Publishes a fact.
    fn emit(&self, kind: &str, fact: Payload) -> BoxFuture<'_, Result<()>>;

    /// How far the work is, from 0 to 1; also a sign of life.
    fn progress(&self, done: f32, note: String);

    /// A piece of text for an asker that streams.
    fn say(&self, text: String);

    /// The best answer so far: what a failure leaves behind.
    fn keep(&self, partial: Payload);

    /// The capabilities that are served, by name.
    fn served(&self) -> Vec<Served>;

    /// Whether the agents of a capability decline this task.
    fn is_declined(&self, task: &crate::TaskInfo) -> bool;

    /// Resolves when the request is no longer wanted, with the reason.
    fn cancelled(&self) -> BoxFuture<'_, Error>;
}
