//! Who may come in.
//!
//! With keys, whoever knows one. Without, only programs of this machine, and no page in a browser of this machine: a page
//! can send a request to any address, but it cannot send one without saying that it is a page, and a name that somebody
//! points at this machine is not the name of this machine.

use std::net::IpAddr;

use callboard_agents::llm::Secret;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};

use super::refusal::Refusal;

/// Lets a request in, or says why not.
pub(super) fn admit(headers: &HeaderMap, keys: &[Secret]) -> Result<(), Refusal> {
    if !keys.is_empty() {
        return match shown(headers) {
            Some(shown) if keys.iter().any(|key| is_same(key.expose(), shown)) => Ok(()),
            Some(_) => Err(Refusal::unauthorized("this key is none of those that this door takes")),
            None => Err(Refusal::unauthorized("this door wants a key: Authorization: Bearer KEY")),
        };
    }
    if let Some(origin) = text(headers, &ORIGIN)
        && !origin.split_once("://").is_some_and(|(_, host)| is_here(host))
    {
        return Err(Refusal::forbidden("pages of other sites may not ask here: a door with a key takes them"));
    }
    match text(headers, &HOST) {
        Some(host) if !is_here(host) => {
            Err(Refusal::forbidden("this door was asked for by a name that is not this machine's"))
        }
        _ => Ok(()),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// The key that a client shows.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = text(headers, &AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Whether a host, with or without a port, is this machine.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn status(of: &[(HeaderName, &str)], keys: &[Secret]) -> Option<StatusCode> {
        admit(&headers(of), keys).err().map(|refusal| refusal.status)
    }

    #[test]
    fn with_keys_one_of_them_is_wanted() {
        let keys = ["a-key-of-sixteen", "another-of-these"].map(Secret::new);
        let with = |value: &str| status(&[(AUTHORIZATION, value), (HOST, "example.com")], &keys);
        assert_eq!(with("Bearer a-key-of-sixteen"), None);
        assert_eq!(with("bearer another-of-these"), None);
        for bad in ["Bearer a-key-of-sixteeN", "Bearer a-key-of-sixtee", "Bearer ", "Basic a-key-of-sixteen", "x"] {
            assert_eq!(with(bad), Some(StatusCode::UNAUTHORIZED), "{bad}");
        }
        assert_eq!(status(&[(HOST, "127.0.0.1")], &keys), Some(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn without_keys_only_programs_of_this_machine_come_in() {
        let forbidden = Some(StatusCode::FORBIDDEN);
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.3.2.1"] {
            assert_eq!(status(&[(HOST, host)], &[]), None, "{host}");
            assert_eq!(status(&[(HOST, host), (ORIGIN, &format!("http://{host}"))], &[]), None, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "10.0.0.1", ""] {
            assert_eq!(status(&[(HOST, host)], &[]), forbidden, "{host}");
        }
        for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", ""] {
            assert_eq!(status(&[(HOST, "127.0.0.1"), (ORIGIN, origin)], &[]), forbidden, "{origin}");
        }
    }
}
