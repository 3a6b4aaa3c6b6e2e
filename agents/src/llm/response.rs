//! What a model says back.

use serde_json::Value;

use super::{ModelName, Prices};
use crate::payload;

/// A whole answer, as it is recorded in the log of a task.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Response {
    /// In words.
    pub text: String,
    /// What it wants called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// What it took.
    pub usage: Usage,
    /// Who gave it.
    pub model: ModelName,
    /// What it cost, in millionths of whatever prices are in.
    pub cost_micros: u64,
    /// Set when it was given before and was not asked for now: what it took then. It takes nothing now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<Usage>,
    /// What others took that were asked before and gave no answer, but used something all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Took>,
}

/// What a call took, and of whom.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Took {
    /// Who was asked.
    pub model: ModelName,
    /// Tokens.
    pub usage: Usage,
}

/// Something that a model wants called.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// What its result refers to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// As the tool takes them; what was no JSON is there as a text.
    pub arguments: Value,
}

/// Why an answer ended.
#[payload]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// All was said.
    #[default]
    Stop,
    /// It was as long as it might be.
    Length,
    /// A tool is to be called.
    Calls,
    /// The provider kept the rest to itself.
    Filtered,
}

impl Finish {
    /// In the words of the conventions of telemetry.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Calls => "tool_call",
            Self::Filtered => "content_filter",
        }
    }
}

/// Tokens.
#[payload]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Usage {
    /// Of what was said to the model.
    pub input_tokens: u64,
    /// Of what it said.
    pub output_tokens: u64,
    /// Whether the provider did not count, and these are estimates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Usage {
    /// All of them.
    pub fn tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            estimated: self.estimated || other.estimated,
        }
    }
}

impl Response {
    /// Words, as a script has them.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// With what it cost at these prices.
    pub(super) fn priced(self, prices: &Prices) -> Self {
        let others = self.others.iter().map(|took| prices.cost(&took.model, took.usage));
        let cost_micros = others.fold(prices.cost(&self.model, self.usage), u64::saturating_add);
        Self { cost_micros, ..self }
    }

    /// All that was used until it was there: what it took itself, and what others took.
    pub(super) fn used(&self) -> Usage {
        self.others.iter().fold(self.usage, |sum, took| sum.and(took.usage))
    }
}
