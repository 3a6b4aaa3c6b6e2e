//! What is said on the wire: prompts as they come, pieces of answers as they go. Pure.

use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::nats::messages::written;

/// The longest prompt that is taken, attachments in their encoding included: 1 MiB, or what the server takes if that is
/// less.
pub const MAX_PROMPT: usize = 1 << 20;
/// The most attachments of a prompt.
pub const MAX_ATTACHMENTS: usize = 64;
/// The longest answer, in bytes of its text: 16 MiB.
pub const MAX_ANSWER: usize = 16 << 20;
/// A piece of an answer has at most so many bytes, so that it fits into a message however its characters are escaped.
const PIECE: usize = 64 << 10;
/// The longest name of an attachment.
const MAX_FILENAME: usize = 255;

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its text, not empty.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
}

/// A file that travels with a prompt or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, without a folder.
    pub filename: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Envelope {
    prompt: String,
    #[serde(default)]
    attachments: Option<Vec<Sent>>,
}

#[derive(Deserialize)]
struct Sent {
    filename: String,
    content: String,
}

/// Reads what a caller sent: an envelope when it begins with `{`, otherwise the text itself.
///
/// # Errors
/// `TooLarge` beyond `most` bytes; `Decode` for what is neither, and for an attachment that is none.
pub(super) fn read(body: &[u8], most: usize) -> Result<Prompt> {
    if body.len() > most {
        return Err(Error::TooLarge { what: "a prompt".into(), size: body.len(), limit: most });
    }
    let envelope = match body.trim_ascii_start().first() {
        Some(b'{') => {
            serde_json::from_slice::<Envelope>(body).map_err(|e| Error::decode(format!("the envelope: {e}")))?
        }
        _ => {
            let text = std::str::from_utf8(body).map_err(|e| Error::decode(format!("the prompt is no UTF-8: {e}")))?;
            Envelope { prompt: text.to_owned(), attachments: None }
        }
    };
    if envelope.prompt.is_empty() {
        return Err(Error::decode("the prompt is empty"));
    }
    let sent = envelope.attachments.unwrap_or_default();
    if sent.len() > MAX_ATTACHMENTS {
        return Err(Error::TooLarge { what: "attachments".into(), size: sent.len(), limit: MAX_ATTACHMENTS });
    }
    let mut attachments: Vec<Attachment> = Vec::new();
    for one in sent {
        if attachments.iter().any(|other| other.filename == one.filename) {
            return Err(Error::decode(format!("two attachments are named \"{}\"", one.filename)));
        }
        attachments.push(attachment(one)?);
    }
    Ok(Prompt { text: envelope.prompt, attachments })
}

fn attachment(Sent { filename, content }: Sent) -> Result<Attachment> {
    let is_name = !filename.is_empty()
        && filename.len() <= MAX_FILENAME
        && ![".", ".."].contains(&filename.as_str())
        && !filename.contains(|c: char| c.is_control() || ['/', '\\'].contains(&c));
    if !is_name {
        return Err(Error::decode(format!(
            "{filename:?} is no name of an attachment: a file's name without its folder"
        )));
    }
    let bytes = STANDARD.decode(content);
    let bytes = bytes.map_err(|e| Error::decode(format!("the attachment \"{filename}\" is no base64: {e}")))?;
    Ok(Attachment { filename, bytes })
}

/// The first thing that is said, and the sign that the work goes on.
pub(super) fn ack() -> String {
    status("ack")
}

/// How far it is. Callers pass over what they do not know.
pub(super) fn status(words: &str) -> String {
    json!({ "type": "status", "data": words }).to_string()
}

/// A question to the caller, who answers once, to `reply_subject`, in the form of a prompt.
pub(super) fn query(id: &str, reply_subject: &str, words: &str) -> String {
    json!({ "type": "query", "data": { "id": id, "reply_subject": reply_subject, "prompt": words } }).to_string()
}

/// An answer in pieces. Attachments go with the last.
pub(super) fn answer(text: &str, attachments: &[Attachment]) -> Vec<String> {
    let mut pieces = pieces(text);
    let last = if attachments.is_empty() { None } else { pieces.pop() };
    let mut said: Vec<String> = pieces.iter().map(|piece| chunk((*piece).into())).collect();
    if !attachments.is_empty() {
        let attached: Vec<Value> = attachments
            .iter()
            .map(|one| json!({ "filename": one.filename, "content": STANDARD.encode(&one.bytes) }))
            .collect();
        said.push(chunk(json!({ "text": last.unwrap_or_default(), "attachments": attached })));
    }
    said
}

