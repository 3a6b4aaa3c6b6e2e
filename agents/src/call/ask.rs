use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::messages::Address;
use callboard_broker::payload::Payload as Body;

use super::{Reply, hedge};
use crate::host::{Answer, Call, Host};
use crate::{Capability, Payload};

/// One request that waits for its response, by default for 30 s and never longer than whoever asks may take.
///
/// # Errors
/// `NoRecipient`, `Busy`, `Loop` when somebody further up is at the same work and `Exhausted` when too many asks hang on
/// one another, all at once;  `Deadline`, `Crashed`, or what the agent `Failed` with.
///
/// # Cancellation
/// Dropping it, or its future, withdraws the request: if it waits it is not begun, if it runs it is cancelled.
#[must_use = "a call does nothing until it is awaited"]
pub struct Ask<Res> {
    host: Arc<dyn Host>,
    pub(super) call: Call,
    hedge: Option<Duration>,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Payload> Ask<Res> {
    /// A request that this host sends.
    pub fn over<Req: Payload>(host: Arc<dyn Host>, to: Capability<Req, Res>, request: Req) -> Self {
        let capability = to.id();
        let call =
            Call { to: Address::Capability(capability.clone()), capability, body: Body::of(request), deadline: None };
        Self { host, call, hedge: None, types: PhantomData }
    }

    /// How long it may take at most; what is inherited can only be shortened.
    pub fn deadline(mut self, d: Duration) -> Self {
        self.call.deadline = Some(d);
        self
    }

    /// To the agent of this name, instead of to whoever serves the capability.
    pub fn to_agent(mut self, name: &str) -> Self {
        self.call.to = Address::Agent(name.into());
        self
    }

    /// Asks once more when there is no answer after this time; the first answer wins, the other request is cancelled.
    /// Both together have the deadline of one. Only for what may be done twice: reads, and what is harmless when repeated.
    /// Default: never.
    pub fn hedge(mut self, after: Duration) -> Self {
        self.hedge = Some(after);
        self
    }

    async fn answer(self) -> Result<Answer, Error> {
        match self.hedge {
            Some(after) => hedge::ask(&self.host, self.call, after).await,
            None => self.host.ask(self.call).await,
        }
    }

    /// The response with how it came about.
    pub async fn full(self) -> Result<Reply<Res>, Error> {
        let answer = self.answer().await?;
        Ok(Reply {
            value: answer.body.take()?,
            agent: answer.agent.to_string(),
            attempt: 1,
            took: answer.took,
            degraded: None,
        })
    }
}

impl<Res: Payload> IntoFuture for Ask<Res> {
    type Output = Result<Res, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.answer().await?.body.take() })
    }
}

impl<Res> fmt::Debug for Ask<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({})", self.call.to)
    }
}
