//! A tool: its name, its schema, what it does.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use serde_json::Value;
use tokio::time::Instant;

use super::Output;
use crate::payload::schema;
use crate::{Context, Payload, Result, payload};

/// The longest name of a tool, in bytes.
pub const MAX_NAME: usize = 120;

/// What calling a tool does to the world. It decides how a call is recorded.
#[payload]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It only reads: a call is a step, and may be made again.
    Reads,
    /// It changes something: a call is an effect. When it is in doubt whether it was made, a person is asked.
    Writes,
    /// It changes something, and knows repeats by a key: in doubt it is called again with the same one.
    WritesKeyed,
    /// It hands work to another agent: the child has a log of its own, and nothing else is recorded.
    Delegates,
}

/// How much harm a call can do when it is made for somebody who should not have it.
#[payload]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Whatever the arguments are, the harm is small.
    Normal,
    /// It changes, pays, sends, or carries something out: what is tainted does not reach it by itself.
    High,
}

/// A tool as it is offered: all that a caller may know of it.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Letters, digits, `_` and `-`, with dots between: `docs.read`. At most [`MAX_NAME`] bytes.
    pub name: String,
    /// What it is for. Models read it.
    pub about: String,
    /// JSON Schema of its arguments.
    pub arguments: Value,
    /// What a call does.
    pub does: Does,
    /// How much harm it can do.
    pub risk: Risk,
    /// Where what it says of itself comes from, when that is not to be believed: it taints whoever reads the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Offer {
    /// A tool of this name that takes an `A`. What writes is of high risk, unless the rules of the node say otherwise.
    pub fn new<A: Payload>(name: impl Into<String>, about: impl Into<String>, does: Does) -> Self {
        let risk = match does {
            Does::Reads => Risk::Normal,
            Does::Writes | Does::WritesKeyed | Does::Delegates => Risk::High,
        };
        Self { name: name.into(), about: about.into(), arguments: (*schema::<A>()).clone(), does, risk, origin: None }
    }

    /// With another risk than that of what it does.
    #[must_use]
    pub fn risk(self, risk: Risk) -> Self {
        Self { risk, ..self }
    }

    /// In words of this origin, such as `mcp far`, and not of whoever runs the node.
    #[must_use]
    pub fn in_words_of(self, origin: impl Into<String>) -> Self {
        Self { origin: Some(origin.into()), ..self }
    }

    /// Whether its name is one.
    ///
    /// # Errors
    /// `Decode` with what a name is.
    pub fn check(&self) -> Result<(), Error> {
        match callboard_broker::subject::is_path(&self.name) && self.name.len() <= MAX_NAME {
            true => Ok(()),
            false => Err(Error::decode(format!(
                "\"{}\" is no name of a tool: letters, digits, `_` and `-` with dots between, at most {MAX_NAME}",
                self.name
            ))),
        }
    }
}

/// What a tool may use while it is called.
#[derive(Clone, Debug)]
pub struct ToolCtx {
    /// The request on whose behalf it is called.
    pub ctx: Context,
    /// What tells the other side that a repeat is one; only of a tool that [`Does::WritesKeyed`], and within a task.
    pub key: Option<String>,
    /// When it must have ended.
    pub deadline: Instant,
    /// How long it may take as the rules of the node have it; none where they say nothing.
    pub timeout: Option<Duration>,
    /// How much of its result is kept, in bytes: to make more is waste.
    pub max_result: usize,
}

/// Something that an agent, or the model behind it, may have done.
///
/// A failure that is [`not done`](crate::Failure::not_done) says that certainly nothing happened: without it, a call that
/// writes and fails is in doubt. A [permanent](crate::Class::Permanent) one is told to the model that asked.
///
/// # Cancellation
/// A call is dropped when its time is up or its request is no longer wanted.
///
/// # Example
/// ```
/// use callboard_agents::tool::{Does, Offer, Output, Tool, ToolCtx};
/// use callboard_agents::{Result, payload};
///
/// #[payload(crate = callboard_agents)]
/// struct Of {
///     /// The number of the article.
///     article: u32,
/// }
///
/// struct Price;
///
/// impl Tool for Price {
///     type Arguments = Of;
///
///     fn offer(&self) -> Offer {
///         Offer::new::<Of>("shop.price", "What an article costs", Does::Reads)
///     }
///
///     async fn call(&self, _of: &ToolCtx, asked: Of) -> Result<Output> {
///         Ok(Output::text(format!("{} EUR", asked.article * 2)))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// What it takes.
    type Arguments: Payload;

    /// What it is. Asked once.
    fn offer(&self) -> Offer;

    /// Does it.
    fn call(&self, of: &ToolCtx, arguments: Self::Arguments) -> impl Future<Output = Result<Output>> + Send;
}

/// A tool with its types erased, for those whose schema is known only at run time.
pub trait AnyTool: Send + Sync + 'static {
    /// What it is.
    fn offer(&self) -> &Offer;

    /// What is wrong with arguments, before anybody is asked to approve them.
    ///
    /// # Errors
    /// In words, for the model.
    fn fits(&self, arguments: &Value) -> Result<(), String>;

    /// Does it.
    fn call<'a>(&'a self, of: &'a ToolCtx, arguments: Value) -> BoxFuture<'a, Result<Output>>;
}

struct Typed<T> {
    tool: T,
    offer: Offer,
}

impl<T: Tool> AnyTool for Typed<T> {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn fits(&self, arguments: &Value) -> Result<(), String> {
        serde_json::from_value::<T::Arguments>(arguments.clone()).map(drop).map_err(|e| e.to_string())
    }

    fn call<'a>(&'a self, of: &'a ToolCtx, arguments: Value) -> BoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            let arguments = serde_json::from_value(arguments)?;
            self.tool.call(of, arguments).await
        })
    }
}

/// The typed world ends here.
pub(super) fn erased<T: Tool>(tool: T) -> Arc<dyn AnyTool> {
    Arc::new(Typed { offer: tool.offer(), tool })
}

impl fmt::Debug for dyn AnyTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tool({})", self.offer().name)
    }
}
