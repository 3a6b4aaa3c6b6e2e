//! A server of the Model Context Protocol: public capabilities as tools, and runs by their ids.
//!
//! | file | holds |
//! |---|---|
//! | `tools` | what is listed: pure |
//! | `server` | calls of capabilities, told while they go on |
//! | `runs` | runs that are begun, looked at and cancelled by id |
//!
//! The protocol itself, its versions and its transports are `rmcp`'s, which is the protocol's own library.
//!
//! # Guarantees
//! A call is one run. Who takes the call back, or closes the connection, has cancelled its run; what was begun by
//! `run_start` goes on. No more than [`Options::at_once`] calls are worked on together, none for longer than
//! [`Options::limit`]; a message has at most 16 MiB.

mod runs;
mod server;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use rmcp::ServiceExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::door::Desk;
use server::Tools;

/// Calls that are worked on together: 64.
pub const AT_ONCE: usize = 64;
/// How long one call may take: 9 min. What takes longer is begun by `run_start`.
pub const LIMIT: Duration = Duration::from_secs(9 * 60);
/// How long a run that is begun by `run_start` may take: 24 h.
pub const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How long runs of calls that were taken back may take to be cancelled at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How the server is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Calls that are worked on together, and as many runs that were begun by `run_start`; one more is refused. Default
    /// [`AT_ONCE`].
    pub at_once: u16,
    /// How long one call may take. Default [`LIMIT`].
    pub limit: Duration,
    /// How long a run that is begun by `run_start` may take. Default [`RUN_LIMIT`].
    pub run_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { at_once: AT_ONCE as u16, limit: LIMIT, run_limit: RUN_LIMIT }
    }
}

/// Serves one client until it closes the connection, or `until` resolves.
///
/// # Errors
/// `Unavailable` when what comes is not the protocol.
///
/// # Cancellation
/// Calls that are under way are cancelled.
pub async fn serve<R, W>(
    desk: Desk,
    options: Options,
    (reader, writer): (R, W),
    until: impl Future<Output = ()>,
) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(options.at_once.into()));
    let tools = Tools::new(desk, options, places.clone());
    let mut until = std::pin::pin!(until);
    let running = tokio::select! {
        running = tools.serve((reader, writer)) => running,
        () = &mut until => return Ok(()),
    };
    let running = running.map_err(|e| Error::unavailable(format!("no client of MCP: {e}")))?;
    let ending = running.cancellation_token();
    let mut waiting = std::pin::pin!(running.waiting());
    let ended = tokio::select! {
        ended = &mut waiting => ended,
        () = until => {
            ending.cancel();
            waiting.await
        }
    };
    // Each call holds a place until its run has ended or is cancelled.
    let _ = timeout(FAREWELL, places.acquire_many(options.at_once.into())).await;
    ended.map(drop).map_err(|e| Error::unavailable(e.to_string()))
}

/// Standard input and output as the two ends of a connection.
pub fn stdio() -> (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static) {
    rmcp::transport::io::stdio_pipes()
}
