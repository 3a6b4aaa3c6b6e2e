//! From a request to who answers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard_broker::code;
use callboard_broker::error::Error;
use callboard_broker::tasks::TaskView;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::refusal::Refusal;
use super::{Options, a2a, gate, openai};
use crate::door::{Attended, Desk, Order};

/// What is answered with.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// How long the body of a request may take.
const BODY_TIME: Duration = Duration::from_secs(30);
/// When another try makes sense while all places are taken.
const RETRY: Duration = Duration::from_secs(5);
/// Whose cancel it is when a caller has gone.
const GONE: &str = "whoever asked for it over HTTP has gone";

/// What all requests share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) desk: Desk,
    pub(super) options: Options,
    /// When the door was opened, in seconds of Unix time.
    pub(super) since: u64,
    places: Arc<Semaphore>,
    /// Places to read a body in, for calls of which it is not known yet whether they are work.
    reading: Semaphore,
    leaving: watch::Sender<bool>,
}

/// A place among the requests that are worked on, taken until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Place(#[expect(dead_code, reason = "held until it is dropped")] Arc<OwnedSemaphorePermit>);

impl Room {
    pub(super) fn new(desk: Desk, options: Options) -> Self {
        let since = desk.broker().clock.now() / 1_000;
        let places = Arc::new(Semaphore::new(options.at_once));
        let reading = Semaphore::new(options.at_once);
        Self { desk, options, since, places, reading, leaving: watch::channel(false).0 }
    }

    /// Tells all callers that they will not be answered.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Resolves when callers are to be told that they will not be answered.
    pub(super) fn leaving(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut leaving = self.leaving.subscribe();
        async move {
            if leaving.wait_for(|leaving| *leaving).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        match self.take(&head, body).await {
            Ok(response) => response,
            Err(refusal) => {
                let mut response = refusal.response();
                if refusal.status == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    return last(response);
                }
                response
            }
        }
    }

    async fn take(self: Arc<Self>, head: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        if path == ["healthz"] {
            return Ok(last(json_body(StatusCode::OK, &json!({ "status": "ok" }))));
        }
        gate::admit(&head.headers, &self.options.keys)?;
        match (&*path, &head.method) {
            (["v1", "models"], &Method::GET) => Ok(openai::models(&self)),
            (["v1", "models", model], &Method::GET) => openai::model(&self, model),
            (["v1", "models", ..], _) => Err(Refusal::method("GET")),
            (["v1", "chat", "completions"], &Method::POST) => {
                let place = self.place()?;
                let asked = self.json(head, body).await?;
                openai::complete(self, asked, place).await
            }
            ([".well-known", "agent-card.json"], &Method::GET) => a2a::card(&self, &head.headers, None),
            (["a2a", name, ".well-known", "agent-card.json"], &Method::GET) => {
                a2a::card(&self, &head.headers, Some(name))
            }
            (["a2a", name], &Method::POST) => {
                let called = {
                    let _reading = self.reading.try_acquire().map_err(|_| Refusal::busy(RETRY))?;
                    self.json(head, body).await?
                };
                let version = head.headers.get("a2a-version").and_then(|value| value.to_str().ok());
                a2a::call(self, name, version, called).await
            }
            (["a2a", _], _) => Err(Refusal::method("POST")),
            (["v1", "chat", "completions"], _) => Err(Refusal::method("POST")),
            _ => {
                let what =
                    format!("there is nothing at {}: there is /v1/models and /v1/chat/completions", head.uri.path());
                Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", what))
            }
        }
    }

    /// A place among the requests that are worked on.
    pub(super) fn place(&self) -> Result<Place, Refusal> {
        self.places.clone().try_acquire_owned().map(|place| Place(Arc::new(place))).map_err(|_| Refusal::busy(RETRY))
    }

    /// The body of a request, which is JSON and says so: what a page of a browser sends without asking first is none.
    pub(super) async fn json(&self, head: &Parts, body: Incoming) -> Result<Bytes, Refusal> {
        let is_json = |value: &HeaderValue| {
            let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        };
        if !head.headers.get(CONTENT_TYPE).is_some_and(is_json) {
            let what = "a request is Content-Type: application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::DECODE, what));
        }
        let limit = self.options.body;
        let too_large = |size: usize| Refusal::from(&Error::TooLarge { what: "a request".into(), size, limit });
        let said = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if let Some(size) = said.filter(|size| *size > limit) {
            return Err(too_large(size));
        }
        match timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit + 1)),
            Ok(Err(error)) => Err(Refusal::bad(format!("the request broke off: {error}"))),
            Err(_) => {
                let what = format!("the request took longer than {} s to come", BODY_TIME.as_secs());
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, code::DEADLINE, what))
            }
        }
    }

    /// Puts an order to work; its place is free again when nothing of it is at work here.
    pub(super) async fn begin(&self, order: Order, place: Place) -> Result<Attended, Refusal> {
        let (limit, desk) = (order.limit, self.desk.clone());
        // By itself: when the caller goes meanwhile the run is there, and is cancelled with what is dropped here.
        let begun = tokio::spawn(async move {
            let visit = desk.begin(order).await?;
            let (attended, attending) = visit.attended(GONE, limit);
            tokio::spawn(async move {
                attending.await;
                drop(place);
            });
            Ok(attended)
        });
        match begun.await {
            Ok(Ok(attended)) => Ok(attended),
            // It may be there all the same.
            Ok(Err(error @ Error::Unknown { .. })) => Err(Refusal::of_run(&error)),
            Ok(Err(error)) => Err(Refusal::from(&error)),
            Err(_) => Err(Refusal::from(&Error::unavailable("the server is closing"))),
        }
    }

    /// Listens to a run that was begun before, as long as its caller does and it may take.
    pub(super) async fn join(&self, run: &str, place: Place) -> Result<(TaskView, Attended), Error> {
        let (seen, visit) = self.desk.join(run).await?;
        let left = seen.task.deadline.saturating_sub(self.desk.broker().clock.now());
        let (attended, attending) = visit.overheard(Duration::from_millis(left));
        tokio::spawn(async move {
            attending.await;
            drop(place);
        });
        Ok((seen, attended))
    }
}

/// An answer after which the connection is closed: whoever has shown no key holds none by asking again and again.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer in one piece.
pub(super) fn json_body(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::from(value.to_string()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
