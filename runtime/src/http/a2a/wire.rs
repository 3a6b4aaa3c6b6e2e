//! Requests as they come, answers as they go. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use callboard_agents::prompt;
use callboard_agents::service::Door;
use callboard_broker::error::Error;
use callboard_broker::task::Status;
use callboard_broker::tasks::TaskView;
use serde::Deserialize;
use serde_json::{Value, json};

/// The version of the protocol.
pub(super) const VERSION: &str = "1.0";
/// The most files of a message.
const MAX_FILES: usize = 64;

/// A fault as JSON-RPC numbers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: i32,
    message: String,
}

impl Fault {
    pub(super) fn no_json(message: impl Into<String>) -> Self {
        Self { code: -32700, message: message.into() }
    }

    pub(super) fn no_method(method: &str) -> Self {
        let known = "SendMessage, SendStreamingMessage, SubscribeToTask, GetTask, CancelTask (protocol 1.0)";
        Self { code: -32601, message: format!("there is no method {method}: there is {known}") }
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self { code: -32602, message: message.into() }
    }

    pub(super) fn no_task(id: &str) -> Self {
        Self { code: -32001, message: format!("there is no task {id}") }
    }

    pub(super) fn has_ended(id: &str) -> Self {
        Self { code: -32002, message: format!("task {id} has ended") }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self { code: -32004, message: message.into() }
    }

    /// What is refused only at the moment.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self { code: -32603, message: message.into() }
    }

    pub(super) fn version(asked: &str) -> Self {
        Self { code: -32009, message: format!("version {asked} of the protocol is not spoken here: {VERSION} is") }
    }

    fn content(message: impl Into<String>) -> Self {
        Self { code: -32005, message: message.into() }
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::Decode { .. } | Error::TooLarge { .. } => -32602,
            Error::NotFound { .. } => -32001,
            _ => -32603,
        };
        Self { code, message: format!("{}: {error}", error.code()) }
    }
}

/// A call.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(default)]
    pub(super) id: Value,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Value,
}

/// The parameters of a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    message: Message,
    #[serde(default)]
    configuration: Option<Configuration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    return_immediately: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(default)]
    task_id: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
    data: Option<Value>,
    raw: Option<String>,
    url: Option<String>,
    #[serde(default)]
    filename: Option<String>,
}

/// The parameters of a call about one task.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    pub(super) id: String,
}

/// What is asked.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) text: String,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) returns_at_once: bool,
}

impl Sent {
    /// What a message asks.
    pub(super) fn asked(self) -> Result<Asked, Fault> {
        if self.message.task_id.is_some_and(|id| !id.is_empty()) {
            return Err(Fault::unsupported("a task takes one message: another one is a task of its own"));
        }
        let (mut text, mut files): (Vec<String>, Vec<(String, Vec<u8>)>) = (Vec::new(), Vec::new());
        for part in self.message.parts {
            match part {
                Part { text: Some(words), .. } => text.push(words),
                Part { data: Some(data), .. } => text.push(data.to_string()),
                Part { raw: Some(raw), filename, .. } => {
                    let name =
                        filename.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("file-{}", files.len() + 1));
                    files.push((name, bytes(&raw)?));
                }
                Part { url: Some(url), .. } => {
                    return Err(Fault::content(format!("{url}: files come with the message, as raw")));
                }
                _ => return Err(Fault::params("a part is text, data or raw")),
            }
        }
        check(&files)?;
        let text = text.join("\n");
        if text.trim().is_empty() {
            return Err(Fault::params("the message is empty"));
        }
        let returns_at_once = self.configuration.is_some_and(|configuration| configuration.return_immediately);
        Ok(Asked { text, files, returns_at_once })
    }
}

fn bytes(raw: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(raw).map_err(|e| Fault::params(format!("a file is no base64: {e}")))
}

fn check(files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
    for (at, (name, _)) in files.iter().enumerate() {
        if [".", ".."].contains(&&**name) || name.contains(|c: char| c.is_control() || ['/', '\\'].contains(&c)) {
            return Err(Fault::params(format!("{name:?} is no name of a file: it is one without its folder")));
        }
        if files[..at].iter().any(|(other, _)| other == name) {
            return Err(Fault::params(format!("two files are named \"{name}\"")));
        }
    }
    if files.len() > MAX_FILES {
        return Err(Fault::params(format!("{} files are more than {MAX_FILES}", files.len())));
    }
    Ok(())
}

/// The answer to a call.
pub(super) fn reply(id: &Value, result: Result<Value, Fault>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Fault { code, message }) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

