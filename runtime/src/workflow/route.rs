//! Which capability takes a task that is only described.

use callboard_agents::{Context, EventKind, Result, TaskInfo};
use callboard_broker::event::TASK_ROUTED;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use serde_json::{Value, json};

const ROUTED: EventKind<Value> = EventKind::new(TASK_ROUTED);

/// The first capability, by name, whose request takes the input and whose agents do not all decline it. The choice is a
/// recorded step and an event, so a second attempt makes the same.
pub(super) async fn route(
    ctx: &Context,
    task: &str,
    input: &Value,
    description: Option<&str>,
) -> Result<Option<CapabilityName>> {
    let chosen: Option<String> = ctx
        .step(format!("route.{task}"), || async {
            let Some(name) = choose(ctx, input, description) else { return Ok(None) };
            ctx.emit(ROUTED, json!({ "task": task, "capability": name, "description": description })).await?;
            Ok(Some(name.to_string()))
        })
        .await?;
    Ok(chosen.map(|name| CapabilityName::parse(&name)).transpose()?)
}

fn choose(ctx: &Context, input: &Value, description: Option<&str>) -> Option<CapabilityName> {
    let host = ctx.host();
    let fits = host.served().into_iter().filter(|served| accepts(&served.request, input));
    fits.map(|served| served.capability).find(|capability| {
        !host.is_declined(&TaskInfo {
            capability: capability.clone(),
            description: description.map(str::to_owned),
            input: Payload::of(input.clone()),
            attempt: 1,
        })
    })
}

/// Whether a request of this schema is an object that has a place for each field given and needs no other. Types of
/// fields are left to the agent, which refuses what it cannot read.
fn accepts(schema: &Value, input: &Value) -> bool {
    let (Some(properties), Some(given)) = (schema.get("properties").and_then(Value::as_object), input.as_object())
    else {
        return false;
    };
    let required = schema.get("required").and_then(Value::as_array);
    let needs_no_other =
        required.is_none_or(|names| names.iter().filter_map(Value::as_str).all(|n| given.contains_key(n)));
    needs_no_other && given.keys().all(|name| properties.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_fitting_when_it_has_a_place_for_all_that_is_given_and_needs_no_more() {
        let schema =
            json!({ "type": "object", "properties": { "description": {}, "depth": {} }, "required": ["description"] });
        assert!(accepts(&schema, &json!({ "description": "x" })));
        assert!(accepts(&schema, &json!({ "description": "x", "depth": 1 })));
        assert!(!accepts(&schema, &json!({ "description": "x", "other": 1 })));
        assert!(!accepts(&schema, &json!({ "depth": 1 })));
        assert!(!accepts(&json!({ "type": "string" }), &json!({ "description": "x" })));
    }
}
