//! Why a request is not answered with what it asked for, in the shape that clients of OpenAI read.

use std::time::Duration;

use callboard_broker::code;
use callboard_broker::error::{Class, Error};
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::route::{Body, json_body};

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// A code of ours, or the one that clients of OpenAI know.
    pub(super) code: String,
    pub(super) message: String,
    retry_after: Option<Duration>,
    /// Whether something was begun, which a client must not repeat by itself.
    was_begun: bool,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            retry_after: None,
            was_begun: false,
            allow: None,
        }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code::DENIED, message)
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::DECODE, message)
    }

    pub(super) fn unknown_model(model: &str, known: &str) -> Self {
        let message = format!("there is no model \"{model}\" here: there is {known}");
        Self::new(StatusCode::NOT_FOUND, "model_not_found", message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, code::DECODE, message) }
    }

    pub(super) fn busy(retry_after: Duration) -> Self {
        let message = "this door works on as many requests as it may";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, code::BUSY, message);
        Self { retry_after: Some(retry_after), ..refusal }
    }

    /// Why a run that was begun has no output.
    pub(super) fn of_run(error: &Error) -> Self {
        Self { was_begun: !matches!(error, Error::Busy { .. }), ..Self::from(error) }
    }

    /// As clients of OpenAI read it.
    pub(super) fn document(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": null, "code": self.code } })
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = json_body(self.status, &self.document());
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.was_begun {
            // The clients of OpenAI repeat by themselves what failed, unless they are told not to.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let (busy, late) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::GATEWAY_TIMEOUT);
        let status = match error {
            Error::Decode { .. } => StatusCode::BAD_REQUEST,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Denied { .. } => StatusCode::FORBIDDEN,
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::Deadline { .. } | Error::Expired => late,
            Error::Unavailable { .. } | Error::NoRecipient { .. } => StatusCode::SERVICE_UNAVAILABLE,
            other => match other.code() {
                code::DEADLINE | code::EXPIRED => late,
                code::UNSERVED | code::NO_AGENT => StatusCode::SERVICE_UNAVAILABLE,
                _ if other.class() == Class::RateLimited => busy,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        Self { retry_after: error.retry_after(), ..Self::new(status, error.code(), error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use callboard_broker::error::Remote;

    use super::*;

    fn failed(code: &str, class: Class, retry_after_ms: Option<u64>) -> Error {
        let failure =
            Remote { class, code: code.into(), message: "no".into(), retry_after_ms, partial: None, fatal: false };
        Error::Failed { to: "x".into(), failure: Box::new(failure) }
    }

    #[test]
    fn each_error_has_its_status() {
        let limit = Duration::from_secs(1);
        for (error, status) in [
            (Error::decode("x"), 400),
            (Error::TooLarge { what: "x".into(), size: 2, limit: 1 }, 413),
            (Error::not_found("x"), 404),
            (Error::Denied { who: "x".into(), what: "y".into() }, 403),
            (Error::Busy { to: "x".into(), retry_after: limit }, 429),
            (failed(code::MODEL_LIMITED, Class::RateLimited, Some(2_500)), 429),
            (Error::Deadline { to: "x".into(), limit }, 504),
            (Error::Expired, 504),
            (failed(code::DEADLINE, Class::Permanent, None), 504),
            (Error::unavailable("x"), 503),
            (failed(code::NO_AGENT, Class::Permanent, None), 503),
            (failed(code::FAILED, Class::Permanent, None), 500),
            (Error::Cancelled { by: "x".into() }, 500),
        ] {
            assert_eq!(Refusal::from(&error).status.as_u16(), status, "{error}");
        }
    }

    #[test]
    fn what_was_begun_is_not_repeated_by_clients_and_what_is_limited_says_when() {
        let limited = Refusal::of_run(&failed(code::MODEL_LIMITED, Class::RateLimited, Some(2_500))).response();
        assert_eq!(limited.headers()["retry-after"], "2");
        assert_eq!(limited.headers()["x-should-retry"], "false");
        let busy = Refusal::busy(Duration::from_millis(10)).response();
        assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (429, &HeaderValue::from(1)));
        assert!(!busy.headers().contains_key("x-should-retry"));
        let document = Refusal::unknown_model("gpt", "executive").document();
        assert_eq!(document["error"]["code"], "model_not_found");
        assert_eq!(document["error"]["type"], "not_found_error");
    }
}
