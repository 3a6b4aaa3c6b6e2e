//! Streams that reserve room, on a server that has less of it.
//!
//! A bound in bytes is reserved when a stream is made, so a small disk would refuse a broker that it has room enough to
//! run. Such a stream is asked for at half its size, and half of that, until it fits; that is said.

use serde_json::{Value, json};
use tracing::warn;

use crate::error::{Error, Result};
use crate::nats::js::ApiError;
use crate::nats::link::Link;

/// Below this no stream goes: a broker that cannot keep so much is refused.
const LEAST: u64 = 16 << 20;

/// Whether a server or an account, or all servers of a cluster, have no room for what a stream reserves.
fn is_no_room(error: &ApiError) -> bool {
    error.err_code == 10047 || error.err_code == 10005 && error.description.contains("insufficient storage")
}

/// What a server made of a request for a stream.
pub(super) struct Fitted {
    /// What was asked for in the end.
    pub(super) asked: Value,
    /// What the server has now.
    pub(super) found: Value,
}

/// Asks for a stream, and for less of it as long as there is no room, though not for less than it `has`. The inner error is
/// the server's own.
pub(super) async fn ask(link: &Link, verb: &str, config: &Value, has: u64) -> Result<Result<Fitted, ApiError>> {
    let mut asked = config.clone();
    loop {
        let error = match link.api(verb, asked.clone()).await? {
            Ok(mut said) => {
                if asked["max_bytes"] != config["max_bytes"] {
                    warn!(stream = %config["name"], bytes = %asked["max_bytes"], asked = %config["max_bytes"],
                        "the broker's store has no room for all of it: raise max_file_store, then provision again");
                }
                return Ok(Ok(Fitted { asked, found: said["config"].take() }));
            }
            Err(error) => error,
        };
        match smaller(&asked, has) {
            Some(bytes) if is_no_room(&error) => asked["max_bytes"] = json!(bytes),
            _ => return Ok(Err(error)),
        }
    }
}

/// What a refusal means. One for want of room says how to make some.
pub(super) fn refusal(error: ApiError, name: &str) -> Error {
    if !is_no_room(&error) {
        return error.into_error(name);
    }
    Error::unavailable(format!(
        "{name}: {} ({}): free some of the disk of the server, or raise max_file_store in its configuration",
        error.description, error.err_code
    ))
}

fn smaller(config: &Value, has: u64) -> Option<u64> {
    let bytes = config["max_bytes"].as_u64()?;
    Some((bytes / 2).max(has)).filter(|next| *next >= LEAST && *next < bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_halved_down_to_the_least_and_no_bound_is_left_alone() {
        let last = |has| {
            let next = |bytes: &u64| smaller(&json!({ "max_bytes": bytes }), has);
            std::iter::successors(Some(1_u64 << 30), next).last()
        };
        assert_eq!((last(0), last(700 << 20)), (Some(LEAST), Some(700 << 20)), "never less than there is");
        assert_eq!((smaller(&json!({ "name": "S" }), 0), last(2 << 30)), (None, Some(1 << 30)));
    }

    #[test]
    fn want_of_room_is_known_on_one_server_and_on_a_cluster() {
        let error = |err_code, description: &str| ApiError { code: 400, err_code, description: description.into() };
        assert!(is_no_room(&error(10047, "insufficient storage resources available")));
        assert!(is_no_room(&error(10005, "no suitable peers for placement, insufficient storage")));
        assert!(!is_no_room(&error(10005, "no suitable peers for placement, tags not matched")));
    }
}
