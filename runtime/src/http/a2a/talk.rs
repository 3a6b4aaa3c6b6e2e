//! Messages as runs.

use std::sync::Arc;

use callboard_agents::Value;
use callboard_agents::service::Door;
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::tasks::TaskView;
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::wire::{self, Call, Fault};
use crate::door::{Attended, Order};
use crate::http::route::{Body, Place, Room, json_body};
use crate::http::stream::{self, Speak};

/// Answers one call.
pub(in crate::http) async fn answer(room: Arc<Room>, door: Door, version: Option<&str>, body: &[u8]) -> Response<Body> {
    let call: Call = match serde_json::from_slice(body) {
        Ok(call) => call,
        Err(e) => return said(&wire::reply(&Value::Null, Err(Fault::no_json(format!("no call of JSON-RPC: {e}"))))),
    };
    let id = call.id.clone();
    match work(room, door, version, call).await {
        Ok(response) => response,
        Err(fault) => said(&wire::reply(&id, Err(fault))),
    }
}

async fn work(
    room: Arc<Room>,
    door: Door,
    version: Option<&str>,
    call: Call,
) -> std::result::Result<Response<Body>, Fault> {
    if let Some(version) = version.filter(|version| version.split('.').next() != Some("1")) {
        return Err(Fault::version(version));
    }
    let Call { id, method, params } = call;
    match &*method {
        "SendMessage" => send(room, door, &id, read(params)?).await,
        "SendStreamingMessage" => stream_of(room, door, id, read(params)?).await,
        "GetTask" => {
            let wire::Of { id: run } = read(params)?;
            let view = look(&room, &door, &run).await?;
            Ok(said(&wire::reply(&id, Ok(wire::task(&door, view)))))
        }
        "SubscribeToTask" => {
            let wire::Of { id: run } = read(params)?;
            subscribe(room, door, id, run).await
        }
        "CancelTask" => {
            let wire::Of { id: run } = read(params)?;
            let seen = look(&room, &door, &run).await?;
            if seen.status.is_final() {
                return Err(Fault::has_ended(&run));
            }
            let view = room.desk.cancel(&run, "a client of A2A").await.map_err(|e| Fault::from(&e))?;
            Ok(said(&wire::reply(&id, Ok(wire::task(&door, view)))))
        }
        other => Err(Fault::no_method(other)),
    }
}

/// How a run of this agent stands.
async fn look(room: &Room, door: &Door, run: &str) -> std::result::Result<TaskView, Fault> {
    match room.desk.look(run).await {
        Ok(view) if view.task.capability == door.capability => Ok(view),
        Ok(_) | Err(Error::NotFound { .. } | Error::Decode { .. }) => Err(Fault::no_task(run)),
        Err(error) => Err(Fault::from(&error)),
    }
}

/// Begins a run of a message, which goes on when its caller goes.
async fn begin(room: &Room, door: &Door, asked: wire::Asked) -> std::result::Result<Attended, Fault> {
    let place: Place = room.place().map_err(|refusal| Fault::busy(refusal.message))?;
    let request = room.desk.request(door, &asked.text, asked.files).await.map_err(|e| Fault::from(&e))?;
    let (capability, limit) = (door.capability.clone(), room.options.limit);
    let order = Order { capability, body: request.body, described: asked.text, limit };
    let begun = room.begin(order, place).await;
    begun.map(Attended::lasting).map_err(|refusal| Fault::busy(refusal.message))
}

async fn send(room: Arc<Room>, door: Door, id: &Value, send: wire::Sent) -> std::result::Result<Response<Body>, Fault> {
    let asked = send.asked()?;
    let returns_at_once = asked.returns_at_once;
    let attended = begin(&room, &door, asked).await?;
    let run = attended.run().to_owned();
    if returns_at_once {
        return Ok(said(&wire::reply(id, Ok(json!({ "task": wire::standing(&run, wire::SUBMITTED, None) })))));
    }
    if let Err(error @ Error::Unavailable { .. }) = stream::end(&room, attended).await {
        return Err(Fault::from(&error));
    }
    let view = room.desk.look(&run).await.map_err(|e| Fault::from(&e))?;
    Ok(said(&wire::reply(id, Ok(json!({ "task": wire::task(&door, view) })))))
}

async fn stream_of(
    room: Arc<Room>,
    door: Door,
    id: Value,
    send: wire::Sent,
) -> std::result::Result<Response<Body>, Fault> {
    let attended = begin(&room, &door, send.asked()?).await?;
    let run = attended.run().to_owned();
    let speaker = Speaker { door, id, run };
    let begins = speaker.line(json!({ "task": wire::standing(&speaker.run, wire::SUBMITTED, None) }));
    Ok(stream::told(&room, attended, vec![begins], Box::new(speaker)))
}

/// Tells a run that was begun before from where it is.
async fn subscribe(room: Arc<Room>, door: Door, id: Value, run: String) -> std::result::Result<Response<Body>, Fault> {
    let has_ended = || Fault::unsupported(format!("task {run} has ended: GetTask has what became of it"));
    if look(&room, &door, &run).await?.status.is_final() {
        return Err(has_ended());
    }
    let place: Place = room.place().map_err(|refusal| Fault::busy(refusal.message))?;
    let (seen, attended) = room.join(&run, place).await.map_err(|e| Fault::from(&e))?;
    if seen.status.is_final() {
        return Err(has_ended());
    }
    let speaker = Speaker { door, id, run };
    let stands = speaker.line(json!({ "task": wire::task(&speaker.door, seen) }));
    Ok(stream::told(&room, attended, vec![stands], Box::new(speaker)))
}

/// What tells one run.
struct Speaker {
    door: Door,
    id: Value,
    run: String,
}

impl Speaker {
    fn line(&self, result: Value) -> String {
        wire::reply(&self.id, Ok(result)).to_string()
    }
}

impl Speak for Speaker {
    fn progress(&mut self, words: &str) -> Vec<String> {
        vec![self.line(wire::moved(&self.run, wire::WORKING, Some(words)))]
    }

    fn end(self: Box<Self>, end: Result<Value>) -> BoxFuture<'static, Vec<String>> {
        let run = &*self.run;
        let said = match end {
            Ok(output) => vec![
                self.line(wire::made(&self.door, run, &output)),
                self.line(wire::moved(run, wire::COMPLETED, None)),
            ],
            Err(error @ Error::Unavailable { .. }) => vec![wire::reply(&self.id, Err(Fault::from(&error))).to_string()],
            Err(error) => {
                let state = if matches!(error, Error::Cancelled { .. }) { wire::CANCELLED } else { wire::FAILED };
                vec![self.line(wire::moved(run, state, Some(&format!("{}: {error}", error.code()))))]
            }
        };
        Box::pin(std::future::ready(said))
    }
}

fn read<T: DeserializeOwned>(params: Value) -> std::result::Result<T, Fault> {
    serde_json::from_value(params).map_err(|e| Fault::params(format!("the parameters: {e}")))
}

fn said(reply: &Value) -> Response<Body> {
    json_body(StatusCode::OK, reply)
}
