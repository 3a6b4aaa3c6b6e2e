//! Whether the server still takes this process.
//!
//! A connection that breaks is sought for as long as it takes; but credentials that are refused stay refused, and a
//! process that goes on trying looks alive and is of no use. One refusal may come from a server that is just being set
//! up anew, so it takes two, with no connection between them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ClientError, ConnectErrorKind, Event, ServerError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::link::Notice;

/// Refusals in a row that are final.
const REFUSALS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Standing {
    refused: AtomicU32,
    over: watch::Sender<bool>,
    line: Mutex<Line>,
}

/// Which connection this is.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    #[default]
    None,
    First,
    /// It was lost before, and is there again since.
    Again(Instant),
}

impl Standing {
    /// What the client says; what is to be told to others, when this makes it final.
    pub(super) fn hear(&self, event: &Event) -> Option<Notice> {
        if matches!(event, Event::Connected) && !self.is_over() {
            self.refused.store(0, Ordering::Release);
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            *line = if matches!(*line, Line::None) { Line::First } else { Line::Again(Instant::now()) };
        }
        if !is_refusal(event) || self.refused.fetch_add(1, Ordering::AcqRel) + 1 != REFUSALS {
            return None;
        }
        tracing::error!("the server does not accept the credentials any more: this process will not try again");
        self.over.send_replace(true);
        Some(Notice::Closed("the server does not accept the credentials any more".into()))
    }

    pub(super) fn is_over(&self) -> bool {
        self.refused.load(Ordering::Acquire) >= REFUSALS
    }

    /// Whether a connection that was lost has been back for less than so long.
    pub(super) fn is_just_back(&self, within: Duration) -> bool {
        let line = *self.line.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(line, Line::Again(since) if since.elapsed() < within)
    }

    /// Resolves when it is final.
    pub(super) async fn over(&self) {
        // The sender is ours.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }
}

/// While connected it is an error of the server; while it connects again, the client only passes its words on.
fn is_refusal(event: &Event) -> bool {
    match event {
        Event::ServerError(ServerError::AuthorizationViolation) => true,
        Event::ClientError(ClientError::Other(text)) => {
            let kinds = [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication];
            kinds.iter().any(|kind| kind.to_string() == *text)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Event {
        Event::ClientError(ClientError::Other(ConnectErrorKind::AuthorizationViolation.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_just_back_after_it_was_lost_and_not_when_it_is_the_first() {
        let (standing, while_new) = (Standing::default(), Duration::from_secs(5));
        standing.hear(&Event::Connected);
        assert!(!standing.is_just_back(while_new));
        standing.hear(&Event::Disconnected);
        standing.hear(&Event::Connected);
        assert!(standing.is_just_back(while_new));
        tokio::time::advance(while_new).await;
        assert!(!standing.is_just_back(while_new));
    }

    #[tokio::test]
    async fn two_refusals_in_a_row_are_final_and_told_once() {
        let standing = Standing::default();
        for event in [refusal(), Event::Connected, refusal(), Event::Disconnected] {
            assert_eq!((standing.hear(&event), standing.is_over()), (None, false), "{event}");
        }
        let told = standing.hear(&Event::ServerError(ServerError::AuthorizationViolation));
        assert!(matches!(told, Some(Notice::Closed(_))), "{told:?}");
        standing.over().await;
        assert_eq!(
            (standing.hear(&refusal()), standing.hear(&Event::Connected), standing.is_over()),
            (None, None, true)
        );
    }
}
