//! Libraries below us whose log lines hold what they carry.

use tracing::{Level, Metadata};

/// Libraries that speak for us to providers of models and to MCP servers and clients: what they log may hold prompts,
/// answers and keys.
const CARRIERS: [&str; 6] = ["genai", "rmcp", "reqwest", "hyper_util", "hyper", "h2"];

/// Whether a log line or span is of a library that may put into it what was said, or a key. A log of yours is to leave
/// these out whatever else it holds:
///
/// ```
/// use callboard::telemetry::tells_what_was_said;
///
/// // fmt::layer().with_filter(filter_fn(|of| !tells_what_was_said(of)))
/// ```
pub fn tells_what_was_said(of: &Metadata<'_>) -> bool {
    let from = of.target().split("::").next().unwrap_or_default();
    // The client of NATS prints each message, but only at its lowest level.
    CARRIERS.contains(&from) || from == "async_nats" && *of.level() == Level::TRACE
}
