//! MCP servers under a node: those that others wrote, and one that dies to order.
//!
//! Goal: agents use what a server has; whatever becomes of it, a call ends, the server is started again, and one that cannot
//! be started escalates. Method: nodes with a node.toml, servers as processes that are killed.
#![cfg(unix)]

mod dying;
mod real;

use callboard::config::Config;
use callboard::{Capability, Context, Node, Value, json, payload};

/// A call of a tool, as the agent of these tests takes it.
#[payload]
struct Wanted {
    tool: String,
    arguments: Value,
}

const CALL: Capability<Wanted, Value> = Capability::new("test.call");

/// A node whose one agent calls what it is told to.
async fn node(toml: &str) -> Node {
    let config = Config::from_toml("node.toml", toml).unwrap_or_else(|wrong| panic!("{wrong}"));
    let agent = CALL.by_fn(|ctx: Context, wanted: Wanted| async move {
        if wanted.tool == "offers" {
            let offers = ctx.tools().offers();
            return Ok(json!(offers.iter().map(|offer| offer.name.as_str()).collect::<Vec<_>>()));
        }
        let output = ctx.tools().call(&wanted.tool, wanted.arguments).await?;
        Ok(json!(output))
    });
    Node::configured(config).serve(agent.tools(["*"])).start().await.expect("the node starts")
}

async fn call(node: &Node, tool: &str, arguments: Value) -> Result<Value, callboard::Error> {
    node.ask(CALL, Wanted { tool: tool.into(), arguments }).await
}

/// The words of a result.
async fn text(node: &Node, tool: &str, arguments: Value) -> String {
    let done = call(node, tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error}"));
    done["text"].as_str().expect("a result is a text").to_owned()
}
