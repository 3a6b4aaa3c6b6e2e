//! The HTTP under OTLP: one blocking request at a time, on the exporter's own thread.
//!
//! A collector that is away costs what it would have been told, and one line in the log when it goes and one when it is
//! back; it delays no work.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;

/// The longest answer of a collector that is read.
const MAX_ANSWER: u64 = 1 << 20;

/// A client that says once when the collector does not take what it is sent.
pub(super) struct Client {
    agent: Agent,
    is_away: AtomicBool,
}

impl Client {
    /// A client whose requests take at most so long.
    pub(super) fn new(limit: Duration) -> Self {
        let config = Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false).max_redirects(0);
        Self { agent: config.build().into(), is_away: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let to = request.uri().to_string();
        let sent = self.agent.run(request.map(|body| body.to_vec())).map_err(HttpError::from).and_then(|answer| {
            let (head, mut body) = answer.into_parts();
            let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
            Ok(Response::from_parts(head, Bytes::from(body)))
        });
        let refused = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        match refused {
            Some(error) if !self.is_away.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%to, error, "telemetry is not taken, it is dropped until it is");
            }
            None if self.is_away.swap(false, Ordering::Relaxed) => tracing::info!(%to, "telemetry is taken again"),
            _ => {}
        }
        sent
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(self.send(request)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
