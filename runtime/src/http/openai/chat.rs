//! A chat completion as a run.

use std::sync::Arc;

use bytes::Bytes;
use callboard_agents::Value;
use callboard_agents::llm::Usage;
use callboard_agents::prompt;
use callboard_agents::service::Door;
use callboard_broker::BoxFuture;
use callboard_broker::error::Result;
use callboard_broker::id::RunId;
use callboard_broker::subject::CapabilityName;
use hyper::{Response, StatusCode};

use super::wire::{self, Answer};
use crate::door::{Order, spent};
use crate::http::refusal::Refusal;
use crate::http::route::{Body, Place, Room, json_body};
use crate::http::stream::{self, Speak};

/// The last event of a stream.
const DONE: &str = "[DONE]";

/// Answers one.
pub(in crate::http) async fn complete(
    room: Arc<Room>,
    body: Bytes,
    place: Place,
) -> std::result::Result<Response<Body>, Refusal> {
    let chat = wire::read(&body)?;
    let name = chat.model.clone();
    let door = CapabilityName::parse(&name).ok().and_then(|name| room.desk.door(&name));
    let door = door.ok_or_else(|| super::unknown(&room, &name))?;
    let asked = chat.asked()?;
    let request = room.desk.request(&door, &asked.text, asked.files).await.map_err(|e| Refusal::from(&e))?;
    let order = Order {
        capability: door.capability.clone(),
        body: request.body,
        described: asked.text,
        limit: room.options.limit,
    };
    let attended = room.begin(order, place).await?;
    let run = attended.run().to_owned();
    let created = room.desk.broker().clock.now() / 1_000;
    let answer = Answer { id: format!("chatcmpl-{run}"), created, model: name };
    let in_words = request.in_words && !asked.whole;
    let speaker = Speaker { room: room.clone(), door, answer, run, in_words, tells_usage: asked.tells_usage };
    if asked.streams {
        let begins = vec![speaker.answer.begins()];
        return Ok(stream::told(&room, attended, begins, Box::new(speaker)));
    }
    let output = stream::end(&room, attended).await.map_err(|e| Refusal::of_run(&e))?;
    let used = speaker.used().await;
    Ok(json_body(StatusCode::OK, &speaker.answer.whole(&speaker.words(&output), used)))
}

/// What tells one run.
struct Speaker {
    room: Arc<Room>,
    door: Door,
    answer: Answer,
    run: String,
    /// Whether the answer is words; otherwise all of the output.
    in_words: bool,
    tells_usage: bool,
}

impl Speaker {
    fn words(&self, output: &Value) -> String {
        let words = prompt::answer(&self.door, output).filter(|_| self.in_words);
        words.unwrap_or_else(|| output.to_string())
    }

    /// What the models of the run used. An answer is not lost because nobody could count.
    async fn used(&self) -> Usage {
        let counted = match RunId::parse(&self.run) {
            Ok(run) => spent(self.room.desk.broker(), &run).await,
            Err(bad) => Err(bad.into()),
        };
        counted.unwrap_or_else(|error| {
            tracing::warn!(%error, run = self.run, "what a run has used of models is not known");
            Usage::default()
        })
    }
}

impl Speak for Speaker {
    fn progress(&mut self, words: &str) -> Vec<String> {
        vec![self.answer.progress(words)]
    }

    fn end(self: Box<Self>, end: Result<Value>) -> BoxFuture<'static, Vec<String>> {
        Box::pin(async move {
            let output = match end {
                Ok(output) => output,
                // The clients of OpenAI raise what comes as `error`.
                Err(error) => return vec![Refusal::of_run(&error).document().to_string(), DONE.to_owned()],
            };
            let mut said = self.answer.says(&self.words(&output));
            if self.tells_usage {
                said.push(self.answer.used(self.used().await));
            }
            said.push(DONE.to_owned());
            said
        })
    }
}
