//! An agent that is nothing but a prompt, a model and tools: one that a node can be configured with.

use std::sync::Arc;

use callboard_broker::error::Error;
use callboard_broker::subject::CapabilityName;

use super::ToolUse;
use crate::llm::{Message, Request};
use crate::{Capability, Context, Failure, Result, Service, payload};

/// The most turns that an agent can be told to have.
pub const MAX_TURNS: u32 = 100;

/// What such an agent is.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// What it is for: people read it in lists.
    pub about: String,
    /// What it is to do, and how: what its model is told first.
    pub prompt: String,
    /// Tools that it was granted, by name or by family (`docs.*`). Default: none.
    pub tools: Vec<String>,
    /// Answers of its model for one request, at most. Default 8.
    pub turns: u32,
    /// The role whose model it has. Default: the name of its capability.
    pub role: Option<String>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self { about: String::new(), prompt: String::new(), tools: Vec::new(), turns: 8, role: None }
    }
}

/// What it is asked.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// In words.
    #[schemars(extend("x-prompt" = true))]
    pub prompt: String,
}

/// What it answers.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// In words.
    #[schemars(extend("x-answer" = true))]
    pub text: String,
    /// What was called meanwhile, in order.
    #[serde(default)]
    pub calls: Vec<ToolUse>,
    /// Where what it knows comes from, beside what it was asked.
    #[serde(default)]
    pub came_from: Vec<String>,
}

impl AgentConfig {
    /// The service of this capability.
    ///
    /// # Errors
    /// `Decode` after too many different names in one process.
    pub fn service(&self, name: &CapabilityName) -> Result<Service, Error> {
        let name = Capability::named(name.as_str())?.name();
        // A node is configured once.
        let about: &'static str = Box::leak(self.about.clone().into_boxed_str());
        let (of, tools) = (Arc::new(self.clone()), self.tools.clone());
        let service = Capability::<Asked, Said>::new(name).about(about).by_fn(move |ctx: Context, asked: Asked| {
            let of = of.clone();
            async move { of.work(name, ctx, asked).await }
        });
        Ok(service.tools(tools))
    }

    async fn work(&self, name: &str, ctx: Context, asked: Asked) -> Result<Said> {
        let role = self.role.as_deref().unwrap_or(name);
        let model = ctx.model(role).ok_or_else(|| {
            Failure::permanent(format!("no model has the role {role}: name one in [models] of node.toml, or --model"))
        })?;
        let said = [Message::system(self.prompt.as_str()), Message::user(asked.prompt)];
        let messages = said.into_iter().filter(|message| !message.text.is_empty());
        let finished = model.with_tools(ctx.tools()).at_most(self.turns).run(Request::new(messages)).await?;
        Ok(Said { text: finished.response.text, calls: finished.calls, came_from: ctx.origins() })
    }
}