/// A run as a task of the protocol.
pub(super) fn task(door: &Door, view: TaskView) -> Value {
    let run = view.task.run.to_string();
    let mut task = standing(&run, state(view.status), None);
    if let Some(outcome) = view.outcome {
        match outcome.into_result().and_then(|output| output.value()) {
            Ok(output) => task["artifacts"] = json!([artifact(door, &run, &output)]),
            Err(error) => task["status"]["message"] = message(&run, &format!("{}: {error}", error.code())),
        }
    }
    task
}

/// A task that stands so.
pub(super) fn standing(run: &str, state: &str, words: Option<&str>) -> Value {
    json!({ "id": run, "contextId": run, "status": status(run, state, words) })
}

/// That a task stands so now.
pub(super) fn moved(run: &str, state: &str, words: Option<&str>) -> Value {
    json!({ "statusUpdate": { "taskId": run, "contextId": run, "status": status(run, state, words) } })
}

/// That a task has its output.
pub(super) fn made(door: &Door, run: &str, output: &Value) -> Value {
    let artifact = artifact(door, run, output);
    json!({ "artifactUpdate": { "taskId": run, "contextId": run, "artifact": artifact, "lastChunk": true } })
}

fn status(run: &str, state: &str, words: Option<&str>) -> Value {
    match words {
        Some(words) => json!({ "state": state, "message": message(run, words) }),
        None => json!({ "state": state }),
    }
}

fn message(run: &str, words: &str) -> Value {
    let id = uuid_of(run, words);
    json!({ "messageId": id, "taskId": run, "contextId": run, "role": "ROLE_AGENT", "parts": [{ "text": words }] })
}

/// The same for the same words of the same run, so that who reads a task twice knows them again.
fn uuid_of(run: &str, words: &str) -> String {
    let hash = words
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{run}-{hash:016x}")
}

/// An output: in words where it has some, and all of it as data.
fn artifact(door: &Door, run: &str, output: &Value) -> Value {
    let words = prompt::answer(door, output).map(|words| json!({ "text": words, "mediaType": "text/plain" }));
    let data = json!({ "data": output, "mediaType": "application/json" });
    let parts: Vec<Value> = words.into_iter().chain([data]).collect();
    json!({ "artifactId": format!("{run}-output"), "name": "output", "parts": parts })
}

pub(super) fn state(status: Status) -> &'static str {
    match status {
        Status::Pending => SUBMITTED,
        Status::InProgress => WORKING,
        Status::Completed => COMPLETED,
        Status::Cancelled => CANCELLED,
        _ => FAILED,
    }
}

pub(super) const SUBMITTED: &str = "TASK_STATE_SUBMITTED";
pub(super) const WORKING: &str = "TASK_STATE_WORKING";
pub(super) const COMPLETED: &str = "TASK_STATE_COMPLETED";
pub(super) const FAILED: &str = "TASK_STATE_FAILED";
pub(super) const CANCELLED: &str = "TASK_STATE_CANCELED";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(message: Value) -> Result<Asked, Fault> {
        let send: Sent = serde_json::from_value(json!({ "message": message })).unwrap();
        send.asked()
    }

    #[test]
    fn a_message_is_words_or_data_with_files() {
        let file = json!({ "raw": "aGk=", "filename": "a.md", "mediaType": "text/markdown" });
        let read =
            asked(json!({ "role": "ROLE_USER", "parts": [{ "text": "Who?" }, file, { "raw": "aGk=" }] })).unwrap();
        assert_eq!(read.text, "Who?");
        assert_eq!(read.files, [("a.md".to_owned(), b"hi".to_vec()), ("file-2".to_owned(), b"hi".to_vec())]);
        assert_eq!(asked(json!({ "parts": [{ "data": { "text": "x" } }] })).unwrap().text, r#"{"text":"x"}"#);
    }

    #[test]
    fn what_is_no_message_has_its_number() {
        let file = |name: &str| json!({ "raw": "aGk=", "filename": name });
        for (message, code) in [
            (json!({ "parts": [] }), -32602),
            (json!({ "parts": [{ "text": " " }] }), -32602),
            (json!({ "parts": [{ "raw": "a-_=" }] }), -32602),
            (json!({ "parts": [{ "text": "x" }, file("../a")] }), -32602),
            (json!({ "parts": [{ "text": "x" }, file("a"), file("a")] }), -32602),
            (json!({ "parts": [{ "url": "https://a.example" }] }), -32005),
            (json!({ "parts": [{}] }), -32602),
            (json!({ "taskId": "r1", "parts": [{ "text": "x" }] }), -32004),
        ] {
            assert_eq!(asked(message.clone()).unwrap_err().code, code, "{message}");
        }
    }
}
