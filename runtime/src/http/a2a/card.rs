//! What an agent says of itself. Pure.

use callboard_agents::prompt;
use callboard_agents::service::Door;
use hyper::header::{HOST, HeaderMap};
use serde_json::{Value, json};

use super::wire::VERSION;
use crate::http::Options;

/// The name of the way in that wants a key.
const BEARER: &str = "bearer";

/// Where this door is, as whoever asks has found it.
pub(super) fn base(headers: &HeaderMap, options: &Options) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let host = text(HOST.as_str()).map_or_else(|| options.listen.to_string(), str::to_owned);
    // Who stands before it speaks for it: whatever a caller makes of this name reaches nobody but the caller.
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// The card of a capability.
pub(super) fn card(door: &Door, skills: &[Door], base: &str, has_keys: bool) -> Value {
    let takes_files = prompt::takes_attachments(door);
    let mut card = json!({
        "name": door.capability, "description": about(door), "version": format!("{}.0.0", door.version),
        "supportedInterfaces": [{
            "url": format!("{base}/a2a/{}", door.capability.to_token()),
            "protocolBinding": "JSONRPC", "protocolVersion": VERSION,
        }],
        "capabilities": { "streaming": true, "pushNotifications": false },
        "defaultInputModes": if takes_files { json!(["text/plain", "application/json", "*/*"]) }
            else { json!(["text/plain", "application/json"]) },
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": skills.iter().map(skill).collect::<Vec<_>>(),
    });
    if has_keys {
        card["securitySchemes"] = json!({ BEARER: { "httpAuthSecurityScheme": { "scheme": "Bearer" } } });
        card["securityRequirements"] = json!([{ "schemes": { BEARER: { "list": [] } } }]);
    }
    card
}

fn skill(door: &Door) -> Value {
    let tag = door.capability.as_str().split('.').next().unwrap_or_default();
    json!({
        "id": door.capability.to_token(), "name": door.capability, "description": about(door), "tags": [tag],
    })
}

fn about(door: &Door) -> String {
    match door.about.is_empty() {
        true => format!("The capability {}.", door.capability),
        false => door.about.clone().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_where_its_agent_is_as_its_reader_has_found_it() {
        let options = Options::new(([127, 0, 0, 1], 8080).into());
        let headers = |of: &[(&'static str, &str)]| -> HeaderMap {
            of.iter()
                .map(|(name, value)| (hyper::header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect()
        };
        assert_eq!(base(&headers(&[]), &options), "http://127.0.0.1:8080");
        assert_eq!(base(&headers(&[("host", "a.example")]), &options), "http://a.example");
        let behind = headers(&[("host", "a.example"), ("x-forwarded-proto", "https")]);
        assert_eq!(base(&behind, &options), "https://a.example");
    }
}
