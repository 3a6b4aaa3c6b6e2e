//! What an agent may use while it works on a request.
//!
//! Whatever is made from a context inherits its deadline, run and ancestors, so nothing is passed on by hand.

use std::fmt;
use std::sync::Arc;

use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;

use crate::host::{Host, Spend};
use crate::{Ask, Capability, Delegation, EventKind, Payload, Tell, Topic};

mod effect;
mod facts;
mod state;
mod step;

pub use effect::Resolution;

/// What an agent may use. Owned, cheap to clone; useless (`Error::Cancelled`) once its request has ended.
#[derive(Clone)]
pub struct Context {
    host: Arc<dyn Host>,
}

/// Messages: now, or an error.
impl Context {
    /// Asks whoever serves a capability.
    pub fn ask<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, request: Req) -> Ask<Res> {
        Ask::over(self.host.clone(), to, request)
    }

    /// Notifies whoever serves a capability; no response comes back.
    pub fn tell<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, request: Req) -> Tell {
        Tell::over(self.host.clone(), to, request)
    }

    /// Sends to all who listen to a topic, except this agent.
    pub fn broadcast<T: Payload>(&self, topic: Topic<T>, message: T) -> Tell {
        Tell::all(self.host.clone(), topic, message)
    }
}

/// Tasks: durable children of this task.
impl Context {
    /// Work for whoever serves a capability, as a child of this task.
    pub fn delegate<Req: Payload, Res: Payload>(&self, to: Capability<Req, Res>, input: Req) -> Delegation<Res> {
        Delegation::over(self.host.clone(), to, input)
    }
}

/// The budget of the run.
impl Context {
    /// Spends tokens and cost (in millionths) from the budget of the run. Charge what a call may use at most, before it
    /// is made: what would go over the budget is not spent. What answers an ask spends from the run in which it was asked.
    /// Outside a run, and without a budget, nothing is counted.
    ///
    /// # Errors
    /// `Exhausted`; the task is then ended as failed, and so are those above it.
    pub async fn charge(&self, tokens: u64, cost_micros: u64) -> Result<(), Error> {
        self.host.spend(Spend { tokens, cost_micros, ..Spend::default() }).await
    }
}

/// Facts, and what reaches whoever waits.
impl Context {
    /// Publishes a fact.
    pub async fn emit<T: Payload>(&self, kind: EventKind<T>, fact: T) -> Result<(), Error> {
        self.host.emit(kind.name(), Body::of(fact)).await
    }

    /// How far the work is, from 0 to 1; also a sign of life.
    pub fn progress(&self, done: f32, note: impl Into<String>) {
        self.host.progress(done.clamp(0.0, 1.0), note.into());
    }

    /// A piece of text for an asker that streams; dropped when nobody listens.
    pub fn say(&self, text: impl Into<String>) {
        self.host.say(text.into());
    }

    /// The best answer so far: what a failure, a deadline or a cancel leaves behind (`Error::partial`).
    pub fn keep<T: Payload>(&self, partial: &T) {
        // Encoded here and now, because the agent goes on to change what it lent us. What cannot be encoded could not
        // be an answer either.
        if let Some(kept) = serde_json::to_string(partial).ok().and_then(|text| Body::from_json(text).ok()) {
            self.host.keep(kept);
        }
    }
}

/// For runtimes and test kits.
impl Context {
    /// A context over a host.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// The host, for calls whose names and types are known only at run time.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.host.facts();
        write!(f, "Context({} of {:?}, attempt {})", facts.capability, facts.run, facts.attempt)
    }
}
