//! Language models: one small trait, and what is said to it and by it.
//!
//! A [`Model`] is asked once and answers once: it never tries again, because retries belong to the task that asks, where
//! they are counted, spread out and survive a crash. So an error carries its [class](callboard_broker::error::Class) and,
//! when the provider said so, how long to wait. What goes round a model (a cache, a limit, a fallback) is itself a model.
//!
//! ```text
//! ctx.model("content.writer") -> RoleModel    a call is a step: recorded, within the budget, counted
//!        Models                               which model for which role, and which after it
//!          dyn Model                          a provider (feature `genai`), or a script in a test
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `request`, `response` | what is said, and what comes back |
//! | `error` | why nothing came back |
//! | `answering` | an answer while it is being given |
//! | `models`, `config`, `price`, `rate` | which model does what, at which price, how often |
//! | `chain` | several models as one: the next stands in for the one before |
//! | `refusing` | what stands for a model that a task names and its node does not have |
//! | `cache` | answers that are given again without asking |
//! | `role` | a model in the hands of an agent |
//! | `form`, `by_schema` | answers in a form, and tools for models that know none |
//! | `observe` | what is told of a call |
//! | `secret` | keys, which cannot be printed |
//! | `provider` | models of providers, behind the feature `genai` |

mod answering;
mod by_schema;
mod cache;
mod chain;
mod config;
mod error;
mod form;
mod models;
mod observe;
mod price;
#[cfg(feature = "genai")]
mod provider;
mod rate;
mod refusing;
mod request;
mod response;
mod role;
mod secret;
#[cfg(test)]
mod tests;

use callboard_broker::BoxFuture;

pub use answering::{Answering, MAX_ANSWER, Piece};
pub use by_schema::ToolsBySchema;
pub use cache::{Cache, CacheConfig, CacheCounts, CacheKey, CachePlace, Cached};
pub use chain::Chain;
pub use config::{EXTRACTIVE, ModelConfig, ModelName, Provider};
pub use error::ModelError;
pub use form::{MAX_REPAIRS, read_form};
pub use models::{Models, unknown_providers};
pub use observe::{Attempted, ModelCall};
pub use price::{Price, Prices};
pub use rate::{ModelLimits, Rate};
pub use request::{Form, Message, Request, Sampling, Says, ToolChoice, ToolSpec};
pub use response::{Finish, Response, Took, ToolCall, Usage};
pub use role::{ModelUse, RoleModel};
pub use secret::Secret;

/// Something that answers in words.
///
/// # Cancellation
/// Dropping a future, or an answer that is being given, ends the call: a connection is closed, nothing goes on behind.
pub trait Model: Send + Sync + 'static {
    /// Its name, as configuration and telemetry have it.
    fn name(&self) -> &ModelName;

    /// All who may give its answers. Default: itself.
    fn names(&self) -> Vec<&ModelName> {
        vec![self.name()]
    }

    /// What it can do. What it cannot is not asked of it.
    fn capabilities(&self) -> Capabilities;

    /// The whole answer.
    ///
    /// # Errors
    /// As [`ModelError`] has them. It was asked once.
    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>>;

    /// The answer as it is being given; done when the first piece of it is there, because providers accept what they then
    /// refuse. An answer that breaks off later says so with what there was of it.
    ///
    /// # Errors
    /// As for [`complete`](Model::complete), when it did not begin.
    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>>;

    /// What tells its answers from those of another model of the same name: where it is asked, when that is not the
    /// provider's own place. Default: its name.
    fn origin(&self) -> String {
        self.name().to_string()
    }

    /// An answer that is there already, so that nobody is asked and nothing is paid. Default: none.
    fn known<'a>(&'a self, _request: &'a Request) -> BoxFuture<'a, Option<Response>> {
        Box::pin(std::future::ready(None))
    }

    /// The answer to this was of no use: it is not to be given again. Default: nothing is kept.
    fn forget<'a>(&'a self, _request: &'a Request) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Calls tools when it is given some. Otherwise [`ToolsBySchema`] asks for them in words.
    pub tools: bool,
    /// Answers in a JSON Schema when it is given one. Otherwise [`ToolsBySchema`] puts the schema into words.
    pub form: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { tools: true, form: true }
    }
}
