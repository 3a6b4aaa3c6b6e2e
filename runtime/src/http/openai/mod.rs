//! The paths of OpenAI's API that its clients use for a model: its list, and chat completions.
//!
//! The name of a model is that of a capability. Progress goes as `reasoning_content`, a field that several providers have
//! and that a client which does not know it passes over.
//!
//! | file | holds |
//! |---|---|
//! | `wire` | requests as they come, answers as they go: pure |
//! | `chat` | a chat completion as a run |

mod chat;
mod wire;

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::route::{Body, Room, json_body};

pub(super) use chat::complete;

/// All models.
pub(super) fn models(room: &Room) -> Response<Body> {
    let all: Vec<Value> = room.desk.public().iter().map(|door| listed(door.capability.as_str(), room.since)).collect();
    json_body(StatusCode::OK, &json!({ "object": "list", "data": all }))
}

/// One model.
pub(super) fn model(room: &Room, name: &str) -> Result<Response<Body>, Refusal> {
    let known = room.desk.public();
    let door = known.iter().find(|door| door.capability.as_str() == name);
    let door = door.ok_or_else(|| unknown(room, name))?;
    Ok(json_body(StatusCode::OK, &listed(door.capability.as_str(), room.since)))
}

fn listed(name: &str, since: u64) -> Value {
    json!({ "id": name, "object": "model", "created": since, "owned_by": "callboard" })
}

fn unknown(room: &Room, name: &str) -> Refusal {
    let known: Vec<String> = room.desk.public().iter().map(|door| door.capability.to_string()).collect();
    Refusal::unknown_model(name, &known.join(", "))
}
