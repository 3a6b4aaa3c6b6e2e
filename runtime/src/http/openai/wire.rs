//! Requests as they come, answers as they go. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use callboard_agents::llm::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::refusal::Refusal;

/// The most files of a request.
const MAX_FILES: usize = 64;
/// The longest name of a file, in bytes.
const MAX_FILENAME: usize = 255;
/// A piece of an answer has at most so many bytes.
const PIECE: usize = 16 << 10;

/// A request, as far as it means something here. What it says beyond that is for models, and passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    pub(super) model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    response_format: Option<Format>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    file: Option<File>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    filename: Option<String>,
    #[serde(default)]
    file_data: Option<String>,
}

/// A file by its name.
type Named = (String, Vec<u8>);

/// What is asked.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) text: String,
    pub(super) files: Vec<Named>,
    pub(super) streams: bool,
    /// Whether the stream ends with what was used.
    pub(super) tells_usage: bool,
    /// Whether all of the output is the answer, in JSON.
    pub(super) whole: bool,
}

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<Chat, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::bad(format!("no chat completion: {e}")))
}

impl Chat {
    /// What is asked: the last message of the user. What was said before it is no part of a task.
    pub(super) fn asked(self) -> Result<Asked, Refusal> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(Refusal::bad("there is one answer: n is 1"));
        }
        let whole = match self.response_format.as_ref().map(|format| &*format.kind) {
            None | Some("text") => false,
            Some("json_object") => true,
            Some(other) => {
                let what =
                    format!("response_format {other} is not offered: text, or json_object for all of the output");
                return Err(Refusal::bad(what));
            }
        };
        let last = self.messages.into_iter().rev().find(|message| message.role == "user");
        let content = last.and_then(|message| message.content);
        let (text, files) = match content {
            None => return Err(Refusal::bad("there is no message of the user in it")),
            Some(Content::Text(text)) => (text, Vec::new()),
            Some(Content::Parts(parts)) => joined(parts)?,
        };
        if text.trim().is_empty() {
            return Err(Refusal::bad("the last message of the user is empty"));
        }
        let tells_usage = self.stream_options.is_some_and(|options| options.include_usage == Some(true));
        Ok(Asked { text, files, streams: self.stream == Some(true), tells_usage, whole })
    }
}

fn joined(parts: Vec<Part>) -> Result<(String, Vec<Named>), Refusal> {
    let (mut text, mut files): (Vec<String>, Vec<Named>) = (Vec::new(), Vec::new());
    for part in parts {
        match (&*part.kind, part.text, part.file) {
            ("text", Some(words), _) => text.push(words),
            ("file", _, Some(one)) => {
                let one = file(one)?;
                if files.iter().any(|(name, _)| *name == one.0) {
                    return Err(Refusal::bad(format!("two files are named \"{}\"", one.0)));
                }
                files.push(one);
            }
            (kind, ..) => return Err(Refusal::bad(format!("content of type {kind} is not taken: text and file are"))),
        }
    }
    match files.len() > MAX_FILES {
        true => Err(Refusal::bad(format!("{} files are more than {MAX_FILES}", files.len()))),
        false => Ok((text.join("\n"), files)),
    }
}

/// A file, whose bytes come as the text of a data URL or as base64 alone.
fn file(file: File) -> Result<Named, Refusal> {
    let name = file.filename.unwrap_or_else(|| "file".to_owned());
    let is_name = !name.is_empty()
        && name.len() <= MAX_FILENAME
        && ![".", ".."].contains(&&*name)
        && !name.contains(|c: char| c.is_control() || ['/', '\\'].contains(&c));
    if !is_name {
        return Err(Refusal::bad(format!("{name:?} is no name of a file: it is one without its folder")));
    }
    let Some(data) = file.file_data else {
        return Err(Refusal::bad(format!("the file \"{name}\" has no file_data: files are not kept between requests")));
    };
    let data = data.split_once("base64,").map_or(&*data, |(_, data)| data);
    let bytes = STANDARD.decode(data.trim());
    let bytes = bytes.map_err(|e| Refusal::bad(format!("the file \"{name}\" is no base64: {e}")))?;
    Ok((name, bytes))
}

/// What all pieces of an answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
}

