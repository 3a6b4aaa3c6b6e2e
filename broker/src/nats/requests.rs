//! What a person does to tasks with the server's own tools alone: a request with a JSON document, answered with one.
//!
//! Reading is done on the streams themselves; but a cancel goes down a whole tree and a retry happens once, so both are
//! done by a process that works, whichever of them gets the request. The verbs stand where nodes have theirs, under
//! names that a node should not have: `dead` and `task`.
//!
//! | subject | request | answer |
//! |---|---|---|
//! | `cb.v1.ctl.dead.retry` | `{"seq": 12}` | `{"task": "t1_..."}`, the same to a second request |
//! | `cb.v1.ctl.task.cancel` | `{"task": "t1", "by": "ops"}` | `{"cancelled": ["t1", ...]}` |
//!
//! Whoever stands on a broker may answer more of them with [`serve`]; a node does so for the answers of people.
//!
//! # Errors
//! As of a capability that is asked by hand: the headers `Nats-Service-Error-Code` (400 unreadable, 404 not there, 409
//! not possible any more, 500 try again) and `Nats-Service-Error`, and the body `{"code": "CB0204", "message": "..."}`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::dead::DeadRoom;
use super::js::came_directly;
use super::link::Link;
use super::messages::written;
use super::names;
use super::tasks::TaskRoom;
use crate::BoxFuture;
use crate::dead_letter::DeadLetters;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::payload::Payload;
use crate::tasks::{Recorded, Tasks};

/// Of several processes one gets each request.
const GROUP: &str = "ctl";
/// Requests that one process works on at a time; further ones wait in its subscription.
const AT_ONCE: usize = 16;
/// How often it is looked whether the process still has the broker: a subscription alone must not keep the connection.
const LOOK: Duration = Duration::from_secs(1);
/// Who cancels when the request does not say.
const SOMEBODY: &str = "somebody";

/// Answers until the rooms are gone.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub(crate) async fn answer(link: &Arc<Link>, tasks: &Arc<TaskRoom>, dead: &Arc<DeadRoom>) -> Result<()> {
    let rooms = Rooms { tasks: Arc::downgrade(tasks), dead: Arc::downgrade(dead) };
    for (subject, verb) in [(names::RETRY, Verb::Retry), (names::CANCEL, Verb::Cancel)] {
        let (obeying, gone) = (rooms.clone(), Box::pin(rooms.clone().gone()));
        let obey: Obey = Arc::new(move |body| {
            let rooms = obeying.clone();
            Box::pin(async move { rooms.obey(verb, &body).await })
        });
        tokio::spawn(serve(link, subject, gone, obey).await?);
    }
    Ok(())
}

/// Does what one request asks for.
pub type Obey = Arc<dyn Fn(Vec<u8>) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// Answers the requests on a subject, of which each of several processes gets some, for as long as what this resolves to
/// is polled and `gone` has not come. It does not keep the connection.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub async fn serve(
    link: &Arc<Link>,
    subject: &'static str,
    gone: BoxFuture<'static, ()>,
    obey: Obey,
) -> Result<impl Future<Output = ()> + Send + use<>> {
    let closed = |e: async_nats::SubscribeError| Error::unavailable(format!("{}: {e}", link.address));
    let requests = link.client.queue_subscribe(subject, GROUP.into()).await.map_err(closed)?;
    let link = Arc::downgrade(link);
    Ok(async move {
        let direct = |request: &Message| std::future::ready(came_directly(request, subject));
        let requests = requests.filter(direct).take_until(gone);
        requests.for_each_concurrent(AT_ONCE, |request| reply(&link, &obey, request)).await;
    })
}

#[derive(Clone, Copy)]
enum Verb {
    Retry,
    Cancel,
}

#[derive(Clone)]
struct Rooms {
    tasks: Weak<TaskRoom>,
    dead: Weak<DeadRoom>,
}

#[derive(Deserialize)]
struct Retry {
    seq: u64,
}

#[derive(Deserialize)]
struct Cancel {
    task: TaskId,
    by: Option<String>,
}

impl Rooms {
    async fn gone(self) {
        while self.tasks.strong_count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn obey(&self, verb: Verb, body: &[u8]) -> Result<Value> {
        let leaving = || Error::unavailable("this process is about to end");
        match verb {
            Verb::Retry => {
                let Retry { seq } = parse(body)?;
                let task = self.dead.upgrade().ok_or_else(leaving)?.retry(seq).await?;
                Ok(json!({ "task": task }))
            }
            Verb::Cancel => {
                let Cancel { task, by } = parse(body)?;
                let by = by.unwrap_or_else(|| SOMEBODY.into());
                let cancelled = self.tasks.upgrade().ok_or_else(leaving)?.cancel(task, by).await?;
                Ok(json!({ "cancelled": cancelled }))
            }
        }
    }
}

/// Has the answer to a question recorded by a node, which may write what a person need not: whether it was new.
///
/// # Errors
/// `NoRecipient` when no node is there to do it; `Conflict` when there is an answer already; `Decode` or `Unavailable` for
/// whatever else the node has to say against it.
pub async fn answer_by_node(link: &Link, task: &TaskId, answer: &Value, by: &str) -> Result<Recorded> {
    let body = json!({ "task": task, "answer": answer, "by": by }).to_string();
    let answered = link.request(names::ANSWER, None, body.into()).await?;
    let said: Value = serde_json::from_slice(&answered.payload).unwrap_or_default();
    let headers = answered.headers.unwrap_or_default();
    let why = || said["message"].as_str().unwrap_or("it does not say why").to_owned();
    match headers.get("Nats-Service-Error-Code").map(|code| code.as_str()) {
        None if said["recorded"] == "new" => Ok(Recorded::New),
        None => Ok(Recorded::Already),
        Some("409") => Err(Error::Conflict { key: format!("task {task}").into(), expected: 0, actual: 1 }),
        Some("400" | "403" | "404") => Err(Error::decode(why())),
        Some(_) => Err(Error::unavailable(why())),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| Error::decode(format!("not a request: {e}")))
}

async fn reply(link: &Weak<Link>, obey: &Obey, request: Message) {
    let answer = obey(request.payload.to_vec()).await.map(Payload::from);
    let (Some(to), Some(link)) = (request.reply, link.upgrade()) else { return };
    let (headers, body) = written(&answer);
    if let Err(error) = link.client.publish_with_headers(to, headers, body.into()).await {
        tracing::warn!(subject = %request.subject, %error, "a request was not answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        assert!(matches!(parse::<Retry>(b"12"), Err(Error::Decode { .. })));
        assert!(matches!(parse::<Cancel>(br#"{"task":"a.b"}"#), Err(Error::Decode { .. })));
    }
}
