//! A visit that ends when nobody listens any more, or its time is over.
//!
//! Whoever asks over HTTP or MCP goes by closing a connection or taking the call back, and a dropped future could not
//! wait until the run is cancelled. So the run is listened to in a task of its own, and its listener is a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callboard_broker::error::Error;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::visit::{Told, Visit};

/// How many things may be said to a listener who does not listen at the moment; then the telling waits, and the run does
/// not.
pub const TELLS: usize = 64;
/// How much longer than the run its listener is answered, so that it is told what became of it.
const GRACE: Duration = Duration::from_secs(10);

/// A run with one listener. Dropping it cancels the run, unless it has ended.
#[derive(Debug)]
pub struct Attended {
    run: String,
    told: mpsc::Receiver<Told>,
    /// Whether the run goes on without a listener.
    goes_on: Arc<AtomicBool>,
}

impl Attended {
    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// What is told next; none after the end.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// The same, whose run goes on when nobody listens.
    pub fn lasting(self) -> Self {
        self.goes_on.store(true, Ordering::Relaxed);
        self
    }

    /// Stops listening and lets the run go on.
    pub fn let_go(self) {
        self.goes_on.store(true, Ordering::Relaxed);
    }
}

impl Visit {
    /// The same for a run that was begun by somebody else: it goes on whatever becomes of its listener, and is listened to
    /// no longer than he listens, or than `limit` and a little.
    pub fn overheard(mut self, limit: Duration) -> (Attended, impl Future<Output = ()> + Send + 'static) {
        let (tells, told) = mpsc::channel(TELLS);
        let attended = Attended { run: self.id().to_owned(), told, goes_on: Arc::new(AtomicBool::new(true)) };
        let attending = async move {
            let telling = async {
                loop {
                    let told = self.next().await;
                    let is_end = matches!(told, Told::End(_));
                    if tells.send(told).await.is_err() || is_end {
                        return;
                    }
                }
            };
            tokio::select! {
                () = telling => {}
                () = tells.closed() => {}
                () = sleep(limit + GRACE) => {}
            }
        };
        (attended, attending)
    }

    /// Puts the visit into a task that is to be spawned, and what it tells into a channel. When its listener goes the run
    /// is cancelled, as having been left by `who`; so it is when it takes longer than its `limit` and a little. A run that
    /// goes on without a listener is followed to its end all the same: until then it takes the place that it was given.
    pub fn attended(
        mut self,
        who: &'static str,
        limit: Duration,
    ) -> (Attended, impl Future<Output = ()> + Send + 'static) {
        let (tells, told) = mpsc::channel(TELLS);
        let goes_on = Arc::new(AtomicBool::new(false));
        let attended = Attended { run: self.id().to_owned(), told, goes_on: goes_on.clone() };
        let attending = async move {
            let mut late = std::pin::pin!(sleep(limit + GRACE));
            let mut is_heard = true;
            loop {
                let told = tokio::select! {
                    // What there is to tell goes before the end of the time.
                    biased;
                    told = self.next() => told,
                    () = tells.closed(), if is_heard => {
                        if !goes_on.load(Ordering::Relaxed) {
                            return self.cancel(who).await;
                        }
                        is_heard = false;
                        continue;
                    }
                    () = &mut late => {
                        if !is_heard {
                            // What nobody waits for has a deadline of its own.
                            return;
                        }
                        self.cancel("the limit of its time").await;
                        Told::End(Err(Error::Deadline { to: format!("run {}", self.id()).into(), limit }))
                    }
                };
                let is_end = matches!(told, Told::End(_));
                if is_heard {
                    is_heard = tokio::select! {
                        sent = tells.send(told) => sent.is_ok(),
                        // Somebody holds on to it and does not read what is told.
                        () = &mut late => false,
                    };
                    if !is_end && !is_heard && !goes_on.load(Ordering::Relaxed) {
                        return self.cancel(who).await;
                    }
                }
                if is_end {
                    return;
                }
            }
        };
        (attended, attending)
    }
}
