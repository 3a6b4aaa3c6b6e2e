use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::messages::Address;
use callboard_broker::payload::Payload as Body;

use crate::host::{Call, Host};
use crate::{Capability, Payload, Topic};

/// One notification or broadcast, done when it is in the queues of its recipients.
///
/// # Errors
/// For a notification `NoRecipient` and `Busy`; a broadcast that nobody hears is none.
///
/// # Cancellation
/// Dropping it before it is done may or may not have sent it.
#[must_use = "a call does nothing until it is awaited"]
pub struct Tell {
    host: Arc<dyn Host>,
    what: What,
}

enum What {
    Notification(Call),
    Broadcast(&'static str, Body),
}

impl Tell {
    /// A notification that this host sends. Its handler's response is dropped.
    pub fn over<Req: Payload, Res: Payload>(host: Arc<dyn Host>, to: Capability<Req, Res>, request: Req) -> Self {
        let capability = to.id();
        let call =
            Call { to: Address::Capability(capability.clone()), capability, body: Body::of(request), deadline: None };
        Self { host, what: What::Notification(call) }
    }

    /// A broadcast that this host sends.
    pub fn all<T: Payload>(host: Arc<dyn Host>, topic: Topic<T>, message: T) -> Self {
        Self { host, what: What::Broadcast(topic.name(), Body::of(message)) }
    }

    /// How long a notification may wait in its queue before it is a dead letter. Default 300 s. Broadcasts do not wait.
    pub fn deadline(mut self, d: Duration) -> Self {
        if let What::Notification(call) = &mut self.what {
            call.deadline = Some(d);
        }
        self
    }

    /// To the agent of this name, instead of to whoever serves the capability. Broadcasts go to all.
    pub fn to_agent(mut self, name: &str) -> Self {
        if let What::Notification(call) = &mut self.what {
            call.to = Address::Agent(name.into());
        }
        self
    }
}

impl IntoFuture for Tell {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.what {
                What::Notification(call) => self.host.tell(call).await,
                What::Broadcast(topic, body) => self.host.broadcast(topic, body).await,
            }
        })
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Notification(call) => write!(f, "Tell({})", call.to),
            What::Broadcast(topic, _) => write!(f, "Tell(all of {topic})"),
        }
    }
}
