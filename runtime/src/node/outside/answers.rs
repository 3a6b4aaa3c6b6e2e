//! Answers of people with the server's own tools: a request with a JSON document, held against the question like any
//! other answer.

use std::sync::Arc;

use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::nats::requests::{self, Obey};
use callboard_broker::nats::{Link, names};
use callboard_broker::tasks::Recorded;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cell::hub::Hub;
use crate::inbox::Inbox;

/// A question's answer, and whose it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    task: TaskId,
    answer: Value,
    by: String,
}

/// Takes answers for as long as what this resolves to is polled.
///
/// # Errors
/// `Unavailable` when the connection is closed.
pub(super) async fn serve(hub: &Arc<Hub>, link: &Arc<Link>) -> Result<impl Future<Output = ()> + Send + use<>> {
    let hub = Arc::downgrade(hub);
    let obey: Obey = Arc::new(move |body| {
        let hub = hub.upgrade();
        Box::pin(async move {
            let hub = hub.ok_or_else(|| Error::unavailable("this process is about to end"))?;
            let Answer { task, answer, by } =
                serde_json::from_slice(&body).map_err(|e| Error::decode(format!("not an answer: {e}")))?;
            let recorded = Inbox::of(&hub.broker).answer(task.clone(), answer, &by).await?;
            Ok(json!({ "task": task, "recorded": if recorded == Recorded::New { "new" } else { "already" } }))
        })
    });
    requests::serve(link, names::ANSWER, Box::pin(std::future::pending()), obey).await
}
