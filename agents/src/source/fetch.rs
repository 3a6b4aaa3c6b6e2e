//! URLs that the user named, fetched within limits.
//!
//! Only what was named is fetched, never what a page links to.

use std::io::Read;

use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;

use super::{Limits, SourceError};
use crate::reach::Reach;

/// What a server sent.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// The last part of the address, by which kinds of text are told apart.
    pub(super) name: String,
}

/// Gets one page.
///
/// # Errors
/// A server that cannot be reached or takes too long, more redirects or bytes than `limits` allow, and every status but
/// success, with that status.
pub(super) fn fetch(url: &str, limits: &Limits) -> Result<Fetched, SourceError> {
    let failed = |status: Option<u16>, why: String| SourceError::Fetch { url: url.to_owned(), status, why };
    let config = Agent::config_builder()
        .timeout_global(Some(limits.fetch))
        .max_redirects(limits.redirects)
        .http_status_as_error(false)
        .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")));
    let agent = match limits.only_public {
        // A proxy would resolve the name where we cannot see to what.
        true => Agent::with_parts(config.proxy(None).build(), DefaultConnector::default(), Reach::public()),
        false => config.build().into(),
    };
    let response = agent.get(url).call().map_err(|error| failed(None, plain(&error, limits)))?;
    let status = response.status();
    if !status.is_success() {
        let reason = status.canonical_reason().unwrap_or("no reason given");
        return Err(failed(Some(status.as_u16()), format!("{} {}", status.as_u16(), reason.to_lowercase())));
    }
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_reader().take(limits.file_bytes.saturating_add(1));
    body.read_to_end(&mut bytes).map_err(|error| failed(None, format!("the answer broke off: {}", error.kind())))?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(failed(None, format!("larger than {} bytes", limits.file_bytes)));
    }
    Ok(Fetched { bytes, name: name(url).to_owned() })
}

/// The last part of the path.
fn name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

fn plain(error: &ureq::Error, limits: &Limits) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", limits.fetch.as_secs()),
        ureq::Error::TooManyRedirects => format!("more than {} redirects", limits.redirects),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::BadUri(_) => "not a valid URL".to_owned(),
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Other(error) => error.to_string(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// A server on a free port that gives each request the next answer, and its address.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut head = [0; 2048];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}/page.md?x=1")
    }

    fn answer(status: &str, more: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{body}", body.len())
    }

    fn why(answers: Vec<String>, limits: &Limits) -> (Option<u16>, String) {
        match fetch(&server(answers), limits) {
            Err(SourceError::Fetch { status, why, .. }) => (status, why),
            Err(other) => (None, other.to_string()),
            Ok(_) => (None, "fetched".to_owned()),
        }
    }

    #[test]
    fn a_page_comes_with_its_name_also_behind_a_redirect() {
        let moved = answer("302 Found", "location: /page.md\r\n", "");
        let fetched = fetch(&server(vec![moved, answer("200 OK", "", "# Hello")]), &Limits::default()).expect("a page");
        assert_eq!((fetched.bytes.as_slice(), fetched.name.as_str()), (&b"# Hello"[..], "page.md"));
    }

    #[test]
    fn every_way_to_fail_is_named() {
        let limits = Limits { file_bytes: 10, redirects: 1, fetch: Duration::from_secs(5), ..Limits::default() };
        assert_eq!(why(vec![answer("404 Not Found", "", "gone")], &limits), (Some(404), "404 not found".to_owned()));
        assert_eq!(why(vec![answer("200 OK", "", "0123456789x")], &limits), (None, "larger than 10 bytes".to_owned()));
        let moved = || answer("302 Found", "location: /page.md\r\n", "");
        assert_eq!(why(vec![moved(), moved(), moved()], &limits), (None, "more than 1 redirects".to_owned()));
        let cut = answer("200 OK", "", "0123456789").replace("length: 10", "length: 20");
        assert!(why(vec![cut], &limits).1.starts_with("the answer broke off"));
    }

    #[test]
    fn nobody_there_is_an_error_of_its_own() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let error = fetch(&format!("http://{free}/"), &Limits::default()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.ends_with("connection refused")));
    }
}