impl Answer {
    /// An answer in one piece.
    pub(super) fn whole(&self, text: &str, used: Usage) -> Value {
        let message = json!({ "role": "assistant", "content": text, "refusal": null });
        let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" });
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [choice], "usage": usage(used),
        })
    }

    /// The first piece.
    pub(super) fn begins(&self) -> String {
        self.delta(&json!({ "role": "assistant", "content": "" }), None)
    }

    /// How far it is.
    pub(super) fn progress(&self, words: &str) -> String {
        self.delta(&json!({ "reasoning_content": format!("{words}\n") }), None)
    }

    /// The answer and its end.
    pub(super) fn says(&self, mut text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
            pieces.push(self.delta(&json!({ "content": piece }), None));
            text = rest;
        }
        pieces.push(self.delta(&json!({}), Some("stop")));
        pieces
    }

    /// What was used, after the end.
    pub(super) fn used(&self, used: Usage) -> String {
        self.chunk(json!([]), usage(used)).to_string()
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> String {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        self.chunk(json!([choice]), Value::Null).to_string()
    }

    fn chunk(&self, choices: Value, usage: Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices, "usage": usage,
        })
    }
}

fn usage(used: Usage) -> Value {
    json!({
        "prompt_tokens": used.input_tokens, "completion_tokens": used.output_tokens, "total_tokens": used.tokens(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &Value) -> Result<Asked, Refusal> {
        read(value.to_string().as_bytes())?.asked()
    }

    fn said(content: &Value) -> Result<Asked, Refusal> {
        asked(&json!({ "model": "x", "messages": [{ "role": "user", "content": content }] }))
    }

    #[test]
    fn what_is_asked_is_the_last_message_of_the_user() {
        let messages = json!([
            { "role": "system", "content": "Be brief." }, { "role": "user", "content": "Who?" },
            { "role": "assistant", "content": null }, { "role": "user", "content": [{ "type": "text", "text": "Why?" }] },
            { "role": "assistant", "content": "Because", "tool_calls": [] },
        ]);
        let body = json!({ "model": "x", "messages": messages, "temperature": 0.5, "stream": true,
            "stream_options": { "include_usage": true }, "response_format": { "type": "json_object" }, "n": 1 });
        let expected = Asked { text: "Why?".into(), files: vec![], streams: true, tells_usage: true, whole: true };
        assert_eq!(asked(&body).unwrap(), expected);
        let plain = said(&json!("x")).unwrap();
        assert!(!plain.streams && !plain.tells_usage && !plain.whole);
    }

    #[test]
    fn files_come_with_their_names() {
        let file = |name: &str, data: &str| json!({ "type": "file", "file": { "filename": name, "file_data": data } });
        let text = json!({ "type": "text", "text": "Who?" });
        let read = said(&json!([text, file("a.md", "data:text/markdown;base64,aGk="), file("b.md", "aGk=")])).unwrap();
        assert_eq!(read.files, [("a.md".to_owned(), b"hi".to_vec()), ("b.md".to_owned(), b"hi".to_vec())]);
        for (part, why) in [
            (file("../a", "aGk="), "name"),
            (file("a\nb", "aGk="), "name"),
            (file("a", "a-_="), "base64"),
            (json!({ "type": "file", "file": { "file_id": "x" } }), "file_data"),
            (json!({ "type": "image_url", "image_url": {} }), "image_url"),
        ] {
            let refused = said(&json!([text, part])).unwrap_err();
            assert!(refused.message.contains(why), "{refused:?}");
        }
        let twice = said(&json!([text, file("a", "aGk="), file("a", "aGk=")])).unwrap_err();
        assert!(twice.message.contains("two files"), "{twice:?}");
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        let user = json!([{ "role": "user", "content": "x" }]);
        for (body, why) in [
            (json!({ "messages": user }), "model"),
            (json!({ "model": "x" }), "messages"),
            (json!({ "model": "x", "messages": [] }), "no message"),
            (json!({ "model": "x", "messages": [{ "role": "user", "content": " " }] }), "empty"),
            (json!({ "model": "x", "messages": user, "n": 2 }), "one answer"),
            (json!({ "model": "x", "messages": user, "response_format": { "type": "json_schema" } }), "json_schema"),
            (json!([]), "no chat completion"),
        ] {
            let refused = asked(&body).expect_err(why);
            assert!(refused.message.contains(why) && refused.status.as_u16() == 400, "{refused:?}");
        }
    }

    #[test]
    fn a_long_answer_comes_in_pieces_between_characters() {
        let answer = Answer { id: "chatcmpl-1".into(), created: 1, model: "x".into() };
        let text = "é".repeat(PIECE);
        let pieces = answer.says(&text);
        let of = |piece: &String| serde_json::from_str::<Value>(piece).unwrap()["choices"][0].clone();
        let whole: String =
            pieces.iter().filter_map(|one| of(one)["delta"]["content"].as_str().map(str::to_owned)).collect();
        assert_eq!((pieces.len(), whole), (3, text));
        assert_eq!(of(&pieces[2])["finish_reason"], "stop");
    }
}
