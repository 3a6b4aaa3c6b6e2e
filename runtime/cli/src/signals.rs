//! The signals that ask a process to end.
//!
//! Whoever holds work listens from before it takes any: the first signal is for the command, which hands back what it
//! holds; a second one ends the process on the spot, whatever it is doing then.

use callboard::exit::Exit;
use tokio::sync::watch;

/// SIGINT and SIGTERM from now on. While this lives the system's own reaction to them is off.
pub(crate) struct Signals {
    first: watch::Receiver<bool>,
    listener: tokio::task::JoinHandle<()>,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> Signals {
        let (told, first) = watch::channel(false);
        let mut stream = stream();
        let listener = tokio::spawn(async move {
            if let Some(stream) = &mut stream {
                next(stream).await;
                told.send_replace(true);
                next(stream).await;
                std::process::exit(Exit::Interrupted as i32);
            }
            // Without a handler the default action stands, and nobody has to be told.
            std::future::pending::<()>().await;
        });
        Signals { first, listener }
    }

    /// Resolves once there has been one.
    pub(crate) async fn first(&self) {
        if self.first.clone().wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[cfg(unix)]
type Stream = [tokio::signal::unix::Signal; 2];

#[cfg(unix)]
fn stream() -> Option<Stream> {
    use tokio::signal::unix::{SignalKind, signal};
    Some([signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?])
}

#[cfg(unix)]
async fn next([interrupt, terminate]: &mut Stream) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
type Stream = ();

#[cfg(not(unix))]
fn stream() -> Option<Stream> {
    Some(())
}

#[cfg(not(unix))]
async fn next((): &mut Stream) {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
