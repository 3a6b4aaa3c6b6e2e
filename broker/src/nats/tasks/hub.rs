//! Hints that something of a run was stored.
//!
//! One subscription for each run that somebody here cares for. A hint only saves time: whoever gets one reads the
//! stream, and whoever waits looks again by himself.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, broadcast};
use tokio::task::AbortHandle;

use crate::error::{Error, Result};
use crate::id::{RunId, TaskId};
use crate::nats::js::receive;
use crate::nats::link::Link;
use crate::nats::names;
use crate::nats::record::parse_subject;

/// Hints that a listener may fall behind.
const BACKLOG: usize = 4_096;

/// A record was stored.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    pub(super) task: TaskId,
    pub(super) kind: String,
    pub(super) seq: u64,
}

/// All listening of this process.
pub(super) struct Hub {
    link: Arc<Link>,
    runs: Mutex<HashMap<RunId, Weak<Listening>>>,
    all: broadcast::Sender<Hint>,
}

/// The subscription to one run, for as long as somebody holds this.
#[derive(Debug)]
pub(super) struct Listening {
    hints: broadcast::Sender<Hint>,
    forwarding: AbortHandle,
}

impl Listening {
    pub(super) fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Hub {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self { link, runs: Mutex::default(), all: broadcast::channel(BACKLOG).0 })
    }

    /// The hints of every run that is listened to.
    pub(super) fn all(&self) -> broadcast::Receiver<Hint> {
        self.all.subscribe()
    }

    /// Listens to a run. What is stored after this returns is heard, because the server takes what we send in order.
    ///
    /// Begun by itself: who asks may be polled by nobody for a while, and others wait in the same line.
    pub(super) async fn listen(self: &Arc<Self>, run: &RunId) -> Result<Arc<Listening>> {
        let (hub, run) = (self.clone(), run.clone());
        let begun = tokio::spawn(async move { hub.begin(run).await });
        begun.await.unwrap_or_else(|e| Err(Error::unavailable(format!("listening to a run: {e}"))))
    }

    async fn begin(&self, run: RunId) -> Result<Arc<Listening>> {
        let mut runs = self.runs.lock().await;
        if let Some(listening) = runs.get(&run).and_then(Weak::upgrade) {
            return Ok(listening);
        }
        runs.retain(|_, listening| listening.strong_count() > 0);
        let lost = |e: async_nats::SubscribeError| Error::unavailable(format!("{}: {e}", self.link.address));
        let mut subscription = self.link.client.subscribe(names::done(&run)).await.map_err(lost)?;
        let (hints, _) = broadcast::channel(BACKLOG);
        let (here, everywhere) = (hints.clone(), self.all.clone());
        let forwarding = tokio::spawn(async move {
            while let Some(message) = receive(&mut subscription).await {
                let Some((task, kind)) = parse_subject(&message.subject) else { continue };
                let number = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
                let seq = number.and_then(|seq| seq.as_str().parse().ok()).unwrap_or_default();
                let hint = Hint { task, kind: kind.to_owned(), seq };
                // Nobody listening at this moment is no failure.
                let _ = everywhere.send(hint.clone());
                let _ = here.send(hint);
            }
        });
        let listening = Arc::new(Listening { hints, forwarding: forwarding.abort_handle() });
        runs.insert(run, Arc::downgrade(&listening));
        Ok(listening)
    }
}