fn chunk(data: Value) -> String {
    json!({ "type": "response", "data": data }).to_string()
}

fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > PIECE {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

/// Whether a file is small enough to go with an answer over a server that takes messages of `most` bytes.
pub(super) fn fits(bytes: usize, most: usize) -> bool {
    // Four characters for three bytes, and the last piece of the text beside it.
    bytes.div_ceil(3) * 4 + 6 * PIECE + MAX_FILENAME < most
}

/// An error as its headers and its document.
pub(super) fn refusal(error: &Error) -> (HeaderMap, String) {
    let (headers, _) = written(&Err(error.clone()));
    let retry = error.retry_after().map(|after| after.as_secs_f64().ceil());
    let mut body = json!({ "error": error.code(), "message": error.to_string() });
    if let Some(retry) = retry {
        body["retry_after_s"] = retry.into();
    }
    (headers, body.to_string())
}

/// A size as the protocol writes it: a number and the largest unit that divides it.
pub(super) fn size(bytes: usize) -> String {
    let units = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];
    let whole = units.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| "0B".to_owned(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Prompt> {
        read(body.as_bytes(), 1_000)
    }

    #[test]
    fn a_prompt_is_a_text_or_an_envelope_with_files() {
        assert_eq!(of("hello {").unwrap().text, "hello {");
        let envelope = r#" {"prompt":"x","more":1,"attachments":[{"filename":"a.txt","content":"aGk="}]}"#;
        let read = of(envelope).unwrap();
        assert_eq!(read.attachments, [Attachment { filename: "a.txt".into(), bytes: b"hi".to_vec() }]);
        assert_eq!(of(r#"{"prompt":"x","attachments":null}"#).unwrap().attachments, []);
    }

    #[test]
    fn what_is_no_prompt_is_refused_with_the_reason() {
        let attached = |name: &str, content: &str| {
            json!({"prompt": "x", "attachments": [{"filename": name, "content": content}]}).to_string()
        };
        let twice = json!({"filename": "a", "content": ""});
        for (body, why) in [
            (String::new(), "empty"),
            ("{".into(), "envelope"),
            ("{}".into(), "prompt"),
            (r#"{"prompt":""}"#.into(), "empty"),
            (r#"{"prompt":1}"#.into(), "string"),
            (attached("../etc/passwd", ""), "name"),
            (attached("..", ""), "name"),
            (attached("a\nb", ""), "name"),
            (attached("a", "a-_="), "base64"),
            (attached("a", "aGk"), "base64"),
            (attached("a", "aG k="), "base64"),
            (json!({"prompt": "x", "attachments": [twice, twice]}).to_string(), "two"),
            ("x".repeat(1_001), "1000"),
        ] {
            let refused = of(&body).expect_err(&body);
            assert_eq!(refusal(&refused).0.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
            assert!(refused.to_string().contains(why), "{body}: {refused}");
        }
        assert!(read(&[0xff, 0xfe], 100).is_err());
    }

    #[test]
    fn a_long_answer_is_said_in_pieces_between_characters() {
        let text = "é".repeat(PIECE);
        let said = answer(&text, &[]);
        let whole: String = said
            .iter()
            .map(|one| serde_json::from_str::<Value>(one).unwrap()["data"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!((said.len(), whole), (2, text));
        assert!(answer(&"\u{1}".repeat(PIECE), &[])[0].len() < MAX_PROMPT);
    }

    #[test]
    fn files_go_with_the_last_piece() {
        let said = answer("done", &[Attachment { filename: "a".into(), bytes: b"hi".to_vec() }]);
        let one: Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(one["data"], json!({"text": "done", "attachments": [{"filename": "a", "content": "aGk="}]}));
        assert!(fits(100_000, MAX_PROMPT) && !fits(MAX_PROMPT, MAX_PROMPT));
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit() {
        for (bytes, text) in [(1 << 20, "1MB"), (1_000_000, "1000000B"), (512 << 10, "512KB"), (0, "0B")] {
            assert_eq!(size(bytes), text);
        }
    }
}
