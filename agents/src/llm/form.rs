//! Answers in a form: read whatever of one can be read, and said what is wrong with the rest.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Message, Request};

/// How often a model is asked again for an answer that has not the form: twice.
pub const MAX_REPAIRS: u32 = 2;

/// How much of a wrong answer goes back to the model that gave it, in letters.
const WRONG: usize = 2_000;
/// How it is asked again.
const REPAIR: &str = include_str!("prompts/repair.md");

/// What an answer says, when it has the form: JSON as it is, or between the marks of a block of code, or the first object
/// in a text.
///
/// # Errors
/// What is wrong with it, for the model.
pub fn read_form<T: DeserializeOwned>(answer: &str) -> Result<T, String> {
    let whole = answer.trim();
    let mut wrong = match serde_json::from_str(whole) {
        Ok(value) => return Ok(value),
        Err(why) => why.to_string(),
    };
    let starts = whole.match_indices(['{', '[']).map(|(at, _)| at);
    for start in starts.take(8) {
        let mut values = serde_json::Deserializer::from_str(&whole[start..]).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            match serde_json::from_value(value) {
                Ok(value) => return Ok(value),
                Err(why) => wrong = why.to_string(),
            }
        }
    }
    Err(wrong)
}

/// The request once more, with what is wrong with the answer to it.
pub(super) fn repaired(request: &Request, answer: &str, wrong: &str) -> Request {
    let mut request = request.clone();
    let schema = request.form.as_ref().map(|form| form.schema.to_string()).unwrap_or_default();
    request.messages.push(Message::assistant(answer.chars().take(WRONG).collect::<String>()));
    let again = REPAIR.trim_end().replace("{schema}", &schema).replace("{wrong}", wrong);
    request.messages.push(Message::user(again));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_out_of_what_stands_around_it() {
        for text in ["[1,2]", " [1,2]\n", "```json\n[1,2]\n```", "Here it is: [1,2]. Enjoy!"] {
            assert_eq!(read_form::<Vec<u32>>(text), Ok(vec![1, 2]), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_last_that_was_json() {
        assert!(read_form::<Vec<u32>>("see: [\"x\"]").unwrap_err().contains("invalid type"));
        assert!(read_form::<Vec<u32>>("nothing").unwrap_err().contains("expected"));
        assert!(read_form::<Vec<u32>>(&"[".repeat(10_000)).is_err());
    }
}
