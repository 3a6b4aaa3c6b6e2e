//! What a provider's refusal means.

use std::time::{Duration, UNIX_EPOCH};

use callboard_broker::clock::{Clock, Millis};
use genai::Error;
use serde_json::Value;

use crate::llm::{ModelError, ModelName, Secret};

/// How much of a provider's own words is passed on, in letters.
const WORDS: usize = 200;

/// The class and words of an error. What the library prints of one may hold what was said to the model, so only the
/// provider's own message is taken out of it.
pub(super) fn of(error: &Error, model: &ModelName, key: &Secret) -> ModelError {
    if let Error::WebStream { error: inner, .. } = error
        && let Some(inner) = inner.downcast_ref::<Error>()
    {
        return of(inner, model, key);
    }
    if let Some(status) = error.status().map(|status| status.as_u16()) {
        let told = body(error).map(|body| key.hide(&message(body)));
        let told = told.filter(|told| !told.is_empty()).map(|told| format!(": {told}")).unwrap_or_default();
        let refused = ModelError::status(status, format!("{model} answered with status {status}{told}"));
        return refused.retry_after(wait(error));
    }
    match error {
        Error::WebModelCall { .. } | Error::WebAdapterCall { .. } | Error::WebStream { .. } => {
            let why = cause(error).map(|why| format!(": {}", key.hide(&why))).unwrap_or_default();
            ModelError::away(format!("{model} cannot be reached, or the connection broke{why}"))
        }
        Error::StreamParse { .. } | Error::ChatResponseGeneration { .. } | Error::InvalidJsonResponseElement { .. } => {
            ModelError::broke_off(format!("{model} answered with something that cannot be read"), "")
        }
        // An error that arrives inside of a stream.
        Error::ChatResponse { body, .. } => {
            let told = key.hide(&message(&body.to_string()));
            ModelError::broke_off(format!("{model} gave up in the middle: {told}"), "")
        }
        Error::NoChatResponse { .. } => ModelError::broke_off(format!("{model} said nothing"), ""),
        _ => ModelError::permanent(format!("{model} cannot be asked so")),
    }
}

/// The innermost cause of a broken connection. What is around it names addresses, and some providers have keys in those.
fn cause(error: &Error) -> Option<String> {
    use genai::webc::Error as Web;
    let mut inner: &(dyn std::error::Error + 'static) = match error {
        Error::WebModelCall { webc_error: Web::Reqwest(inner), .. } => inner,
        Error::WebAdapterCall { webc_error: Web::Reqwest(inner), .. } => inner,
        Error::WebStream { error, .. } => &**error,
        _ => return None,
    };
    let is_wrapped = inner.source().is_some();
    while let Some(further) = inner.source() {
        inner = further;
    }
    is_wrapped.then(|| inner.to_string())
}

fn body(error: &Error) -> Option<&str> {
    use genai::webc::Error as Web;
    match error {
        Error::HttpError { body, .. } => Some(body),
        Error::WebModelCall { webc_error, .. } | Error::WebAdapterCall { webc_error, .. } => match webc_error {
            Web::ResponseFailedStatus { body, .. } => Some(body),
            _ => None,
        },
        _ => None,
    }
}

/// The message of a body, wherever the providers put it.
fn message(body: &str) -> String {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    let found = ["/error/message", "/message", "/error"].iter().find_map(|at| document.pointer(at)?.as_str());
    let words: String = found.unwrap_or_default().chars().filter(|c| !c.is_control()).take(WORDS).collect();
    words.trim().to_owned()
}

/// How long the provider wants to be left alone.
fn wait(error: &Error) -> Option<Duration> {
    let headers = error.headers()?;
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()).map(|ms| ms / 1_000.0);
    let wait = milliseconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    wait.or_else(|| until(text("retry-after")?, Clock::system().now()))
}

/// `Retry-After`: seconds, or the date until which it is.
fn until(text: &str, now: Millis) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_says_in_seconds_or_by_a_date_how_long_it_wants_to_be_left_alone() {
        // Half a second before Sun, 06 Nov 1994 08:49:37 GMT.
        let now = 784_111_776_500;
        for (text, wait) in [
            ("2", Some(2_000)),
            ("0.3", Some(300)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20_500)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(until(text, now), wait.map(Duration::from_millis), "{text}");
        }
    }
}
