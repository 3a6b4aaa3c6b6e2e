//! One request and what follows from it, redirect by redirect.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;
use url::Url;

use super::{Web, refused};
use crate::reach::Refused;
use crate::{Failure, Result};

/// What is sent.
pub(super) enum Method {
    Get,
    Post(String),
}

/// A request to an address that was judged.
pub(super) struct Exchange {
    pub(super) web: Arc<Web>,
    pub(super) first: Url,
    pub(super) method: Method,
    pub(super) limit: Duration,
}

/// What came back.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) is_cut: bool,
}

/// Sends it, and follows where it is sent on to; only what is got, never what is posted.
pub(super) fn exchange(what: &Exchange) -> Result<Answer> {
    let end = Instant::now() + what.limit;
    let mut url = what.first.clone();
    for _ in 0..=what.web.redirects {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::transient(format!("{url}: no answer within {} s", what.limit.as_secs_f64())));
        }
        let response = send(what, &url, left)?;
        let status = response.status();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (location, kind) = (header("location"), header("content-type"));
        if status.is_redirection() && !location.is_empty() && matches!(what.method, Method::Get) {
            url = what.web.places().follow(&url, &location).map_err(refused)?;
            continue;
        }
        let (text, is_cut) = read(response, what.web.max_page, &url)?;
        return Ok(Answer { url: url.into(), status: status.as_u16(), kind, text, is_cut });
    }
    Err(refused(format!("{}: more than {} redirects", what.first, what.web.redirects)))
}

fn send(what: &Exchange, url: &Url, left: Duration) -> Result<ureq::http::Response<ureq::Body>> {
    let config = Agent::config_builder()
        .timeout_global(Some(left))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        // A proxy would resolve the name where we cannot see to what.
        .proxy(None)
        .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")));
    // A fresh agent for each: no connection is left over that was made for something else.
    let agent = Agent::with_parts(config.build(), DefaultConnector::default(), what.web.reach.clone());
    let sent = match &what.method {
        Method::Get => agent.get(url.as_str()).call(),
        Method::Post(body) => agent.post(url.as_str()).header("content-type", "application/json").send(body.as_str()),
    };
    sent.map_err(|error| failure(url, error))
}

/// The body as text, unpacked, up to the limit.
fn read(response: ureq::http::Response<ureq::Body>, most: u64, url: &Url) -> Result<(String, bool)> {
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_reader().take(most.saturating_add(1));
    body.read_to_end(&mut bytes).map_err(|e| Failure::transient(format!("{url}: the answer broke off: {e}")))?;
    let is_cut = bytes.len() as u64 > most;
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok((String::from_utf8_lossy(&bytes).into_owned(), is_cut))
}

fn failure(url: &Url, error: ureq::Error) -> Failure {
    let said = |error: &ureq::Error| Failure::transient(format!("{url}: {error}"));
    match &error {
        ureq::Error::Other(inner) if inner.is::<Refused>() => refused(format!("{url}: {inner}")),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => refused(format!("{url}: {error}")),
        ureq::Error::HostNotFound => Failure::permanent(format!("{url}: {error}")).not_done(),
        ureq::Error::ConnectionFailed => said(&error).not_done(),
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => said(&error).not_done(),
        _ => said(&error),
    }
}
