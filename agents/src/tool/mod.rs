//! Tools: what an agent, or the model behind it, may have done in the world.
//!
//! A model that asks for a tool decides nothing. What an agent was granted, what a tool may be reached with, how often, how
//! long and at which price is decided here and by whoever runs the agent, and a prompt changes none of it. A call that
//! only reads is a step, one that writes is an effect, so that neither is repeated by a second attempt; its audit event
//! is published before it is made. What comes back is data with an origin: from then on the request is *tainted*, and
//! tools of high risk are reached only by a policy that says so, or through a person.
//!
//! ```text
//! model.with_tools(ctx.tools())    the loop: the model asks, it is checked, done, and told as data
//!   Tools                          the tools of one request: those that its agent was granted
//!     Desk                         what the runtime knows of the request: grants, taint, counts
//!       Toolbox                    the tools of a node, each with its rules
//!         dyn AnyTool              files, http, sql, a capability, an MCP server, one of your own
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `definition` | a tool: its name, its schema, what it does; typed, and with its types erased |
//! | `function` | a closure as a tool |
//! | `output` | what a tool gives back |
//! | `rules`, `rate` | what it may be reached with, how often, how long |
//! | `toolbox` | the tools of a node |
//! | `taint`, `desk` | where what a request knows comes from; what a request may use |
//! | `tools`, `call` | the tools in the hands of an agent; one call from grant to result |
//! | `turns` | the loop with a model |
//! | `agent` | an agent that is nothing but a prompt, a model and tools |
//! | `files`, `http`, `sql`, `capability` | the tools that are built in |
//! | `config` | the tools that are configured |

mod agent;
mod call;
pub mod capability;
mod config;
mod definition;
mod desk;
#[cfg(feature = "files")]
pub mod files;
mod function;
#[cfg(feature = "web")]
pub mod http;
#[cfg(all(test, unix, feature = "files", feature = "web"))]
mod injections;
mod output;
mod rate;
mod rules;
pub mod sql;
mod taint;
#[cfg(test)]
mod tests;
mod toolbox;
mod tools;
mod turns;

pub use agent::{AgentConfig, Asked, MAX_TURNS, Said};
pub use config::{ToolConfig, ToolKind, open};
pub use definition::{AnyTool, Does, MAX_NAME, Offer, Risk, Tool, ToolCtx};
pub use desk::Desk;
pub use function::FnTool;
pub use output::{Fault, Output};
pub use rate::Rate;
pub use rules::{Limits, Rules, WhenTainted, may_cover};
pub use taint::{MAX_ORIGINS, Taint};
pub use toolbox::{Entry, MAX_TOOLS, Toolbox};
pub use tools::Tools;
pub use turns::{Finished, MAX_CALLS, ToolUse, Turns};
