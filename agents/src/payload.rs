//! What may travel between agents.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// May travel between agents, be stored and be described to whoever calls from outside.
///
/// Never implemented by hand: `#[payload]` on a type derives what it asks for, and so do `Serialize`, `Deserialize` and
/// `JsonSchema` of one's own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between agents",
    label = "needs Serialize, Deserialize, JsonSchema, Send, Sync and no borrowed data",
    note = "put `#[callboard::payload]` on `{Self}` and on every type of yours inside it"
)]
pub trait Payload: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {}

// One message of ours instead of one for each derive that is missing.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> Payload for T {}

/// The JSON Schema of a type.
pub(crate) fn schema<T: Payload>() -> Arc<Value> {
    Arc::new(schemars::schema_for!(T).to_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document with its author.
    #[crate::payload]
    #[derive(Debug, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Doc<T> {
        /// What it says.
        full_text: T,
        #[serde(default)]
        pages: u32,
    }

    #[crate::payload(crate = callboard)]
    #[serde(tag = "kind")]
    enum Shape {
        Point,
        Circle { radius: f64 },
    }

    #[test]
    fn the_attribute_leaves_serde_attributes_and_generics_as_they_are() {
        let doc: Doc<String> = serde_json::from_str(r#"{"fullText":"x"}"#).unwrap();
        assert_eq!(doc, Doc { full_text: "x".into(), pages: 0 });
        assert_eq!(serde_json::to_string(&doc).unwrap(), r#"{"fullText":"x","pages":0}"#);
        let shape = serde_json::to_string(&Shape::Circle { radius: 1.0 }).unwrap();
        assert_eq!(shape, r#"{"kind":"Circle","radius":1.0}"#);
        assert!(matches!(serde_json::from_str(r#"{"kind":"Point"}"#).unwrap(), Shape::Point));
    }

    #[test]
    fn doc_comments_names_and_defaults_reach_the_schema() {
        let schema = schema::<Doc<String>>();
        assert_eq!(schema["description"], "A document with its author.");
        assert_eq!(schema["properties"]["fullText"]["description"], "What it says.");
        assert_eq!(schema["required"], serde_json::json!(["fullText"]));
    }
}
