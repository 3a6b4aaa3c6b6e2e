use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::budget::Budget;
use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::Retry;

use super::fallback::{self, Fallback};
use super::{Reply, Run};
use crate::host::{Host, Order};
use crate::payload::schema;
use crate::{Capability, Payload, human};

/// One durable child of a task.
///
/// Its id comes from the parent's id and its key, so a parent that is run again after a crash finds the children that it
/// had. Unless one is given, the key is the capability, the input's hash and how many identical calls came before: the
/// order of calls need not be the same in every attempt, and twins stay apart.
///
/// # Errors
/// `Loop` when the task or one above it is at the same work, `Exhausted` when the budget leaves no room for it, `Denied`
/// outside a task, `Diverged` when an explicit key was used with another input before, and whatever the child
/// ended with.
///
/// # Cancellation
/// Dropping it while its handler goes on cancels the child. When the handler itself ends early (a crash, a drain, a lost
/// claim), the child goes on, and the next attempt finds it.
#[must_use = "a delegation does nothing until it is awaited"]
pub struct Delegation<Res> {
    host: Arc<dyn Host>,
    pub(super) order: Order,
    fallbacks: Vec<Fallback>,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Delegation<Res> {
    /// A child of the task that this host runs.
    pub fn over<Req: Payload>(host: Arc<dyn Host>, to: Capability<Req, Res>, input: Req) -> Self {
        Self { host, order: Order::new(to.id(), Body::of(input)), fallbacks: Vec::new(), types: PhantomData }
    }

    /// A name of your own for the child, where its input may vary between attempts or the same work is meant twice.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.order.key = Some(key.into());
        self
    }

    /// After how many failed attempts it is given up, at least 1. Default 3.
    pub fn retry(mut self, attempts: u32) -> Self {
        self.order.retry = Some(Retry { attempts: attempts.max(1), ..Retry::default() });
        self
    }

    /// How long all its attempts may take; what is inherited can only be shortened.
    pub fn deadline(mut self, d: Duration) -> Self {
        self.order.deadline = Some(d);
        self
    }

    /// How long one attempt may take. Default: until the deadline.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.order.timeout = Some(d);
        self
    }

    /// How deep it and all below it may go (`depth`, `ping_pong`); what is inherited can only be made smaller. What is
    /// counted belongs to the run as a whole and is not given to a child: that is refused as `Decode`.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.order.budget = budget;
        self
    }

    /// What it is for, in words, for the people who read lists of tasks.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.order.description = Some(text.into());
        self
    }

    /// Queues the child and does not wait for it: it goes on when its parent has ended.
    pub async fn detach(self) -> Result<Run<Res>, Error> {
        let child = self.host.delegate(self.order).await?;
        Ok(Run::of_child(self.host, child))
    }

    /// The response with how it came about.
    pub async fn full(self) -> Result<Reply<Res>, Error> {
        Reply::of(fallback::outcome(&self.host, self.order, &self.fallbacks).await?)
    }
}

/// What stands in for a child that failed for good: tried in the order in which it is declared, each when all before it
/// came to nothing. The result, and that of the task that delegated, then say so: [`Reply::degraded`].
///
/// A child that was cancelled is not made up for, and one that was [detached](Delegation::detach) has no fallbacks.
impl<Res: Payload> Delegation<Res> {
    /// Another capability, with the same input and options.
    pub fn or<Req: Payload>(self, other: Capability<Req, Res>) -> Self {
        self.instead(Fallback::Capability(other.id()))
    }

    /// The newest response of this capability to this input that any run got, when it is not older than this. It is kept
    /// as `global.callboard-cache.<capability>.<hash>` by the delegations that declare this, and by no others.
    pub fn or_cached(self, max_age: Duration) -> Self {
        self.instead(Fallback::Cached(max_age))
    }

    /// What the agent had [kept](crate::Context::keep) when it gave up.
    pub fn or_partial(self) -> Self {
        self.instead(Fallback::Partial)
    }

    /// People: those who answer `human.<queue>`. They are shown the input and what failed.
    ///
    /// # Errors
    /// `Decode` when the queue's name does not fit: lowercase letters, digits and dots.
    pub fn or_human(self, queue: &str) -> Result<Self, Error> {
        let people = human::queue(queue)?.id();
        Ok(self.instead(Fallback::Human(people, (*schema::<Res>()).clone())))
    }

    /// This response, so that whoever depends on it can go on without.
    pub fn or_skip(self, value: Res) -> Self {
        self.instead(Fallback::Value(Body::of(value)))
    }

    fn instead(mut self, fallback: Fallback) -> Self {
        self.fallbacks.push(fallback);
        self
    }
}

impl<Res: Payload> IntoFuture for Delegation<Res> {
    type Output = Result<Res, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.full().await?.value) })
    }
}

impl<Res> fmt::Debug for Delegation<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delegation({})", self.order.capability)
    }
}
