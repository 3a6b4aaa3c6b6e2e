//! Following a stream: what it holds from a sequence on, then what is stored, in order and without a gap.
//!
//! The server tells the sequence of what it has stored, also of what it derived, on a subject beside the stream's own; a
//! core subscription to the stream's subjects would see writes that were refused, and miss what is derived. A hint is
//! only a hint: what is told was read from the stream. So a follower needs no consumer, which is what only operators may
//! make: a consumer can be told to publish on any subject.
//!
//! Hints come in the order of the stream, so it is known of each filter what has to be read before anything later may be
//! told, and a replica that does not have it is asked again. When hints may have been lost, the leader is asked instead.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_core::Stream;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::js::Raw;
use super::link::{Link, Notice};
use super::names;
use crate::error::{Error, Result};

/// Messages read at a time.
const BATCH: usize = 256;
/// How long nothing may be heard before the leader is asked.
const SILENCE: Duration = Duration::from_secs(2);
/// The wait between two tries to reach a server that does not answer, unless the connection comes back before.
const RETRY: Duration = Duration::from_secs(1);

/// A place in a stream.
pub(crate) struct Tail {
    link: Arc<Link>,
    stream: &'static str,
    filters: Vec<Filter>,
    notices: broadcast::Receiver<Notice>,
    next: u64,
    /// Of what is stored up to here, each filter knows its newest.
    cut: u64,
    ready: VecDeque<Raw>,
    /// Whether hints may have been lost.
    unsure: bool,
}

struct Filter {
    subject: String,
    hints: Option<Subscriber>,
    /// The newest sequence that a hint named.
    hinted: u64,
    /// The newest sequence that is known to be there.
    due: u64,
}

impl Tail {
    /// From sequence `from` on. The filters must not overlap.
    pub(crate) fn new(link: Arc<Link>, stream: &'static str, filters: Vec<String>, from: u64) -> Self {
        let filters = filters.into_iter().map(|subject| Filter { subject, hints: None, hinted: 0, due: 0 }).collect();
        let notices = link.notices();
        Self { link, stream, filters, notices, next: from.max(1), cut: 0, ready: VecDeque::new(), unsure: true }
    }

    /// The next message. A server that is away is waited for. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such stream; `Denied`; `Unavailable` once the connection is closed for good.
    pub(crate) async fn next(&mut self) -> Result<Raw> {
        loop {
            if let Some(raw) = self.ready.pop_front() {
                return Ok(raw);
            }
            let step = if self.unsure {
                self.ask().await
            } else if self.filters.iter().any(|filter| filter.due >= self.next) {
                self.read().await
            } else {
                self.listen().await
            };
            match step {
                Ok(()) => {}
                Err(Error::Unavailable { what }) => {
                    tracing::debug!(stream = self.stream, error = %what, "a follower waits for the server");
                    self.pause().await?;
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits for a server that did not answer.
    ///
    /// # Errors
    /// `Unavailable` when the connection is closed for good.
    pub(crate) async fn pause(&mut self) -> Result<()> {
        self.unsure = true;
        let notices = &mut self.notices;
        let back = async {
            loop {
                match notices.recv().await {
                    Ok(Notice::Closed(why)) => return Err(Error::unavailable(why)),
                    Ok(Notice::Connected) | Err(_) => return Ok(()),
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(RETRY, back).await.unwrap_or(Ok(()))
    }

    /// Listens for hints, and asks the leader what is there already.
    async fn ask(&mut self) -> Result<()> {
        for filter in &mut self.filters {
            if filter.hints.is_none() {
                let hints = self.link.client.subscribe(names::told(&filter.subject)).await;
                let hints = hints.map_err(|e| Error::unavailable(format!("{}: {e}", self.link.address)))?;
                filter.hints = Some(hints);
            }
        }
        // Where the stream ends is asked first: whatever stands before that is known to the filters asked later.
        let (cut, _) = self.link.newest(self.stream, ">").await?;
        for filter in &mut self.filters {
            (filter.due, _) = self.link.newest(self.stream, &filter.subject).await?;
        }
        (self.cut, self.unsure) = (cut, false);
        self.hear_all();
        Ok(())
    }

    /// Reads what is due. With several filters nothing is told beyond the cut: what comes later in one of them may follow
    /// something in another that was read before it was there.
    async fn read(&mut self) -> Result<()> {
        self.hear_all();
        let mut until = if self.filters.len() == 1 { u64::MAX } else { self.cut };
        if until < self.next {
            self.unsure = true;
            return Ok(());
        }
        let mut found: Vec<Raw> = Vec::new();
        for filter in self.filters.iter().filter(|filter| filter.due >= self.next) {
            let page = self.link.page(self.stream, &filter.subject, self.next, BATCH).await?;
            match page.last() {
                Some(last) if last.pending > 0 => until = until.min(last.seq),
                Some(last) if last.seq >= filter.due => {}
                // The replica is behind, or somebody has taken the message away.
                _ => {
                    self.unsure = true;
                    until = until.min(page.last().map_or(self.next - 1, |last| last.seq));
                }
            }
            found.extend(page);
        }
        found.retain(|raw| raw.seq <= until);
        found.sort_by_key(|raw| raw.seq);
        let read = found.last().map_or(0, |raw| raw.seq);
        let complete = if until == u64::MAX { read } else { until };
        self.next = self.next.max(complete + 1);
        self.ready.extend(found);
        Ok(())
    }

    async fn listen(&mut self) -> Result<()> {
        let silent = Instant::now() + SILENCE;
        let (filters, notices) = (&mut self.filters, &mut self.notices);
        let heard = tokio::select! {
            heard = poll_fn(|cx| {
                let mut all = filters.iter_mut().map(|filter| filter.poll(cx));
                all.find(Poll::is_ready).unwrap_or(Poll::Pending)
            }) => heard,
            notice = notices.recv() => match notice {
                Ok(Notice::Closed(why)) => return Err(Error::unavailable(why)),
                Ok(Notice::Connected | Notice::SlowConsumer) | Err(_) => false,
                Ok(_) => true,
            },
            () = tokio::time::sleep_until(silent) => false,
        };
        self.unsure = !heard;
        self.hear_all();
        Ok(())
    }

    /// Takes the hints that are there. They come on one line in the order of the stream: a look at all filters that begins
    /// after a hint came sees all earlier ones.
    fn hear_all(&mut self) {
        let newest = |filters: &[Filter]| filters.iter().map(|filter| filter.hinted).max().unwrap_or_default();
        let mut cx = Context::from_waker(Waker::noop());
        let cut = newest(&self.filters);
        for filter in &mut self.filters {
            while let Poll::Ready(hint) = filter.poll(&mut cx) {
                if !hint {
                    self.unsure = true;
                    break;
                }
            }
        }
        self.cut = self.cut.max(cut);
    }
}

impl Filter {
    /// Takes a hint; whether there was one, or the subscription is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(hints) = &mut self.hints else { return Poll::Pending };
        match ready!(Pin::new(hints).poll_next(cx)) {
            Some(hint) => {
                self.hinted = self.hinted.max(sequence(&hint));
                self.due = self.due.max(self.hinted);
                Poll::Ready(true)
            }
            None => {
                self.hints = None;
                Poll::Ready(false)
            }
        }
    }
}

/// The sequence that a hint names.
fn sequence(hint: &Message) -> u64 {
    let header = hint.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
    header.and_then(|text| text.as_str().parse().ok()).unwrap_or_default()
}
