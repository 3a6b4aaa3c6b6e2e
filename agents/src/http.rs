//! Posting to an address that somebody named.
//!
//! What matters here is what a failure means. A host that is not there or refuses has certainly seen nothing; everything
//! else (a time-out, an answer that breaks off) leaves open what the other side did, and an effect stays in doubt.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;

use crate::{Failure, Result, Value};

/// How long a post may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer's body is kept, in bytes.
pub const MAX_ANSWER: u64 = 64 << 10;

/// What is posted.
#[derive(Clone, Debug)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// Sent as `Idempotency-Key`.
    pub key: Option<String>,
    /// Sent as JSON.
    pub body: Value,
}

/// What it was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The HTTP status, whatever it is.
    pub status: u16,
    /// The first [`MAX_ANSWER`] bytes of the body, as text.
    pub body: String,
}

/// Posts once and does not follow redirects.
///
/// # Errors
/// Transient, and [`not done`](Failure::not_done) where the other side has certainly seen nothing; permanent for an
/// address or a key that is none.
///
/// # Cancellation
/// A post that has begun goes on in its thread until it is answered or its time is up.
pub async fn post(post: Post) -> Result<Posted> {
    let done = tokio::task::spawn_blocking(move || send(&post)).await;
    done.unwrap_or_else(|_| Err(Failure::transient("the runtime is stopping")))
}

fn send(post: &Post) -> Result<Posted> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")));
    let agent: Agent = config.build().into();
    let mut request = agent.post(&post.url).header("content-type", "application/json");
    if let Some(key) = &post.key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send(post.body.to_string()).map_err(|error| failure(&post.url, &error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    let mut answer = response.into_body().into_reader().take(MAX_ANSWER);
    answer
        .read_to_end(&mut body)
        .map_err(|e| Failure::transient(format!("{}: the answer broke off: {e}", post.url)))?;
    Ok(Posted { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn failure(url: &str, error: &ureq::Error) -> Failure {
    let said = || Failure::transient(format!("{url}: {error}"));
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::permanent(format!("{url}: {error}")).not_done(),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => said().not_done(),
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => said().not_done(),
        _ => said(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// A server that reads one request and gives this answer, and its address; and what it read.
    fn server(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/pay", listener.local_addr().expect("an address"));
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut head = Vec::new();
            while !head.ends_with(b"{\"n\":1}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.push(byte[0]);
            }
            send.send(String::from_utf8(head).expect("text")).expect("somebody who asks");
            stream.write_all(answer.as_bytes()).expect("an answer");
        });
        (url, receive)
    }

    fn to(url: &str) -> Post {
        Post { url: url.into(), key: Some("k1".into()), body: crate::json!({ "n": 1 }) }
    }

    #[tokio::test]
    async fn a_post_carries_its_key_and_any_status_is_an_answer() {
        let (url, read) = server("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 2\r\n\r\nno");
        assert_eq!(post(to(&url)).await.unwrap(), Posted { status: 302, body: "no".into() });
        let request = read.recv().unwrap().to_lowercase();
        assert!(request.starts_with("post /pay ") && request.contains("idempotency-key: k1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn who_was_never_reached_has_done_nothing_and_who_hung_up_may_have() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        assert!(post(to(&format!("http://{free}/"))).await.unwrap_err().is_not_done());
        assert!(post(to("no address")).await.unwrap_err().is_not_done());
        let (url, _read) = server("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf");
        assert!(!post(to(&url)).await.unwrap_err().is_not_done());
        let (url, _read) = server("");
        assert!(!post(to(&url)).await.unwrap_err().is_not_done());
    }
}
