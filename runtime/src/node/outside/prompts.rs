//! Prompts from outside: each becomes a task, whose progress is told and whose output is the answer.
//!
//! A task and not an ask, because a prompt may take minutes and is worked on by many nodes: whatever becomes of one of
//! them, the work goes on. It ends when nobody waits for it any more: its deadline is that of the prompt, and when the
//! caller is known to have gone it is cancelled.

use std::sync::Arc;
use std::time::Duration;

use callboard_agents::Value;
use callboard_agents::prompt;
use callboard_agents::service::Door;
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::nats::Link;
use callboard_broker::nats::outside::{
    AT_ONCE, Answer, Attachment, Caller, LIMIT, Offer, Options, Outside, Over, Prompt, may_attach,
};
use tokio::task::JoinSet;

use super::questions;
use crate::cell::hub::Hub;
use crate::door::{Desk, Order, Told, Visit};
use crate::inbox::Inbox;
use crate::period::Period;
use crate::settings::node::Config;

/// Under whose name capabilities are offered unless the configuration says otherwise.
const OWNER: &str = "local";
/// The name of the file in which all of an output goes with an answer in words.
const OUTPUT: &str = "output.json";
/// How much longer than the task its caller is answered, so that it is told what became of the task.
const GRACE: Duration = Duration::from_secs(10);
/// Whose cancel it is when a caller has gone.
const GONE: &str = "whoever prompted it has gone";

/// What one prompt needs of the node.
#[derive(Clone)]
struct Room {
    desk: Desk,
    node: Arc<str>,
    link: Arc<Link>,
    door: Arc<Door>,
    limit: Duration,
}

/// Opens the door to what is configured as public; none when nothing is.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub(super) async fn open(hub: &Arc<Hub>, link: &Arc<Link>, config: &Config) -> Result<Option<Outside>> {
    if config.public.is_empty() {
        return Ok(None);
    }
    let limit = config.limits.prompt_time.map_or(LIMIT, Period::length);
    let desk = Desk::of_hub(hub, &config.public);
    let offers = desk.public().into_iter().map(|door| {
        let (desk, node, link) = (desk.clone(), hub.name.as_str().into(), link.clone());
        Room { desk, node, link, door: Arc::new(door), limit }.offer()
    });
    let options = Options {
        at_once: config.limits.prompts.unwrap_or(AT_ONCE),
        limit: limit + GRACE,
        ..Options::new(config.owner.as_deref().unwrap_or(OWNER))
    };
    Outside::open(link.clone(), offers.collect(), options).await.map(Some)
}

impl Room {
    fn offer(self) -> Offer {
        let door = self.door.clone();
        Offer {
            capability: door.capability.clone(),
            about: door.about.clone().into_owned(),
            attachments: prompt::takes_attachments(&door),
            answer: Arc::new(move |prompt, caller| {
                let room = self.clone();
                Box::pin(async move { room.answer(prompt, &caller).await }) as BoxFuture<'static, _>
            }),
        }
    }

    async fn answer(&self, prompt: Prompt, caller: &Arc<Caller>) -> Result<Answer> {
        let Prompt { text, attachments } = prompt;
        let files = attachments.into_iter().map(|one| (one.filename, one.bytes)).collect();
        let request = self.desk.request(&self.door, &text, files).await?;
        let (capability, limit) = (self.door.capability.clone(), self.limit);
        let mut visit = self.desk.begin(Order { capability, body: request.body, described: text, limit }).await?;
        // What the caller is asked.
        let (inbox, mut asking) = (Inbox::of(self.desk.broker()), JoinSet::new());
        let output = loop {
            let told = tokio::select! {
                told = visit.next() => told,
                over = caller.over() => return Err(self.over(over, visit).await),
            };
            match told {
                Told::Progress(words) => caller.progress(&words).await,
                Told::Asked(question) => {
                    while asking.try_join_next().is_some() {}
                    asking.spawn(questions::ask(inbox.clone(), caller.clone(), question));
                }
                Told::End(end) => break end?,
            }
        };
        self.said(&output, request.in_words)
    }

    /// Nobody waits any more, or nobody here can.
    async fn over(&self, over: Over, visit: Visit) -> Error {
        match over {
            Over::Gone => {
                visit.cancel(GONE).await;
                Error::Cancelled { by: GONE.into() }
            }
            Over::Leaving => {
                let (node, run) = (&self.node, visit.id());
                Error::unavailable(format!("node {node} stops and cannot wait for the answer; run {run} goes on"))
            }
        }
    }

    /// An answer in words to words, with all of the output beside it; to a request in JSON the output in JSON.
    fn said(&self, output: &Value, in_words: bool) -> Result<Answer> {
        let whole = output.to_string();
        let Some(words) = prompt::answer(&self.door, output).filter(|_| in_words) else {
            return Ok(Answer { text: whole, attachments: Vec::new() });
        };
        let attached = output.is_object() && may_attach(&self.link, whole.len());
        let file = Attachment { filename: OUTPUT.to_owned(), bytes: whole.into_bytes() };
        Ok(Answer { text: words, attachments: if attached { vec![file] } else { Vec::new() } })
    }
}
