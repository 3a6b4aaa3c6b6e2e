//! A chat completion as a run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard_agents::Value;
use callboard_agents::llm::Usage;
use callboard_agents::prompt;
use callboard_agents::service::Door;
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::RunId;
use callboard_broker::subject::CapabilityName;
use hyper::{Response, StatusCode};
use tokio::time::timeout;

use super::wire::{self, Answer};
use crate::door::{Order, spent};
use crate::http::refusal::Refusal;
use crate::http::route::{Body, Place, Room, json_body};
use crate::http::stream::{self, Speak};

/// The last event of a stream.
const DONE: &str = "[DONE]";
/// How long an answer waits for the count of what its run used: the logs of a large run are many.
const COUNTING: Duration = Duration::from_secs(3);

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
    let attended = room.begin(order, place.clone()).await?;
    let run = attended.run().to_owned();
    let created = room.desk.broker().clock.now() / 1_000;
    let answer = Answer { id: format!("chatcmpl-{run}"), created, model: name };
    let in_words = request.in_words && !asked.whole;
    let tells_usage = asked.tells_usage;
    let speaker = Speaker { room: room.clone(), door, answer, run, in_words, tells_usage, _place: place };
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
    /// Kept until what the run used is counted, too.
    _place: Place,
}

impl Speaker {
    fn words(&self, output: &Value) -> String {
        let words = prompt::answer(&self.door, output).filter(|_| self.in_words);
        words.unwrap_or_else(|| output.to_string())
    }

    /// What the models of the run used. An answer is not lost because nobody could count, or not in time.
    async fn used(&self) -> Usage {
        let counting = async {
            let run = RunId::parse(&self.run)?;
            let late = |_| Error::Deadline { to: "the logs of a run".into(), limit: COUNTING };
            timeout(COUNTING, spent(self.room.desk.broker(), &run)).await.map_err(late)?
        };
        let counted = tokio::select! {
            counted = counting => counted,
            () = self.room.leaving() => Err(Error::unavailable("the door closes")),
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
