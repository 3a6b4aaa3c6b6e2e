//! Several models as one.

use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::Class;

use super::{Answering, Capabilities, Model, ModelError, ModelName, Request, Response, Took};

/// Models in the order in which they stand in for each other: the next is asked when the one before gave no answer, once
/// each. An answer that had begun and broke off is not begun again by another: whoever reads it has heard half of it.
pub struct Chain {
    first: Arc<dyn Model>,
    others: Vec<Arc<dyn Model>>,
}

impl Chain {
    /// This one, and those that stand in for it.
    pub fn new(first: Arc<dyn Model>, others: Vec<Arc<dyn Model>>) -> Self {
        Self { first, others }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Model>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// What was refused so far, as one refusal.
#[derive(Default)]
struct Refused(Option<ModelError>);

impl Refused {
    /// By this model, too.
    fn add(&mut self, error: ModelError, by: &dyn Model, request: &Request) {
        let error = error.counted(by.name(), request.estimate());
        self.0 = Some(match self.0.take() {
            Some(one) => better(one, error),
            None => error,
        });
    }

    /// What those took who gave no answer.
    fn used(self) -> Vec<Took> {
        self.0.map(|error| error.used).unwrap_or_default()
    }

    fn error(self) -> ModelError {
        self.0.unwrap_or_else(|| ModelError::permanent("there is no model"))
    }
}

/// Of two refusals the one to go by: one after which another try makes sense, and of two such the one that comes sooner.
fn better(mut one: ModelError, mut other: ModelError) -> ModelError {
    let wait = |error: &ModelError| (!error.class.is_retried(), error.retry_after.unwrap_or_default());
    let (class, message) = (one.class, format!("{}; then {}", one.message, other.message));
    let used = [std::mem::take(&mut one.used), std::mem::take(&mut other.used)].concat();
    let best = if wait(&one) <= wait(&other) { one } else { other };
    ModelError { message, used, class: if class == Class::Cancelled { class } else { best.class }, ..best }
}

impl Model for Chain {
    fn name(&self) -> &ModelName {
        self.first.name()
    }

    fn names(&self) -> Vec<&ModelName> {
        self.all().flat_map(|model| model.names()).collect()
    }

    fn origin(&self) -> String {
        self.first.origin()
    }

    /// What the first of them can do; the others get what they cannot do in words.
    fn capabilities(&self) -> Capabilities {
        self.first.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            let mut refused = Refused::default();
            for model in self.all() {
                match model.complete(request).await {
                    Ok(mut response) => {
                        response.others.splice(..0, refused.used());
                        return Ok(response);
                    }
                    Err(error) if error.class == Class::Cancelled => return Err(error.after(refused.used())),
                    Err(error) => refused.add(error, &**model, request),
                }
            }
            Err(refused.error())
        })
    }

    /// What the first of them has. What another said in its place is no answer of it.
    fn known<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Option<Response>> {
        self.first.known(request)
    }

    fn forget<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for model in self.all() {
                model.forget(request).await;
            }
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            let mut refused = Refused::default();
            for model in self.all() {
                match model.stream(request).await {
                    Ok(answering) => return Ok(answering.by(model.name(), request).after(refused.used())),
                    Err(error) if error.class == Class::Cancelled => return Err(error.after(refused.used())),
                    Err(error) => refused.add(error, &**model, request),
                }
            }
            Err(refused.error())
        })
    }
}
