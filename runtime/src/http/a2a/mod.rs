//! Public capabilities as agents of the Agent2Agent protocol, version 1.0, in its JSON-RPC binding.
//!
//! The documents are our own, few as they are. They are held against the protocol's own client in Python.
//!
//! | path | is |
//! |---|---|
//! | `/.well-known/agent-card.json` | the card of the first public capability, with all of them as skills |
//! | `/a2a/<name>/.well-known/agent-card.json` | the card of one, by its name with `-` for each dot |
//! | `/a2a/<name>` | `SendMessage`, `SendStreamingMessage`, `SubscribeToTask`, `GetTask`, `CancelTask` |
//!
//! A task of the protocol is a run, and its id that of the run. Other than a request to a model it goes on when its caller
//! goes: the protocol has a way to come back to it, and another to take it back.
//!
//! | file | holds |
//! |---|---|
//! | `card` | what an agent says of itself: pure |
//! | `wire` | requests as they come, answers as they go: pure |
//! | `talk` | messages as runs |

mod card;
mod talk;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use callboard_agents::service::Door;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};

use super::refusal::Refusal;
use super::route::{Body, Room, json_body};

pub(super) use talk::answer;

/// The card of an agent, or of the first.
pub(super) fn card(room: &Room, headers: &HeaderMap, name: Option<&str>) -> Result<Response<Body>, Refusal> {
    let all = room.desk.public();
    let door = agent(&all, name)?;
    let base = card::base(headers, &room.options);
    let skills = if name.is_some() { std::slice::from_ref(door) } else { &all[..] };
    Ok(json_body(StatusCode::OK, &card::card(door, skills, &base, !room.options.keys.is_empty())))
}

/// The agent that a path names.
fn agent<'d>(all: &'d [Door], name: Option<&str>) -> Result<&'d Door, Refusal> {
    let found = all.iter().find(|door| name.is_none_or(|name| door.capability.to_token() == name));
    found.ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|door| door.capability.to_token()).collect();
        Refusal::unknown_model(name.unwrap_or_default(), &known.join(", "))
    })
}

/// One call, to the agent of that name.
pub(super) async fn call(
    room: Arc<Room>,
    name: &str,
    version: Option<&str>,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let door = agent(&room.desk.public(), Some(name))?.clone();
    Ok(answer(room, door, version, &body).await)
}
