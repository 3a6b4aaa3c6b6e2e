//! Capabilities as nodes tell of them (the verb `served`), and read again by a program that has no agents.

use std::borrow::Cow;

use callboard_agents::Value;
use callboard_agents::service::Door;
use callboard_broker::subject::CapabilityName;
use serde_json::json;

/// What a node tells of one of its capabilities.
pub(crate) fn told(door: &Door) -> Value {
    json!({
        "capability": door.capability, "about": door.about, "version": door.version,
        "request": *door.request, "response": *door.response,
    })
}

/// The capabilities that a node has listed; what cannot be read is left out.
pub fn listed(served: &Value) -> Vec<Door> {
    let read = |one: &Value| {
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        Some(Door {
            capability: CapabilityName::parse(one["capability"].as_str()?).ok()?,
            version: one["version"].as_u64().and_then(|version| u32::try_from(version).ok()).unwrap_or(1),
            about: Cow::Owned(text("about")),
            request: one.get("request")?.clone().into(),
            response: one.get("response")?.clone().into(),
        })
    };
    served.as_array().into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_is_read_again() {
        let door = Door {
            capability: CapabilityName::parse("x.say").unwrap(),
            version: 2,
            about: "says it".into(),
            request: json!({ "type": "string" }).into(),
            response: json!(true).into(),
        };
        let read = listed(&json!([told(&door), { "capability": "No Name" }, 7]));
        assert_eq!((read.len(), told(&read[0])), (1, told(&door)));
    }
}
