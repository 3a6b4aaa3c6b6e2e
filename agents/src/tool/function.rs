//! A closure as a tool.

use std::future::Future;
use std::marker::PhantomData;

use super::{Does, Offer, Output, Risk, Tool, ToolCtx};
use crate::{Payload, Result};

/// A tool made of an `async fn(ToolCtx, A) -> Result<Output>`, or a closure of that shape.
///
/// ```
/// use callboard_agents::tool::{FnTool, Output, ToolCtx};
///
/// let add = FnTool::reads("math.add", "Adds numbers", async |_: ToolCtx, of: Vec<i64>| {
///     Ok(Output::text(of.iter().sum::<i64>().to_string()))
/// });
/// ```
pub struct FnTool<A, F> {
    offer: Offer,
    call: F,
    types: PhantomData<fn(A)>,
}

impl<A, F, Fut> FnTool<A, F>
where
    A: Payload,
    F: Fn(ToolCtx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Output>> + Send,
{
    /// One that only reads.
    pub fn reads(name: impl Into<String>, about: impl Into<String>, call: F) -> Self {
        Self::new(Offer::new::<A>(name, about, Does::Reads), call)
    }

    /// One that changes something; of high risk.
    pub fn writes(name: impl Into<String>, about: impl Into<String>, call: F) -> Self {
        Self::new(Offer::new::<A>(name, about, Does::Writes), call)
    }

    /// One that changes something on a side that knows repeats by the key of the call; of high risk.
    pub fn writes_keyed(name: impl Into<String>, about: impl Into<String>, call: F) -> Self {
        Self::new(Offer::new::<A>(name, about, Does::WritesKeyed), call)
    }

    fn new(offer: Offer, call: F) -> Self {
        Self { offer, call, types: PhantomData }
    }

    /// Of another risk.
    #[must_use]
    pub fn risk(self, risk: Risk) -> Self {
        Self { offer: self.offer.risk(risk), ..self }
    }
}

impl<A, F, Fut> Tool for FnTool<A, F>
where
    A: Payload,
    F: Fn(ToolCtx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Output>> + Send,
{
    type Arguments = A;

    fn offer(&self) -> Offer {
        self.offer.clone()
    }

    fn call(&self, of: &ToolCtx, arguments: A) -> impl Future<Output = Result<Output>> + Send {
        (self.call)(of.clone(), arguments)
    }
}
