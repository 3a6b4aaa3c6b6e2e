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

use super::fallback::{self, Fallback, Manner};
use super::{Began, Reply, Run};
use crate::host::{Host, Order};
use crate::human::{Approval, Work};
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
    pub(crate) host: Arc<dyn Host>,
    pub(crate) order: Order,
    fallbacks: Vec<Fallback>,
    approval: Option<Approval>,
    work: Work,
    hedge: Option<Duration>,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Delegation<Res> {
    /// A child of the task that this host runs.
    pub fn over<Req: Payload>(host: Arc<dyn Host>, to: Capability<Req, Res>, input: Req) -> Self {
        let work = Work { schema: Some(schema::<Req>), fits: Body::fits::<Req> };
        let order = Order::new(to.id(), Body::of(input));
        Self { host, order, fallbacks: Vec::new(), approval: None, work, hedge: None, types: PhantomData }
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

    /// When a failed attempt is tried again: how often in all, at least once, after which wait, doubled each time up to
    /// which longest. A wait is made 0.5 to 1.5 times as long by chance, and never shorter than a failure asks for.
    /// Default: [`Retry::default`].
    pub fn retry_with(mut self, retry: Retry) -> Self {
        self.order.retry = Some(Retry { attempts: retry.attempts.max(1), ..retry });
        self
    }

    /// Delegates a second child when the first has not ended after this time, 15 s at most; the one that is completed
    /// first wins, the other is cancelled. Only for what may be done twice: reads, and what is harmless when repeated. A
    /// parent that runs again may get the response of the other one. Default: never.
    pub fn hedge(mut self, after: Duration) -> Self {
        self.hedge = Some(after);
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

    /// What limits its shape and that of all below it (`depth`, `hops`, `ping_pong`, `repeats`, `width`); what is
    /// inherited can only be made smaller. What is counted belongs to the run as a whole and is not given to a child:
    /// that is refused as `Decode`.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.order.budget = budget;
        self
    }

    /// The language model that it and all below it ask, `PROVIDER/NAME`, or `extractive` for none. Default: that of this
    /// task, or what their nodes have for each role. A node that does not allow it fails the task for good (`CB0803`).
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.order.model = Some(name.into());
        self
    }

    /// What it is for, in words, for the people who read lists of tasks.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.order.description = Some(text.into());
        self
    }

    /// Has people approve, edit or reject it before it is queued: they are shown the capability and the input, and answer
    /// a [`Decision`](crate::human::Decision). An edited input is checked against that of the capability, and stands in
    /// the child. What was rejected, or not approved in time, is recorded as skipped and is `Failed` (CB0040); of its
    /// fallbacks only [`or_skip`](Self::or_skip) stands in.
    ///
    /// ```
    /// # use callboard_agents::{human::Approval, Capability, Context, Result};
    /// # const PAY: Capability<u32, String> = Capability::new("shop.pay");
    /// # async fn of(ctx: Context) -> Result<String> {
    /// let hour = std::time::Duration::from_secs(3600);
    /// Ok(ctx.delegate(PAY, 400).approved_by(Approval::of("finance").who(["ann"]).within(hour)).await?)
    /// # }
    /// ```
    pub fn approved_by(mut self, people: impl Into<Approval>) -> Self {
        self.approval = Some(people.into());
        self
    }

    /// Queues the child and does not wait for it: it goes on when its parent has ended.
    pub async fn detach(mut self) -> Result<Run<Res>, Error> {
        self.approve().await?;
        let child = self.host.delegate(self.order).await?;
        Ok(Run::of_child(self.host, child))
    }

    /// The response with how it came about.
    pub async fn full(self) -> Result<Reply<Res>, Error> {
        self.told(Began::default()).await
    }

    /// As [`full`](Self::full), with whose ids are noted of what it delegates.
    pub(crate) async fn told(mut self, began: Began) -> Result<Reply<Res>, Error> {
        self.approve().await?;
        let manner = Manner { fallbacks: self.fallbacks, hedge: self.hedge, began };
        Reply::of(fallback::outcome(&self.host, self.order, &manner).await?)
    }

    async fn approve(&mut self) -> Result<(), Error> {
        if let Some(approval) = self.approval.take() {
            self.order = approval.of_order(&self.host, self.order.clone(), &self.work).await?;
        }
        Ok(())
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
