//! Connections, as many as there may be, for as long as the door is open.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::route::Room;
use super::unread::Unread;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The longest head of a request, in bytes, and what is read ahead of its body.
const BUFFER: usize = 64 << 10;
/// When another try makes sense after a connection could not be taken: this process has too many files open.
const AGAIN: Duration = Duration::from_millis(50);

/// Takes connections until the door closes, then sees to those that are worked on.
pub(super) async fn listen(listener: TcpListener, room: Arc<Room>, mut closing: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(room.options.connections));
    let mut serving = JoinSet::new();
    loop {
        let taken = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let taken = tokio::select! {
            taken = taken => taken,
            () = closed(&mut closing) => None,
        };
        let Some((accepted, place)) = taken else { break };
        while serving.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                serving.spawn(serve(stream, room.clone(), closing.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

/// Answers the requests of one connection. When the door closes the one that is worked on is the last.
async fn serve(stream: TcpStream, room: Arc<Room>, mut closing: watch::Receiver<bool>, _place: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let stream = Unread::new(stream, room.options.unread);
    let service = service_fn(move |request| {
        let room = room.clone();
        async move { Ok::<_, Infallible>(room.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(MAX_HEADERS).max_buf_size(BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Resolves when the door closes, or its keeper is gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}
