//! What is listed. Pure.

use std::sync::Arc;

use callboard_agents::Value;
use callboard_agents::service::Door;
use callboard_broker::error::{Error, Result};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::json;

/// The argument that holds a request which is no JSON object.
const INPUT: &str = "input";

/// A capability as a tool. Its name is the capability's token, because most clients take no dots in a name.
pub(super) fn tool(door: &Door) -> Tool {
    let about = match door.about.is_empty() {
        true => format!("The capability {}.", door.capability),
        false => door.about.clone().into_owned(),
    };
    let named =
        Tool::new(door.capability.to_token(), about, arguments(&door.request)).with_title(door.capability.as_str());
    match object(&door.response) {
        Some(schema) => named.with_raw_output_schema(schema),
        None => named,
    }
}

/// The schema of the arguments, which is that of the request, or one with the request in it.
fn arguments(request: &Value) -> Arc<JsonObject> {
    object(request).unwrap_or_else(|| {
        let schema = json!({ "type": "object", "properties": { INPUT: request }, "required": [INPUT] });
        object(&schema).unwrap_or_default()
    })
}

/// A schema, if what fits it is a JSON object.
fn object(schema: &Value) -> Option<Arc<JsonObject>> {
    let object = schema.as_object().filter(|schema| schema.get("type").is_some_and(|kind| kind == "object"))?;
    Some(Arc::new(object.clone()))
}

/// The request in the arguments of a call.
///
/// # Errors
/// `Decode` without the argument that holds it.
pub(super) fn request(door: &Door, arguments: Option<JsonObject>) -> Result<Value> {
    let mut arguments = arguments.unwrap_or_default();
    if object(&door.request).is_some() {
        return Ok(Value::Object(arguments));
    }
    arguments.remove(INPUT).ok_or_else(|| Error::decode(format!("{} takes the argument \"{INPUT}\"", door.capability)))
}

/// The tools for runs that outlast a call.
pub(super) fn of_runs(doors: &[Door]) -> [Tool; 4] {
    let names: Vec<&str> = doors.iter().map(|door| door.capability.as_str()).collect();
    let capability = json!({ "type": "string", "enum": names, "description": "What is to be done." });
    let run = json!({ "type": "string", "description": "The run's id, as run_start gave it." });
    let wait = json!({ "type": "integer", "minimum": 0, "maximum": super::runs::MAX_WAIT.as_secs(),
        "description": "How many seconds to wait for its end. Default 20." });
    let reads = ToolAnnotations::new().read_only(true);
    [
        tool_of(
            "run_start",
            "Begins a run that may take long, and returns its id at once. The request is that of the tool of the same name.",
            &json!({ "capability": capability, "request": { "description": "The request." } }),
            &["capability", "request"],
        ),
        tool_of("run_status", "How a run stands.", &json!({ "run": run }), &["run"]).with_annotations(reads.clone()),
        tool_of(
            "run_result",
            "The output of a run, or why there is none. While it goes on, how it stands.",
            &json!({ "run": run, "wait_s": wait }),
            &["run"],
        )
        .with_annotations(reads),
        tool_of("run_cancel", "Cancels a run and all that it delegated.", &json!({ "run": run }), &["run"]),
    ]
}

fn tool_of(name: &'static str, about: &'static str, properties: &Value, required: &[&str]) -> Tool {
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    Tool::new(name, about, object(&schema).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn door(request: Value, response: Value) -> Door {
        Door {
            capability: CapabilityName::parse("text.count").unwrap(),
            version: 1,
            about: "counts".into(),
            request: request.into(),
            response: response.into(),
        }
    }

    #[test]
    fn a_request_that_is_an_object_is_the_arguments_and_another_is_one_of_them() {
        let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
        let of = door(schema.clone(), schema.clone());
        let listed = tool(&of);
        assert_eq!((&*listed.name, Value::Object((*listed.input_schema).clone())), ("text-count", schema));
        assert!(listed.output_schema.is_some());
        let arguments = json!({ "text": "x" }).as_object().cloned();
        assert_eq!(request(&of, arguments).unwrap(), json!({ "text": "x" }));
        assert_eq!(request(&of, None).unwrap(), json!({}));

        let of = door(json!({ "type": "string" }), json!({ "type": "integer" }));
        let listed = tool(&of);
        assert_eq!(listed.input_schema["properties"]["input"], json!({ "type": "string" }));
        assert!(listed.output_schema.is_none());
        assert_eq!(request(&of, json!({ "input": "x" }).as_object().cloned()).unwrap(), json!("x"));
        assert!(request(&of, None).unwrap_err().to_string().contains("\"input\""));
    }

    #[test]
    fn runs_are_of_capabilities_that_are_public() {
        let [start, ..] = of_runs(&[door(json!({}), json!({}))]);
        assert_eq!(start.input_schema["properties"]["capability"]["enum"], json!(["text.count"]));
    }
}
