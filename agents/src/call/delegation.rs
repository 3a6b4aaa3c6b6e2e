use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::id::TaskId;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::Retry;

use super::{Reply, Run};
use crate::host::{Host, Order};
use crate::{Capability, Payload};

/// One durable child of a task.
///
/// Its id comes from the parent's id and its key, so a parent that is run again after a crash finds the children that it
/// had. Unless one is given, the key is the capability, the input's hash and how many identical calls came before: the
/// order of calls need not be the same in every attempt, and twins stay apart.
///
/// # Errors
/// `Denied` outside a task, `Diverged` when an explicit key was used with another input before, and whatever the child
/// ended with.
///
/// # Cancellation
/// Dropping it while its handler goes on cancels the child. When the handler itself ends early (a crash, a drain, a lost
/// claim), the child goes on, and the next attempt finds it.
#[must_use = "a delegation does nothing until it is awaited"]
pub struct Delegation<Res> {
    host: Arc<dyn Host>,
    pub(super) order: Order,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Delegation<Res> {
    /// A child of the task that this host runs.
    pub fn over<Req: Payload>(host: Arc<dyn Host>, to: Capability<Req, Res>, input: Req) -> Self {
        Self { host, order: Order::new(to.id(), Body::of(input)), types: PhantomData }
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
        let child = self.host.delegate(self.order).await?;
        let live = Live::new(&self.host, child.clone());
        let outcome = self.host.outcome(child).await;
        live.ended();
        Reply::of(outcome?)
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

/// A child that somebody waits for; dropped before it has ended, it is abandoned.
struct Live {
    host: Arc<dyn Host>,
    child: Option<TaskId>,
}

impl Live {
    fn new(host: &Arc<dyn Host>, child: TaskId) -> Self {
        Self { host: host.clone(), child: Some(child) }
    }

    /// Nothing is left to abandon: there is an outcome, or the host could not wait for one.
    fn ended(mut self) {
        self.child = None;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.host.abandon(child);
        }
    }
}
