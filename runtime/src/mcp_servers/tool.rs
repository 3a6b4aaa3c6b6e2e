//! A tool of a server as one of ours.

use std::sync::Arc;

use callboard_agents::tool::{AnyTool, Does, Offer, Output, Risk, ToolCtx};
use callboard_agents::{Failure, Result};
use callboard_broker::{BoxFuture, code};
use rmcp::model::{CallToolRequestParams, CallToolResult, Tool};
use rmcp::service::ServiceError;
use serde_json::Value;
use tokio::time::Instant;

use super::config::McpConfig;
use super::server::{Line, Shared};

/// How much of a description is taken over, in letters.
const MAX_ABOUT: usize = 2_000;
/// The largest schema that is taken over, in bytes.
const MAX_SCHEMA: usize = 64 << 10;

/// See the module.
pub(super) struct Remote {
    offer: Offer,
    /// What the server calls it.
    name: String,
    server: Arc<Shared>,
}

impl Remote {
    /// None for a tool whose schema is too large.
    pub(super) fn new(server: &Arc<Shared>, config: &McpConfig, tool: Tool) -> Option<Self> {
        let arguments = Value::Object((*tool.input_schema).clone());
        if arguments.to_string().len() > MAX_SCHEMA {
            tracing::warn!(server = %server.name, tool = %tool.name, "the schema of a tool is too large, it is left out");
            return None;
        }
        let says_that_it_reads = tool.annotations.as_ref().and_then(|hints| hints.read_only_hint) == Some(true);
        let (does, risk) = match config.hints && says_that_it_reads {
            true => (Does::Reads, Risk::Normal),
            false => (Does::Writes, Risk::High),
        };
        let is_of = |c: char| c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c);
        let ours: String = tool.name.chars().map(|c| if is_of(c) { c } else { '_' }).collect();
        let about = tool.description.as_deref().unwrap_or_default().chars().take(MAX_ABOUT).collect();
        // Also what it says of its tools is read by models, and may be an order to them.
        let origin = (!config.hints).then(|| format!("mcp {}", server.name));
        let offer = Offer { name: format!("{}.{ours}", server.name), about, arguments, does, risk, origin };
        Some(Self { offer, name: tool.name.into_owned(), server: server.clone() })
    }
}

impl AnyTool for Remote {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn fits(&self, arguments: &Value) -> Result<(), String> {
        // What is in it is the server's to judge.
        if arguments.is_object() { Ok(()) } else { Err("the arguments are no JSON object".into()) }
    }

    fn call<'a>(&'a self, of: &'a ToolCtx, arguments: Value) -> BoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            let server = &self.server.name;
            let line =
                self.server.line().ok_or_else(|| away(format!("the MCP server {server} is not there")).not_done())?;
            let mut asked = CallToolRequestParams::new(self.name.clone());
            if let Value::Object(fields) = arguments {
                asked = asked.with_arguments(fields);
            }
            let mut asking = Asking { line: &line, deadline: of.deadline, is_answered: false };
            let answer = line.peer.call_tool(asked).await;
            asking.is_answered = true;
            drop(asking);
            match answer {
                Ok(result) => Ok(said(result, of.max_result)),
                Err(ServiceError::McpError(error)) => {
                    Err(Failure::permanent(format!("the MCP server {server} answers: {}", error.message)))
                }
                Err(error @ (ServiceError::TransportSend(_) | ServiceError::TransportClosed)) => {
                    line.is_broken();
                    Err(away(format!("the MCP server {server} ended before it had answered: {error}")))
                }
                Err(error) => Err(Failure::transient(format!("the MCP server {server}: {error}"))),
            }
        })
    }
}

/// A call that is under way. Whoever waits for it gives up at its deadline, and drops it.
struct Asking<'a> {
    line: &'a Line,
    deadline: Instant,
    is_answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            self.line.answered();
        } else if Instant::now() >= self.deadline {
            // One that was no longer wanted before says nothing about the server.
            self.line.unanswered();
        }
    }
}

fn away(why: String) -> Failure {
    Failure::transient(why).code(code::MCP_AWAY)
}

/// A result in words. That a tool says it failed is an answer too: nobody knows better what was done.
fn said(result: CallToolResult, most: usize) -> Output {
    let mut text = if result.is_error == Some(true) { "error: ".to_owned() } else { String::new() };
    for block in &result.content {
        if text.len() > most {
            break;
        }
        let block = serde_json::to_value(block).unwrap_or_default();
        let part = |name: &str| block[name].as_str().unwrap_or_default();
        match part("type") {
            "text" => text.push_str(part("text")),
            "resource" => text.push_str(block["resource"]["text"].as_str().unwrap_or("[a resource that is no text]")),
            "resource_link" => text.push_str(part("uri")),
            kind => text.push_str(&format!("[{kind}, {} letters of base64]", part("data").len())),
        }
        text.push('\n');
    }
    if result.content.is_empty()
        && let Some(value) = &result.structured_content
    {
        text.push_str(&value.to_string());
    }
    text.truncate(text.trim_end().len());
    Output::text(text)
}
