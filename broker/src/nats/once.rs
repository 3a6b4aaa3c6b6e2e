//! Storing what the server keeps once, however often it is sent.
//!
//! A message with an id is dropped when it comes again, and one that expects a sequence is refused; so when no answer
//! comes it is sent again, and what is left unknown is only what a server did not answer all the time.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use super::js::{Refusal, Stored};
use super::link::Link;
use super::options::REQUEST;
use crate::error::Error;

/// How long a message is sent again: two requests' time, 10 s.
const PATIENCE: Duration = REQUEST.saturating_mul(2);
/// The wait between two of them where the server answers but has not found its streams yet.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of a message.
pub(crate) struct Sent {
    pub(crate) answer: Result<Stored, Refusal>,
    /// Whether it was sent more than once: a conflict may then be with itself.
    pub(crate) repeated: bool,
}

/// Sends a message with an id or an expected sequence until there is an answer.
pub(crate) async fn store_once(link: &Link, subject: &str, headers: &HeaderMap, body: &Bytes) -> Sent {
    let until = Instant::now() + PATIENCE;
    let mut repeated = false;
    loop {
        let answer = match link.store(subject, headers.clone(), body.clone()).await {
            Err(Refusal::Unknown(_)) if Instant::now() < until => {
                repeated = true;
                continue;
            }
            // After a doubt this tells of the second message only.
            Err(Refusal::Failed(Error::Unavailable { .. })) if repeated && Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(Refusal::Failed(error)) if repeated => Err(Refusal::Unknown(error)),
            answer => answer,
        };
        return Sent { answer, repeated };
    }
}
