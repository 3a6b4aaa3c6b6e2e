//! The inputs of a workflow: which it needs, and giving them.

use std::collections::BTreeSet;

use callboard_broker::code;
use callboard_broker::problem::{Problem, Problems, closest};
use serde_json::{Map, Value};

use super::document::WorkflowDoc;
use super::template::{self, INPUTS};

impl WorkflowDoc {
    /// The keys that the workflow refers to as `{{inputs.key}}`, in alphabetical order.
    pub fn needed_inputs(&self) -> Vec<String> {
        let mut keys = BTreeSet::new();
        let mut see = |_: &[String], text: &str| {
            let references = template::references(text).unwrap_or_default();
            let inputs = references.into_iter().filter(|reference| reference.root == INPUTS);
            keys.extend(inputs.filter_map(|reference| reference.path.into_iter().next()));
        };
        for task in &self.tasks {
            if let Some(text) = &task.description {
                see(&[], text);
            }
            if let Some(input) = &task.input {
                template::texts(input, &mut Vec::new(), &mut see);
            }
        }
        if let Some(output) = &self.output {
            template::texts(output, &mut Vec::new(), &mut see);
        }
        keys.into_iter().collect()
    }

    /// The workflow with these inputs in the place of its defaults.
    ///
    /// # Errors
    /// [`code::UNKNOWN_INPUT`] for each that the workflow does not use, [`code::MISSING_INPUT`] for each that it needs and
    /// that neither a default nor the caller gives.
    pub fn with_inputs(mut self, given: Map<String, Value>) -> Result<Self, Problems> {
        let needed = self.needed_inputs();
        let mut problems = Problems::new();
        for key in given.keys().filter(|key| !needed.contains(*key)) {
            let mut problem = Problem::new(code::UNKNOWN_INPUT, format!("\"{}\" has no input \"{key}\"", self.name));
            problem.fix = closest(key, &needed).map(|meant| format!("-i {meant}=..."));
            problems.push(problem.allowed_near(key, &needed));
        }
        self.inputs.extend(given);
        problems.extend(self.missing_inputs());
        problems.or(self)
    }

    /// One problem for each input that the workflow needs and does not have.
    pub(crate) fn missing_inputs(&self) -> impl Iterator<Item = Problem> {
        self.needed_inputs().into_iter().filter(|key| !self.inputs.contains_key(key)).map(|key| {
            let problem = Problem::new(code::MISSING_INPUT, format!("\"{}\" needs the input \"{key}\"", self.name));
            problem.fix(format!("-i {key}=..."))
        })
    }
}

/// An input as it is given on a command line, `key=value`. A value that reads as JSON is that JSON, anything else is text;
/// so `n=3` is a number and `n='"3"'` a text.
///
/// # Errors
/// [`code::BAD_VALUE`] when there is no `=` or nothing before it.
pub fn input_argument(argument: &str) -> Result<(String, Value), Problem> {
    match argument.split_once('=').map(|(key, value)| (key.trim(), value)) {
        Some((key, value)) if !key.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((key.to_owned(), value))
        }
        _ => {
            let problem = Problem::new(code::BAD_VALUE, format!("\"{argument}\" is not of the form key=value"));
            Err(problem.fix(format!("-i {}=...", argument.trim_start_matches('='))))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow() -> WorkflowDoc {
        let doc = json!({"name": "w", "inputs": {"tone": "dry"}, "task": [
            {"id": "a", "capability": "x", "description": "in {{inputs.tone}}", "input": {"t": ["{{inputs.topic.0}}"]}}]});
        serde_json::from_value(doc).unwrap()
    }

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn inputs_replace_defaults_and_every_mistake_is_told() {
        assert_eq!(workflow().needed_inputs(), ["tone", "topic"]);
        let full = workflow().with_inputs(given(json!({"topic": ["otters"]}))).unwrap();
        assert_eq!(full.inputs, given(json!({"tone": "dry", "topic": ["otters"]})));
        let problems = workflow().with_inputs(given(json!({"topik": 1, "x": 2}))).unwrap_err();
        let codes: Vec<_> = problems.iter().map(|p| (p.code, p.fix.as_deref().unwrap_or(""))).collect();
        let topic = "-i topic=...";
        assert_eq!(codes, [(code::UNKNOWN_INPUT, topic), (code::UNKNOWN_INPUT, ""), (code::MISSING_INPUT, topic)]);
    }

    #[test]
    fn arguments_are_json_when_they_read_as_json() {
        assert_eq!(input_argument("n=3").unwrap(), ("n".into(), json!(3)));
        assert_eq!(input_argument("n=\"3\"").unwrap(), ("n".into(), json!("3")));
        assert_eq!(input_argument("q=a = b?").unwrap(), ("q".into(), json!("a = b?")));
        assert_eq!(input_argument("list=[1,2]").unwrap(), ("list".into(), json!([1, 2])));
        assert_eq!(input_argument("empty=").unwrap(), ("empty".into(), json!("")));
        assert_eq!(input_argument("topic").unwrap_err().fix.as_deref(), Some("-i topic=..."));
        assert!(input_argument("=x").is_err());
    }
}
