//! References in texts: `{{id}}`, `{{id.field.0}}`, `{{inputs.key}}`.
//!
//! A text that is nothing but one reference becomes the value itself with its type; inside a longer text a value becomes
//! text. There are no expressions: logic between tasks belongs in an agent, where it can be tested. `{{{{` stands for `{{`.

use std::fmt;

use callboard_broker::code;
use callboard_broker::problem::{Problem, closest};
use serde_json::{Map, Value};

use super::document::Outputs;

/// The name under which the inputs of the workflow are referred to; no task can have it.
pub(crate) const INPUTS: &str = "inputs";

/// `{{root.step.step}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// A task's id, or `inputs`.
    pub(crate) root: String,
    /// Fields of objects and places in lists.
    pub(crate) path: Vec<String>,
    /// As it stands in the text, for messages.
    pub(crate) written: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Reference),
}

/// Why a text is no template: the piece of it that is wrong, and a sentence about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTemplate {
    pub(crate) piece: String,
    pub(crate) why: &'static str,
}

/// The references of a text in their order.
pub(crate) fn references(text: &str) -> Result<Vec<Reference>, BadTemplate> {
    let only = |part| match part {
        Part::Value(reference) => Some(reference),
        Part::Text(_) => None,
    };
    Ok(parts(text)?.into_iter().filter_map(only).collect())
}

/// Calls `see` with each text of a value and the path to it.
pub(crate) fn texts<'v>(value: &'v Value, path: &mut Vec<String>, see: &mut dyn FnMut(&[String], &'v str)) {
    let mut below = |name: String, item: &'v Value| {
        path.push(name);
        texts(item, path, see);
        path.pop();
    };
    match value {
        Value::String(text) => see(path, text),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, item)| below(n.to_string(), item)),
        Value::Object(fields) => fields.iter().for_each(|(name, item)| below(name.clone(), item)),
        _ => {}
    }
}

/// What references stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) inputs: &'a Map<String, Value>,
    pub(crate) outputs: &'a Outputs,
}

impl Values<'_> {
    /// The value with every reference in it filled in.
    pub(crate) fn fill(&self, template: &Value) -> Result<Value, Problem> {
        match template {
            Value::String(text) => self.fill_text(text),
            Value::Array(list) => list.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, item)| Ok((name.clone(), self.fill(item)?))).collect::<Result<_, _>>()
            }
            other => Ok(other.clone()),
        }
    }

    fn fill_text(&self, text: &str) -> Result<Value, Problem> {
        let parts = parts(text).map_err(|bad| bad.problem())?;
        if let [Part::Value(reference)] = parts.as_slice() {
            return self.get(reference);
        }
        let mut filled = String::new();
        for part in parts {
            match part {
                Part::Text(text) => filled.push_str(&text),
                Part::Value(reference) => match self.get(&reference)? {
                    Value::Null => {}
                    Value::String(text) => filled.push_str(&text),
                    other => filled.push_str(&other.to_string()),
                },
            }
        }
        Ok(Value::String(filled))
    }

    fn get(&self, reference: &Reference) -> Result<Value, Problem> {
        let unknown = || Problem::new(code::REFERENCE, format!("{reference} refers to nothing that has a value"));
        let (mut value, mut whole, path) = if reference.root == INPUTS {
            let key = reference.path.first().ok_or_else(unknown)?;
            let input = self.inputs.get(key).ok_or_else(|| {
                let problem = Problem::new(code::MISSING_INPUT, format!("the workflow needs the input \"{key}\""));
                problem.fix(format!("-i {key}=..."))
            })?;
            (input, format!("the input \"{key}\""), &reference.path[1..])
        } else {
            let output = self.outputs.get(&reference.root).ok_or_else(unknown)?;
            (output, format!("the output of \"{}\"", reference.root), reference.path.as_slice())
        };
        // A task that was skipped has nothing at all, so neither has any field of it.
        if value.is_null() {
            return Ok(Value::Null);
        }
        for step in path {
            let next = match value {
                Value::Object(fields) => fields.get(step),
                Value::Array(list) => step.parse().ok().and_then(|n: usize| list.get(n)),
                _ => None,
            };
            value = next.ok_or_else(|| no_field(reference, &whole, value, step))?;
            whole = format!("{whole}.{step}");
        }
        Ok(value.clone())
    }
}

fn no_field(reference: &Reference, whole: &str, value: &Value, step: &str) -> Problem {
    let problem = |what| Problem::new(code::NO_FIELD, format!("{reference}: {what}"));
    match value {
        Value::Object(fields) => {
            let mut problem = problem(format!("{whole} has no field \"{step}\""))
                .allowed_near(step, fields.keys().collect::<Vec<_>>());
            let meant = closest(step, fields.keys());
            problem.fix =
                meant.and_then(|name| reference.written.rsplit_once(step).map(|(a, b)| format!("{a}{name}{b}")));
            problem
        }
        Value::Array(list) => problem(format!("{whole} is a list of {}, counted from 0", list.len())),
        Value::String(_) => problem(format!("{whole} is a text and has no fields")),
        _ => problem(format!("{whole} is {value} and has no fields")),
    }
}

