//! `diag.relay`: hands its input on along a path, so that loops, cycles and long chains can be made from outside.

use callboard_agents::{Capability, Context, Result, Service, Value, payload};

/// What `diag.relay` is told.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The capabilities still to come. The first of them gets the rest as its path, or, when it is the last, the input.
    /// Empty: the input comes back.
    #[serde(default)]
    pub path: Vec<String>,
    /// What the last one gets.
    #[serde(default)]
    pub input: Value,
    /// How it is handed on. Default: delegated.
    #[serde(default)]
    pub mode: Mode,
}

/// How a request is handed on.
#[payload]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As a durable child.
    #[default]
    Delegate,
    /// As a message, answered by its deadline or not at all.
    Ask,
}

/// Hands its input on along a path and returns what the end of it answered.
pub const RELAY: Capability<Relay, Value> =
    Capability::new("diag.relay").about("Hands its input on along a path of capabilities and returns the last answer.");

/// Serves [`RELAY`].
pub fn relay() -> Service {
    RELAY.by_fn(handle)
}

async fn handle(ctx: Context, request: Relay) -> Result<Value> {
    let Relay { mut path, input, mode } = request;
    if path.is_empty() {
        return Ok(input);
    }
    let next = Capability::named(&path.remove(0))?;
    let input = match path.is_empty() {
        true => input,
        false => serde_json::to_value(Relay { path, input, mode })?,
    };
    Ok(match mode {
        Mode::Delegate => ctx.delegate(next, input).await?,
        Mode::Ask => ctx.ask(next, input).await?,
    })
}
