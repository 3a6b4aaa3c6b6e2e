//! The end of a node: drained, handed back, or given up.

use std::time::Duration;

use callboard_broker::error::{Error, Result};

use super::{Inner, Node};
use crate::cell::quit::Quit;
use crate::tree::ExitReason;

/// How long handing back what was cut off may take after everything has stopped.
const SETTLE: Duration = Duration::from_secs(2);

impl Node {
    /// Drains: takes nothing new, lets what is at work finish within each agent's shutdown time, hands the rest back to
    /// the queue, and stops everything in reverse order of its start. Nothing is lost and nothing is done twice.
    /// With a limit on it (`limits.drain`), what is at work after that is handed back.
    ///
    /// # Errors
    /// `GaveUp` when supervision had given up before.
    pub async fn shutdown(&self) -> Result<()> {
        self.end(Quit::Finish).await
    }

    /// Like [`shutdown`](Node::shutdown), but what is at work is handed back at once instead of finished.
    ///
    /// # Errors
    /// As for `shutdown`.
    pub async fn hand_back(&self) -> Result<()> {
        self.end(Quit::HandBack).await
    }

    /// Resolves when supervision has given up, with what failed and how often. A process exits with 70 then.
    pub async fn gave_up(&self) -> Error {
        loop {
            let ended = self.inner.tree.ended().await;
            if ended.is_abnormal() {
                self.inner.leave().await;
                return gave_up(&ended);
            }
            // Stopped in an orderly way: it will not give up any more.
            std::future::pending::<()>().await;
        }
    }

    /// Serves until the process is told to stop (SIGINT, SIGTERM, or by [`control`](Node::control)), then drains. Signals
    /// count from this call on, also before the future is polled. A second one cuts the drain short: what is at work is handed back at once. [`Ended`](crate::exit::Ended) turns what it
    /// returns into the exit code of the process.
    ///
    /// # Errors
    /// `GaveUp` when supervision gives up, with what failed and how often. `Denied` when another process has taken over
    /// the name of this node on its broker, or when the broker, after a broken connection, does not accept its credentials
    /// any more. `Cancelled` after a second signal.
    pub fn until_stopped(self) -> impl Future<Output = Result<()>> + Send {
        let mut signals = Signals::listen();
        async move {
            tokio::select! {
                ended = self.clone().until_ended() => return ended,
                () = signals.next() => {}
            }
            tokio::select! {
                drained = self.shutdown() => drained,
                () = signals.next() => {
                    self.hand_back().await?;
                    Err(Error::Cancelled { by: "a second signal".into() })
                }
            }
        }
    }

    /// Serves until it is told to stop by [`control`](Node::control), then drains: for programs that see to signals
    /// themselves.
    ///
    /// # Errors
    /// As for [`until_stopped`](Node::until_stopped).
    pub async fn until_ended(self) -> Result<()> {
        tokio::select! {
            error = self.gave_up() => Err(error),
            how = self.asked_to_end() => self.end(how).await,
            () = self.inner.joined.replaced() => {
                // What it holds is no longer its own, so there is nothing to finish.
                let _ = self.end(Quit::HandBack).await;
                Err(replaced(self.name()))
            }
            error = self.inner.joined.refused() => {
                // Nothing can be handed back; its successor or another node finds what it held.
                let _ = self.end(Quit::HandBack).await;
                Err(error)
            }
        }
    }

    /// Resolves when somebody has asked for the end of this node through [`control`](Node::control).
    async fn asked_to_end(&self) -> Quit {
        let mut asked = self.inner.asked.subscribe();
        // The sender is ours.
        let asked = asked.wait_for(Option::is_some).await.map(|asked| *asked);
        asked.ok().flatten().unwrap_or(Quit::Finish)
    }

    /// Ends the node, within its limit.
    pub(super) async fn end(&self, how: Quit) -> Result<()> {
        self.inner.joined.goodbye().await;
        let Some(limit) = self.inner.drain.filter(|_| how == Quit::Finish) else { return self.stop(how).await };
        match tokio::time::timeout(limit, self.stop(how)).await {
            Ok(ended) => ended,
            Err(_) => self.stop(Quit::HandBack).await,
        }
    }

    async fn stop(&self, how: Quit) -> Result<()> {
        self.inner.hub.quit.tell(how);
        let ended = self.inner.tree.stop().await;
        self.inner.leave().await;
        if ended.is_abnormal() { Err(gave_up(&ended)) } else { Ok(()) }
    }
}

impl Inner {
    /// Once everything has stopped: waits until the store knows what was cut off, and serves no more.
    async fn leave(&self) {
        self.pools.0.iter().for_each(|opened| opened.pool.close());
        if tokio::time::timeout(SETTLE, self.hub.heart.until_empty()).await.is_err() {
            tracing::warn!(claims = self.hub.heart.held(), "some tasks could not be handed back and begin again later");
        }
        self.hub.breakers.unfollow().await;
        self.hub.guards.unfollow().await;
        self.joined.leave().await;
        self.telemetry.end().await;
    }
}

fn replaced(name: &str) -> Error {
    let what = format!("be node {name} any longer: another process has started under this name");
    Error::Denied { who: "this process".into(), what: what.into() }
}

fn gave_up(reason: &ExitReason) -> Error {
    let (reason, counts) = match reason {
        ExitReason::IntensityExceeded(exceeded) => (exceeded.cause(), exceeded.counts()),
        other => (other.to_string(), String::new()),
    };
    Error::GaveUp { reason: reason.into(), counts: counts.into() }
}

/// SIGINT and SIGTERM from now on. Where no handler can be installed there are none, and the default action stands.
struct Signals {
    #[cfg(unix)]
    of: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Signals {
    fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let of = |kind| signal(kind).ok();
            let of = of(SignalKind::interrupt()).zip(of(SignalKind::terminate())).map(|(int, term)| [int, term]);
            Self { of }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Resolves at the next one.
    async fn next(&mut self) {
        #[cfg(unix)]
        match &mut self.of {
            Some([int, term]) => tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            },
            None => std::future::pending().await,
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
