//! Whether a value fits a JSON Schema: with the feature `schema`; without it everything does.

use serde_json::Value;

/// Everything about a value that does not fit.
///
/// # Errors
/// In words. A schema that is none says nothing about a value; whoever takes it finds out by its type.
#[cfg(feature = "schema")]
pub(crate) fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    if schema.is_null() {
        return Ok(());
    }
    let Ok(schema) = jsonschema::validator_for(schema) else { return Ok(()) };
    let wrong: Vec<String> = schema.iter_errors(value).map(|e| format!("{} at \"{}\"", e, e.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

#[cfg(not(feature = "schema"))]
pub(crate) fn fits(_: &Value, _: &Value) -> Result<(), String> {
    Ok(())
}
