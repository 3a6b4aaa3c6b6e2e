//! A model that there is not.

use callboard_broker::BoxFuture;

use super::{Answering, Capabilities, Model, ModelError, ModelName, Request, Response};

/// What stands for a model that a task names and its node does not have: each call is refused.
pub(super) struct Refusing {
    name: ModelName,
    why: ModelError,
}

impl Refusing {
    pub(super) fn of(name: &str, why: ModelError) -> Self {
        Self { name: name.parse().unwrap_or_default(), why }
    }
}

impl Model for Refusing {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn complete<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(std::future::ready(Err(self.why.clone())))
    }

    fn stream<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(std::future::ready(Err(self.why.clone())))
    }
}
