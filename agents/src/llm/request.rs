//! What is said to a model.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ToolCall;

/// One request: all that an answer depends on. Two that are equal may share an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What was said so far, in order; the last is by whoever asks.
    pub messages: Vec<Message>,
    /// What the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// Whether it should.
    #[serde(default)]
    pub tool_choice: ToolChoice,
    /// The form of the answer; none: words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// How the answer is chosen.
    #[serde(default)]
    pub sampling: Sampling,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Whoever set the model its task.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
    /// A tool that it called.
    Tool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// By whom.
    pub by: Says,
    /// In words; of a tool: its result.
    pub text: String,
    /// What the model called with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Of a tool: the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
}

/// Something that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// JSON Schema of its arguments.
    pub arguments: Value,
}

/// Whether a model should call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// One of them.
    Required,
    /// This one.
    Named(String),
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// JSON Schema.
    pub schema: Value,
}

/// How an answer is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 for the likeliest answer, which is the default; more for others.
    pub temperature: f64,
    /// Tokens of the answer at most. Default 1,024.
    pub max_tokens: u32,
    /// What chance is made of, where a provider takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, max_tokens: 1_024, seed: None }
    }
}

impl Message {
    fn of(by: Says, text: impl Into<String>) -> Self {
        Self { by, text: text.into(), calls: Vec::new(), answers: None }
    }

    /// Sets a model its task.
    pub fn system(text: impl Into<String>) -> Self {
        Self::of(Says::System, text)
    }

    /// Asks it.
    pub fn user(text: impl Into<String>) -> Self {
        Self::of(Says::User, text)
    }

    /// What it said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::of(Says::Assistant, text)
    }

    /// What it called, with what it said beside it.
    pub fn calls(text: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self { calls, ..Self::assistant(text) }
    }

    /// What the call of this id gave.
    pub fn result(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { answers: Some(id.into()), ..Self::of(Says::Tool, text) }
    }
}

impl Request {
    /// These messages, with everything else at its default.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), ..Self::default() }
    }

    /// With the answer in this form.
    #[must_use]
    pub fn form(mut self, name: impl Into<String>, schema: Value) -> Self {
        self.form = Some(Form { name: name.into(), schema });
        self
    }

    /// With these tools.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// The tokens of what is said, roughly and rather too many: a quarter of its letters and a tenth more. For budgets,
    /// before a provider has counted.
    pub fn estimate(&self) -> u64 {
        let called = |call: &ToolCall| call.id.len() + call.name.len() + call.arguments.to_string().len() + 16;
        let of = |one: &Message| one.text.len() + 16 + one.calls.iter().map(called).sum::<usize>();
        let said: usize = self.messages.iter().map(of).sum();
        let beside = serde_json::to_string(&(&self.tools, &self.form)).map_or(0, |text| text.len());
        ((said + beside) as u64).div_ceil(4) * 11 / 10
    }
}

impl From<&str> for Request {
    fn from(prompt: &str) -> Self {
        Self::new([Message::user(prompt)])
    }
}

impl From<String> for Request {
    fn from(prompt: String) -> Self {
        Self::new([Message::user(prompt)])
    }
}
