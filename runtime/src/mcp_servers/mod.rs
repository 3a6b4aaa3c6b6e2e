//! MCP servers: their tools, in the hands of the agents of this node.
//!
//! A server is a child of the tree: a process of its own, or an address. When it ends it is started again after a growing
//! wait, and its tools are looked at anew; when it keeps ending its supervisor gives up, and so at last does the node. What
//! a call in its hands comes to is an error in any case: a read is tried again with its task, a write is in doubt.
//!
//! | file | holds |
//! |---|---|
//! | `config` | which servers there are, as plain data |
//! | `connection` | a server that was started and asked what it has |
//! | `server` | the same as a child of the tree |
//! | `tool` | a tool of a server as one of ours |

pub mod config;
#[cfg(feature = "mcp")]
mod connection;
#[cfg(feature = "mcp")]
mod server;
#[cfg(feature = "mcp")]
mod tool;

use std::collections::BTreeMap;

use callboard_agents::tool::Toolbox;
use callboard_broker::problem::Problems;

pub use config::{McpConfig, McpPlace};

use crate::tree::ChildSpec;

/// The supervisor of all servers; none where none is configured.
///
/// # Errors
/// That this build has no MCP client.
#[cfg(feature = "mcp")]
pub(crate) fn supervisor(
    servers: &BTreeMap<String, McpConfig>,
    toolbox: &Toolbox,
) -> Result<Option<ChildSpec>, Problems> {
    Ok(server::supervisor(servers, toolbox))
}

/// The supervisor of all servers; none where none is configured.
///
/// # Errors
/// That this build has no MCP client.
#[cfg(not(feature = "mcp"))]
pub(crate) fn supervisor(servers: &BTreeMap<String, McpConfig>, _: &Toolbox) -> Result<Option<ChildSpec>, Problems> {
    use callboard_broker::{code, problem::Problem};
    match servers.is_empty() {
        true => Ok(None),
        false => {
            let what = "this build has no MCP client";
            Err(Problem::new(code::NOT_ALLOWED, what).fix("build with the feature `mcp`").into())
        }
    }
}