impl BadTemplate {
    pub(crate) fn problem(&self) -> Problem {
        let known = ["{{id}}", "{{id.field}}", "{{inputs.key}}"];
        Problem::new(code::TEMPLATE, format!("\"{}\": {}", self.piece, self.why)).allowed(known)
    }
}

fn parts(text: &str) -> Result<Vec<Part>, BadTemplate> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        plain.push_str(&rest[..open]);
        let inside = &rest[open + 2..];
        if let Some(after) = inside.strip_prefix("{{") {
            plain.push_str("{{");
            rest = after;
            continue;
        }
        let bad = |piece: &str, why| Err(BadTemplate { piece: piece.chars().take(40).collect(), why });
        let Some(close) = inside.find("}}") else {
            return bad(&rest[open..], "the braces are not closed");
        };
        let written = &rest[open..open + 2 + close + 2];
        let mut steps = inside[..close].trim().split('.').map(str::to_owned);
        let fits =
            |step: &String| !step.is_empty() && !step.contains(|c: char| c.is_whitespace() || "{}|()".contains(c));
        let (Some(root), path) = (steps.next().filter(fits), steps.collect::<Vec<_>>()) else {
            return bad(written, "between the braces belongs a name");
        };
        if !path.iter().all(fits) {
            return bad(written, "a reference is names and numbers with dots between them");
        }
        if root == INPUTS && path.is_empty() {
            return bad(written, "the name of the input is missing");
        }
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Value(Reference { root, path, written: written.to_owned() }));
        rest = &inside[close + 2..];
    }
    plain.push_str(rest);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: Value) -> Result<Value, Problem> {
        let inputs = json!({"topic": "otters", "n": 3});
        let outputs =
            json!({"research": {"notes": ["a", {"text": "b"}], "n": 1.5}, "words": "two words", "gone": null});
        let outputs = outputs.as_object().unwrap().clone().into_iter().collect();
        Values { inputs: inputs.as_object().unwrap(), outputs: &outputs }.fill(&template)
    }

    #[test]
    fn a_lone_reference_keeps_its_type_and_inside_a_text_it_is_text() {
        let template = json!({"all": "{{research}}", "deep": ["{{research.notes.1.text}}"], "n": "{{ inputs.n }}",
            "text": "about {{inputs.topic}}: {{words}}, {{research.n}}, {{research.notes}}.", "plain": 7, "none": ""});
        let filled = json!({"all": {"notes": ["a", {"text": "b"}], "n": 1.5}, "deep": ["b"], "n": 3,
            "text": "about otters: two words, 1.5, [\"a\",{\"text\":\"b\"}].", "plain": 7, "none": ""});
        assert_eq!(fill(template).unwrap(), filled);
    }

    #[test]
    fn what_was_skipped_is_null_and_so_is_all_of_it() {
        assert_eq!(fill(json!(["{{gone}}", "{{gone.notes.0}}", "<{{gone}}>"])).unwrap(), json!([null, null, "<>"]));
    }

    #[test]
    fn braces_can_be_meant_as_they_are() {
        assert_eq!(fill(json!("{{{{id}} {a} }} {{words}}")).unwrap(), json!("{{id}} {a} }} two words"));
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let problem = fill(json!("{{research.note}}")).unwrap_err();
        assert_eq!(problem.code, code::NO_FIELD);
        assert_eq!(problem.what, "{{research.note}}: the output of \"research\" has no field \"note\"");
        assert_eq!((problem.allowed[0].as_str(), problem.fix.as_deref()), ("notes", Some("{{research.notes}}")));
        let place = fill(json!("{{research.notes.2}}")).unwrap_err().what;
        assert!(place.ends_with("the output of \"research\".notes is a list of 2, counted from 0"), "{place}");
        assert!(fill(json!("{{words.x}}")).unwrap_err().what.ends_with("is a text and has no fields"));
        assert_eq!(fill(json!("{{inputs.none}}")).unwrap_err().code, code::MISSING_INPUT);
        assert_eq!(fill(json!("{{nothing}}")).unwrap_err().code, code::REFERENCE);
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_piece() {
        for (text, piece) in
            [("x {{id} y", "{{id} y"), ("{{}}", "{{}}"), ("{{a b}}", "{{a b}}"), ("{{a..b}}", "{{a..b}}")]
        {
            assert_eq!(references(text).unwrap_err().piece, piece);
        }
        assert!(references("{{inputs}}").is_err());
        assert!(references("{{a | upper}}").is_err());
    }
}
