//! A run as an answer that is told while it goes on: server-sent events.
//!
//! The answer is pulled: when the connection is gone the body is dropped, and with it the run that it listens to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use callboard_agents::Value;
use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::time::{Interval, interval};

use super::route::{Body, Room};
use crate::door::{Attended, Told};

/// How what is told is written.
pub(super) trait Speak: Send + 'static {
    /// How far it is.
    fn progress(&mut self, words: &str) -> Vec<String>;

    /// The last words, of a run that ended or of one whose caller is left.
    fn end(self: Box<Self>, end: Result<Value>) -> BoxFuture<'static, Vec<String>>;
}

/// One answer under way.
struct Talk {
    attended: Option<Attended>,
    speak: Option<Box<dyn Speak>>,
    ready: VecDeque<String>,
    signs: Interval,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Talk {
    async fn piece(mut self) -> Option<(std::result::Result<Frame<Bytes>, Infallible>, Self)> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some((Ok(Frame::data(line.into())), self));
            }
            let attended = self.attended.as_mut()?;
            let told = tokio::select! {
                told = attended.next() => told,
                _ = self.signs.tick() => {
                    self.ready.push_back(": at work\n\n".to_owned());
                    continue;
                }
                () = &mut self.leaving => Some(Told::End(Err(self.let_go()))),
            };
            match told {
                Some(Told::Progress(words)) => {
                    let said = self.speak.as_mut().map(|speak| speak.progress(&words));
                    self.ready.extend(said.into_iter().flatten().map(event));
                }
                Some(Told::Asked(_)) => {}
                Some(Told::End(end)) => self.end(end).await,
                None => self.end(Err(Error::unavailable("the run cannot be listened to any more"))).await,
            }
        }
    }

    async fn end(&mut self, end: Result<Value>) {
        self.attended = None;
        if let Some(speak) = self.speak.take() {
            self.ready.extend(speak.end(end).await.into_iter().map(event));
        }
    }

    fn let_go(&mut self) -> Error {
        self.attended.take().map_or_else(|| Error::unavailable("the door closes"), let_go)
    }
}

/// The answer that tells a run while it goes on.
pub(super) fn told(room: &Room, attended: Attended, first: Vec<String>, speak: Box<dyn Speak>) -> Response<Body> {
    let talk = Talk {
        attended: Some(attended),
        speak: Some(speak),
        ready: first.into_iter().map(event).collect(),
        signs: signs(room.options.keep_alive),
        leaving: Box::pin(room.leaving()),
    };
    let mut response = Response::new(StreamBody::new(unfold(talk, Talk::piece)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that gather answers before they pass them on would keep progress from its reader.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The end of a run that is waited for in one piece.
pub(super) async fn end(room: &Room, mut attended: Attended) -> Result<Value> {
    let mut leaving = std::pin::pin!(room.leaving());
    loop {
        tokio::select! {
            told = attended.next() => match told {
                Some(Told::End(end)) => return end,
                Some(_) => {}
                None => return Err(Error::unavailable("the run cannot be listened to any more")),
            },
            () = &mut leaving => return Err(let_go(attended)),
        }
    }
}

fn let_go(attended: Attended) -> Error {
    let left = format!("the door closes and cannot wait for the answer; run {} goes on", attended.run());
    attended.let_go();
    Error::unavailable(left)
}

fn signs(every: Duration) -> Interval {
    let mut signs = interval(every);
    signs.reset();
    signs
}

/// A text as an event. JSON has no line ends in it, so one line is enough.
fn event(data: String) -> String {
    format!("data: {data}\n\n")
}
