//! What a server says of itself on its monitoring port: how it writes to its disk is said nowhere else.
//!
//! The port speaks HTTP without encryption and answers one short document, so a request is a few lines on a socket.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{Error, Result};

/// How long one server may take to answer: 5 s.
pub const MONITOR: Duration = Duration::from_secs(5);
/// The largest answer that is read: 1 MiB.
const MAX_ANSWER: u64 = 1 << 20;

/// What one server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) id: String,
    pub(super) name: String,
    /// Whether what is stored is forced to the disk before it is acknowledged.
    pub(super) sync_always: bool,
    /// Otherwise, after how many seconds.
    pub(super) sync_seconds: u64,
}

/// Asks the monitoring port at `http://host:port`.
///
/// # Errors
/// `Decode` for an address that is none; `Unavailable` when no server with JetStream answers there.
pub(super) async fn ask(address: &str) -> Result<Witness> {
    let host = address.trim_end_matches('/').strip_prefix("http://").filter(|host| host.contains(':'));
    let Some(host) = host else {
        return Err(Error::decode(format!(
            "{address}: a monitoring address is http://host:port, such as the server's 8222"
        )));
    };
    let unavailable = |why: String| Error::unavailable(format!("{address}: {why}"));
    let asking = get(host, "/varz");
    let late = || Err(std::io::ErrorKind::TimedOut.into());
    let answer = tokio::time::timeout(MONITOR, asking).await.unwrap_or_else(|_| late());
    let answer = answer.map_err(|e| unavailable(format!("no monitoring port answers: {}", e.kind())))?;
    read(&answer).ok_or_else(|| unavailable("what answers there is no nats-server with JetStream".into()))
}

async fn get(host: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(host).await?;
    // In this version of the protocol the answer is not in pieces, and its end is that of the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Option<Witness> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1)? != "200" {
        return None;
    }
    let said: Value = serde_json::from_str(body).ok()?;
    let store = said["jetstream"]["config"].as_object()?;
    Some(Witness {
        id: said["server_id"].as_str()?.to_owned(),
        name: said["server_name"].as_str()?.to_owned(),
        sync_always: store.get("sync_always").and_then(Value::as_bool).unwrap_or(false),
        sync_seconds: store.get("sync_interval").and_then(Value::as_u64).unwrap_or(0) / 1_000_000_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn only_what_is_said_counts() {
        let body = |config: &str| {
            format!(r#"{{"server_id":"N1","server_name":"a","jetstream":{{"config":{{"store_dir":"/x"{config}}}}}}}"#)
        };
        let said = |config: &str| read(&answer("200 OK", &body(config))).map(|one| (one.sync_always, one.sync_seconds));
        assert_eq!(said(r#","sync_interval":120000000000,"sync_always":true"#), Some((true, 120)));
        assert_eq!(said(r#","sync_interval":120000000000"#), Some((false, 120)));
        assert_eq!(said(""), Some((false, 0)));
        assert_eq!(read(&answer("404 Not Found", &body(""))), None);
        // A server without JetStream has nothing to sync.
        assert_eq!(read(&answer("200 OK", r#"{"server_id":"N1","server_name":"a","jetstream":{}}"#)), None);
        assert_eq!(read(b"SSH-2.0-OpenSSH"), None);
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_told() {
        for address in ["nats://a:4222", "https://a:8222", "http://a", ""] {
            assert!(matches!(ask(address).await, Err(Error::Decode { .. })), "{address}");
        }
        assert!(matches!(ask("http://127.0.0.1:1").await, Err(Error::Unavailable { .. })));
    }
}
