use std::process::Command;

use serde_json::{Value, json};

use super::Server;
use crate::python;

/// `llmock` of the Python registry: it speaks like a provider, breaks as it is told, and judges how whoever asked it took
/// that. Nobody here wrote it.
pub struct Mock(Server);

impl Mock {
    /// One on a free port, with further arguments of its command line.
    ///
    /// # Panics
    /// When it cannot be had or does not start.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(python::interpreter());
        command.arg(python::script("tests/python/llmock_server.py")).args(arguments);
        Self(Server::start(&mut command).ready("/_llmock/verdict"))
    }

    /// Where a model of it is asked.
    pub fn url(&self) -> String {
        self.at("/v1")
    }

    /// The same of a model of another dialect, by its path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0.address)
    }

    /// What becomes of the next requests, in order: `{"type": "fail", "status": 429, "retry_after": 0.2}`.
    pub fn behave(&self, behaviors: &[Value]) {
        self.0.json("POST", "/_llmock/scenario", &json!({ "behaviors": behaviors }));
    }

    /// Next it says this.
    pub fn reply(&self, text: &str) {
        self.behave(&[json!({ "type": "reply", "text": text })]);
    }

    /// The requests that it got.
    pub fn requests(&self) -> Value {
        self.0.json("GET", "/_llmock/requests", &Value::Null)
    }

    /// What it thinks of whoever asked.
    pub fn verdict(&self) -> Value {
        // It answers with another status when it is not content.
        self.0.json("GET", "/_llmock/verdict", &Value::Null)
    }
}
