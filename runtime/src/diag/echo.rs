//! `diag.echo`: an answer, late, never or badly, as told.

use std::time::Duration;

use callboard_agents::{Capability, Context, Failure, Result, Service, payload};

/// What `diag.echo` is told.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Comes back as it is.
    #[schemars(extend("x-prompt" = true))]
    pub text: String,
    /// Wait so many milliseconds first. Default 0.
    #[serde(default)]
    pub delay_ms: u64,
    /// Fail the first so many attempts. Default 0.
    #[serde(default)]
    pub fail_times: u32,
    /// Panic instead of answering. Default false.
    #[serde(default)]
    pub panic: bool,
}

/// What `diag.echo` answers.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Echoed {
    /// The text that was sent.
    #[schemars(extend("x-answer" = true))]
    pub text: String,
    /// The attempt that answered, from 1.
    pub attempt: u32,
}

/// Comes back, late, never or badly, as told.
pub const ECHO: Capability<Echo, Echoed> =
    Capability::new("diag.echo").about("Returns its text, after a delay, some failures or a panic if told so.");

/// The longest delay: an hour.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Serves [`ECHO`].
pub fn echo() -> Service {
    ECHO.by_fn(handle)
}

async fn handle(ctx: Context, request: Echo) -> Result<Echoed> {
    tokio::time::sleep(Duration::from_millis(request.delay_ms).min(MAX_DELAY)).await;
    assert!(!request.panic, "diag.echo was told to panic");
    if ctx.attempt() <= request.fail_times {
        return Err(Failure::transient(format!(
            "told to fail {} times, this is attempt {}",
            request.fail_times,
            ctx.attempt()
        )));
    }
    Ok(Echoed { text: request.text, attempt: ctx.attempt() })
}
