//! A model behind the breaker of its provider, and within its rate.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::Updates;
use callboard_agents::llm::{Answering, Capabilities, Model, ModelError, ModelName, Piece, Request, Response};
use callboard_broker::BoxFuture;
use callboard_broker::error::Class;

use super::limits::{Lease, Limits};
use super::name::token;
use super::provider::Providers;
use crate::resilience::breaker::Seen;
use crate::resilience::pass::Pass;

/// A model that is asked no more often than all nodes together may ask it, and not while its provider is left alone,
/// because it failed too often or said that it wants fewer requests.
pub(super) struct Guarded {
    model: Arc<dyn Model>,
    providers: Arc<Providers>,
    limits: Arc<Limits>,
    of: String,
    /// Whether it waits while the provider is left alone; where another model stands in, that one is asked.
    patient: bool,
}

impl Guarded {
    pub(super) fn new(model: Arc<dyn Model>, providers: Arc<Providers>, limits: Arc<Limits>, patient: bool) -> Self {
        let of = token(model.name().provider());
        Self { model, providers, limits, of, patient }
    }

    /// Waits until the request may begin.
    async fn begin(&self, request: &Request) -> Result<Turn, ModelError> {
        let most = request.estimate().saturating_add(request.sampling.max_tokens.into());
        let latest = self.limits.latest();
        loop {
            let wait = if self.patient { self.limits.left(latest) } else { Duration::ZERO };
            let pass = self.providers.enter(&self.of, wait).await?;
            let lease = self.limits.begin(self.model.name(), most, latest, self.patient).await?;
            // The line of a rate may be long.
            if pass.holds() {
                return Ok(Turn { limits: self.limits.clone(), pass, lease });
            }
        }
    }
}

/// That a request has begun. How it ends is told to both.
struct Turn {
    limits: Arc<Limits>,
    pass: Pass,
    lease: Lease,
}

impl Turn {
    async fn ended(&mut self, answer: Result<&Response, &ModelError>) {
        match answer {
            Ok(answer) => {
                self.limits.ended(&self.lease, answer.usage.tokens());
                self.pass.ended(Seen::Success).await;
            }
            Err(error) => {
                // A provider that is overloaded may say for how long, as one that is asked too often does.
                if error.class == Class::RateLimited || error.retry_after.is_some() {
                    self.limits.rest(&self.lease, error.retry_after).await;
                }
                self.pass.ended(Seen::of(error.class)).await;
            }
        }
    }
}

/// An answer that is being given.
struct Watched {
    answering: Answering,
    turn: Turn,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<Piece, ModelError>, Self)> {
        let piece = self.answering.next().await?;
        match &piece {
            Ok(Piece::Done(answer)) => self.turn.ended(Ok(answer)).await,
            Ok(Piece::Text(_)) => {}
            Err(error) => self.turn.ended(Err(error)).await,
        }
        Some((piece, self))
    }
}

impl Model for Guarded {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn names(&self) -> Vec<&ModelName> {
        self.model.names()
    }

    fn origin(&self) -> String {
        self.model.origin()
    }

    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            let mut turn = self.begin(request).await?;
            let answer = self.model.complete(request).await;
            turn.ended(answer.as_ref()).await;
            answer
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            let mut turn = self.begin(request).await?;
            match self.model.stream(request).await {
                Ok(answering) => Ok(Answering::of(Updates::unfold(Watched { answering, turn }, Watched::next))),
                Err(error) => {
                    turn.ended(Err(&error)).await;
                    Err(error)
                }
            }
        })
    }

    fn known<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Option<Response>> {
        self.model.known(request)
    }

    fn forget<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, ()> {
        self.model.forget(request)
    }
}
