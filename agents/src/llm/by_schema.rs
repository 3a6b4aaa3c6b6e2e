//! Tools and forms for models that know none: what they want called is asked for in a form, and a form in words.

use std::borrow::Cow;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answering, Capabilities, Finish, Message, Model, ModelError, ModelName, Piece, Request, Response, Says, Took,
    ToolCall, ToolChoice, ToolSpec, read_form,
};
use crate::Updates;

/// How a model is told of tools that it may name in a form.
const TOOLS: &str = include_str!("prompts/tools.md");
/// That it need not.
const NO_TOOL: &str = include_str!("prompts/no_tool.md");
/// How a model is told of the form of its answer.
const FORM: &str = include_str!("prompts/form.md");

/// A model that calls tools, over one that may not: when it must call one and does not, or never can, it is asked once for
/// a JSON object that names the tool and its arguments. One that knows no forms gets the schema in words.
pub struct ToolsBySchema(Arc<dyn Model>);

/// What is asked for instead of a call.
#[derive(Deserialize)]
#[serde(untagged)]
enum Chosen {
    Call { tool: String, arguments: Value },
    Answer { answer: String },
}

impl ToolsBySchema {
    /// Over this model.
    pub fn new(model: Arc<dyn Model>) -> Self {
        Self(model)
    }

    /// The request as the model can take it: with the form in words, when it knows none.
    fn plain<'a>(&self, request: Cow<'a, Request>) -> Cow<'a, Request> {
        match &request.form {
            Some(form) if !self.0.capabilities().form => Cow::Owned(form_in_words(&request, &form.schema)),
            _ => request,
        }
    }

    async fn called(&self, request: &Request) -> Result<Response, ModelError> {
        let native = match self.0.capabilities().tools {
            true => {
                let response = self.0.complete(&self.plain(Cow::Borrowed(request))).await?;
                if !response.calls.is_empty() || request.tool_choice == ToolChoice::Auto {
                    return Ok(response);
                }
                Some(response)
            }
            false => None,
        };
        // What it took for nothing is used all the same.
        let before = native.map(|Response { model, usage, others, .. }| (usage, others, model));
        let words = self.plain(Cow::Owned(in_words(request)));
        let mut response = match self.0.complete(&words).await {
            Ok(response) => response,
            Err(error) => {
                let error = error.counted(self.name(), words.estimate());
                let before = before.map(|(usage, others, model)| others.into_iter().chain([Took { model, usage }]));
                return Err(error.after(before.into_iter().flatten()));
            }
        };
        if let Some((usage, others, _)) = before {
            response.usage = response.usage.and(usage);
            response.others.splice(..0, others);
        }
        chosen(request, response)
    }
}

/// What an answer in a form chooses: a call, or an answer in words where that is allowed.
fn chosen(request: &Request, response: Response) -> Result<Response, ModelError> {
    let name = response.model.clone();
    let why = match read_form(&response.text) {
        Ok(Chosen::Call { tool, arguments }) if request.tools.iter().any(|one| one.name == tool) => {
            let call = ToolCall { id: format!("{tool}-1"), name: tool, arguments };
            return Ok(Response { text: String::new(), calls: vec![call], finish: Finish::Calls, ..response });
        }
        Ok(Chosen::Answer { answer }) if request.tool_choice == ToolChoice::Auto => {
            return Ok(Response { text: answer, ..response });
        }
        Ok(Chosen::Call { tool, .. }) => format!("{name} called \"{tool}\", which it was not given"),
        Ok(Chosen::Answer { .. }) => format!("{name} called no tool"),
        Err(why) => format!("{name} called no tool: {why}"),
    };
    let took = Took { model: name, usage: response.usage };
    Err(ModelError::form(why).after(response.others.into_iter().chain([took])))
}

/// The same request with its form in the words of whoever sets the task.
fn form_in_words(request: &Request, schema: &Value) -> Request {
    let words = FORM.trim_end().replace("{schema}", &schema.to_string());
    let mut request = Request { form: None, ..request.clone() };
    match request.messages.first_mut() {
        Some(first) if first.by == Says::System => first.text = format!("{}\n\n{words}", first.text),
        _ => request.messages.insert(0, Message::system(words)),
    }
    request
}

/// The same request without tools: they are described, and the form of the answer is a call.
fn in_words(request: &Request) -> Request {
    let wanted = |tool: &&ToolSpec| match &request.tool_choice {
        ToolChoice::Named(name) => tool.name == *name,
        ToolChoice::Auto | ToolChoice::Required => true,
    };
    let tools: Vec<&ToolSpec> = request.tools.iter().filter(wanted).collect();
    let object = |fields: Value, required: Value| json!({ "type": "object", "properties": fields, "required": required, "additionalProperties": false });
    let call = |tool: &&ToolSpec| {
        object(json!({ "tool": { "const": tool.name }, "arguments": tool.arguments }), json!(["tool", "arguments"]))
    };
    let mut forms: Vec<Value> = tools.iter().map(call).collect();
    if request.tool_choice == ToolChoice::Auto {
        forms.push(object(json!({ "answer": { "type": "string" } }), json!(["answer"])));
    }
    let schema = if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) };
    let about: String =
        tools.iter().map(|tool| format!("- {}: {} Arguments: {}\n", tool.name, tool.about, tool.arguments)).collect();
    let otherwise = match request.tool_choice {
        ToolChoice::Auto => NO_TOOL.trim_end(),
        ToolChoice::Required | ToolChoice::Named(_) => "",
    };
    let task = TOOLS.trim_end().replace("{otherwise}", otherwise).replace("{tools}", &about);
    let plain = |message: &Message| match message.by {
        Says::Tool => Message::user(format!("The tool gave: {}", Value::from(message.text.as_str()))),
        Says::Assistant if !message.calls.is_empty() => {
            let call = &message.calls[0];
            Message::assistant(json!({ "tool": call.name, "arguments": call.arguments }).to_string())
        }
        _ => message.clone(),
    };
    let messages = std::iter::once(Message::system(task)).chain(request.messages.iter().map(plain));
    Request { sampling: request.sampling, ..Request::new(messages) }.form("call", schema)
}

impl Model for ToolsBySchema {
    fn name(&self) -> &ModelName {
        self.0.name()
    }

    fn origin(&self) -> String {
        self.0.origin()
    }

    fn names(&self) -> Vec<&ModelName> {
        self.0.names()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { tools: true, form: true }
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            match request.tools.is_empty() {
                true => self.0.complete(&self.plain(Cow::Borrowed(request))).await,
                false => self.called(request).await,
            }
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            let can_call = request.tool_choice == ToolChoice::Auto && self.0.capabilities().tools;
            if request.tools.is_empty() || can_call {
                return self.0.stream(&self.plain(Cow::Borrowed(request))).await;
            }
            let response = self.called(request).await?;
            let one = move |response: Option<Response>| async move { Some((Ok(Piece::Done(response?)), None)) };
            Ok(Answering::of(Updates::unfold(Some(response), one)))
        })
    }
}
