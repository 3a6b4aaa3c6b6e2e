//! Between our words and those of the library.

use genai::chat::{
    ChatMessage, ChatRequest, ChatResponseFormat, JsonSpec, MessageContent, StopReason, Tool, ToolChoice as Choice,
    ToolResponse,
};
use serde_json::Value;

use crate::llm::{Finish, Message, Request, Says, ToolCall, ToolChoice, Usage};

pub(super) fn request(request: &Request) -> ChatRequest {
    let chat = ChatRequest::new(request.messages.iter().map(message).collect());
    if request.tools.is_empty() {
        return chat;
    }
    let tool = |spec: &crate::llm::ToolSpec| {
        Tool::new(spec.name.clone()).with_description(spec.about.clone()).with_schema(spec.arguments.clone())
    };
    chat.with_tools(request.tools.iter().map(tool).collect::<Vec<_>>())
}

fn message(message: &Message) -> ChatMessage {
    let text = || message.text.clone();
    match message.by {
        Says::System => ChatMessage::system(text()),
        Says::User => ChatMessage::user(text()),
        Says::Tool => ToolResponse::new(message.answers.clone().unwrap_or_default(), text()).into(),
        Says::Assistant if message.calls.is_empty() => ChatMessage::assistant(text()),
        Says::Assistant => {
            let call = |call: &ToolCall| genai::chat::ToolCall {
                call_id: call.id.clone(),
                fn_name: call.name.clone(),
                fn_arguments: call.arguments.clone(),
                thought_signatures: None,
            };
            let calls: Vec<_> = message.calls.iter().map(call).collect();
            ChatMessage::assistant(MessageContent::from_text(text()).append_calls(calls))
        }
    }
}

/// Words and calls in one message.
trait WithCalls {
    fn append_calls(self, calls: Vec<genai::chat::ToolCall>) -> Self;
}

impl WithCalls for MessageContent {
    fn append_calls(mut self, calls: Vec<genai::chat::ToolCall>) -> Self {
        self.extend(MessageContent::from_tool_calls(calls));
        self
    }
}

pub(super) fn choice(request: &Request) -> Option<Choice> {
    match &request.tool_choice {
        _ if request.tools.is_empty() => None,
        ToolChoice::Auto => None,
        ToolChoice::Required => Some(Choice::Required),
        ToolChoice::Named(name) => Some(Choice::tool(name.clone())),
    }
}

pub(super) fn form(request: &Request) -> Option<ChatResponseFormat> {
    let form = request.form.as_ref()?;
    Some(JsonSpec::new(form.name.clone(), form.schema.clone()).into())
}

pub(super) fn calls(content: Option<&MessageContent>) -> Vec<ToolCall> {
    let call = |call: &genai::chat::ToolCall| ToolCall {
        id: call.call_id.clone(),
        name: call.fn_name.clone(),
        arguments: match &call.fn_arguments {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
            value => value.clone(),
        },
    };
    content.map(|content| content.tool_calls().into_iter().map(call).collect()).unwrap_or_default()
}

pub(super) fn usage(usage: &genai::chat::Usage) -> Usage {
    let tokens = |n: Option<i32>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Usage {
        input_tokens: tokens(usage.prompt_tokens),
        output_tokens: tokens(usage.completion_tokens),
        estimated: false,
    }
}

pub(super) fn finish(reason: Option<&StopReason>, has_calls: bool) -> Finish {
    match reason {
        Some(StopReason::MaxTokens(_)) => Finish::Length,
        Some(StopReason::ContentFilter(_)) => Finish::Filtered,
        Some(StopReason::ToolCall(_)) => Finish::Calls,
        _ if has_calls => Finish::Calls,
        _ => Finish::Stop,
    }
}
