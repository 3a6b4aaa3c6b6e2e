//! Callers that come too often, stay too long, send too much, have no key, or go: byte for byte over a plain connection.

use std::sync::Arc;
use std::time::Duration;

use callboard::broker::blobs::Folder;
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::door::Desk;
use callboard::http::{Options, Server};
use callboard::llm::Secret;
use callboard::{Capability, Context, Error, Node, diag, payload};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::KEY;

/// Longer than anything here takes; what it takes to fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// As long as nobody waits for it.
const LONG: u64 = 3_600_000;

/// A door in this process.
struct Place {
    node: Node,
    server: Arc<Server>,
}

impl Place {
    async fn open(change: impl FnOnce(Options) -> Options) -> Self {
        let node = Node::embedded().serve(diag::echo().workers(8)).start().await.unwrap();
        let desk = Desk::of(&node, &[diag::ECHO.id()]).unwrap();
        let options = change(Options::new(([127, 0, 0, 1], 0).into()));
        let server = Arc::new(Server::open(desk, options).await.unwrap());
        Self { node, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends bytes and reads all that comes back.
    async fn says(&self, sent: &str) -> Answer {
        let mut stream = self.connect().await;
        // It may be answered, and closed, before all of it was sent.
        let _ = stream.write_all(sent.as_bytes()).await;
        read(stream).await
    }

    /// The state of its only run, once it is this one.
    async fn until(&self, status: Status) -> TaskId {
        let tasks = &self.node.broker().tasks;
        let look = async {
            loop {
                let all = tasks.list(TaskFilter::default()).await.unwrap();
                if let Some(view) = all.first().filter(|view| view.status == status) {
                    return view.task.id.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("it comes to that")
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

pub(crate) async fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it ends");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub(crate) fn post(body: &Value) -> String {
    with(body, "Host: 127.0.0.1\r\nContent-Type: application/json\r\n")
}

fn with(body: &Value, headers: &str) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

pub(crate) fn echo(delay_ms: u64, stream: bool) -> Value {
    let request = json!({ "text": "hello", "delay_ms": delay_ms }).to_string();
    json!({ "model": "diag.echo", "stream": stream, "messages": [{ "role": "user", "content": request }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_more_than_there_are_places_is_told_when_to_come_again() {
    let place = Place::open(|options| Options { at_once: 1, ..options }).await;
    let mut first = place.connect().await;
    first.write_all(post(&echo(LONG, true)).as_bytes()).await.unwrap();
    place.until(Status::InProgress).await;
    let refused = place.says(&post(&echo(0, false))).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("CB0001")), "{refused:?}");
    assert!(refused.head.contains("retry-after: 5"), "{refused:?}");
    // Once its caller has gone, its place is free.
    drop(first);
    place.until(Status::Cancelled).await;
    let again = async {
        while place.says(&post(&echo(0, false))).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("a place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_keeps_its_place_until_it_has_ended() {
    let place = Place::open(|options| Options { at_once: 1, ..options }).await;
    let request = json!({ "text": "hello", "delay_ms": LONG }).to_string();
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "SendMessage",
        "params": {
            "message": { "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": request }] },
            "configuration": { "returnImmediately": true },
        },
    });
    let sent = post(&call).replace("/v1/chat/completions", "/a2a/diag-echo");
    let begun = place.says(&sent).await.json();
    let run = begun["result"]["task"]["id"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    place.until(Status::InProgress).await;
    assert_eq!(place.says(&post(&echo(0, false))).await.status, 429, "its place is taken");
    place.node.broker().tasks.cancel(TaskId::parse(&run).unwrap(), "test".into()).await.unwrap();
    let again = async {
        while place.says(&post(&echo(0, false))).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("a place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_cancels_the_run_whether_it_streams_or_not() {
    for streams in [true, false] {
        let place = Place::open(|options| options).await;
        let mut stream = place.connect().await;
        stream.write_all(post(&echo(LONG, streams)).as_bytes()).await.unwrap();
        place.until(Status::InProgress).await;
        drop(stream);
        place.until(Status::Cancelled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_limit_and_its_caller_signs_of_life_until_then() {
    let (limit, keep_alive) = (Duration::from_secs(2), Duration::from_millis(50));
    let place = Place::open(|options| Options { limit, keep_alive, ..options }).await;
    let late = place.says(&post(&echo(LONG, false))).await;
    assert_eq!(late.status, 504, "{late:?}");
    assert!(late.head.contains("x-should-retry: false"), "{late:?}");
    let streamed = place.says(&post(&echo(LONG, true))).await;
    assert!(streamed.body.contains(": at work\n"), "{streamed:?}");
    assert!(streamed.body.contains(r#""type":"server_error""#) && streamed.body.contains("[DONE]"), "{streamed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_its_status() {
    let place = Place::open(|options| Options { body: 2_000, ..options }).await;
    let (host, json) = ("Host: localhost\r\n", "Content-Type: application/json\r\n");
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let large = json!({ "model": "diag.echo", "messages": [{ "role": "user", "content": "x".repeat(3_000) }] });
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\n{host}{json}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nbb8\r\n{}\r\n0\r\n\r\n",
        "x".repeat(3_000)
    );
    for (sent, status) in [
        (get("/v1/models", host), 200),
        (get("/healthz", ""), 200),
        (get("/v1/models/none", host), 404),
        (get("/v1/nothing", host), 404),
        (get("/v1/chat/completions", host), 405),
        (get("/v1/models", "Host: evil.example\r\n"), 403),
        (get("/v1/models", "Host: localhost\r\nOrigin: https://evil.example\r\n"), 403),
        (with(&echo(0, false), host), 415),
        (with(&echo(0, false), "Host: localhost\r\nContent-Type: text/plain\r\n"), 415),
        (with(&json!({ "model": "diag.echo" }), &format!("{host}{json}")), 400),
        (with(&json!({ "model": "executive", "messages": [] }), &format!("{host}{json}")), 404),
        (with(&large, &format!("{host}{json}")), 413),
        (chunked, 413),
        (with(&echo(0, false), &format!("{host}{json}")), 200),
    ] {
        let answer = place.says(&sent).await;
        assert_eq!(answer.status, status, "{sent}\n{answer:?}");
        assert!(status == 200 || answer.json()["error"]["message"].is_string(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_with_a_key_takes_no_one_without_it() {
    let place = Place::open(|options| Options { keys: vec![Secret::new(KEY)], ..options }).await;
    let get = |header: &str| format!("GET /v1/models HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
    let none = place.says(&get("")).await;
    assert_eq!((none.status, &none.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{none:?}");
    assert!(none.head.contains("www-authenticate: bearer"), "{none:?}");
    // Whoever knows no key holds no connection by asking again.
    let kept = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (asked, status) in [(kept, 401), (health, 200)] {
        let told = place.says(asked).await;
        assert_eq!((told.status, told.head.contains("connection: close")), (status, true), "{told:?}");
    }
    let wrong = place.says(&get("Authorization: Bearer a-key-for-the-testS\r\n")).await;
    assert_eq!(wrong.status, 401);
    let right = place.says(&get(&format!("Authorization: Bearer {KEY}\r\n"))).await;
    assert_eq!(right.json()["data"][0]["id"], "diag.echo");
    assert!(!format!("{:?}", place.server).contains(KEY), "a key is never printed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_is_opened_to_others_without_a_key() {
    let node = Node::embedded().serve(diag::echo()).start().await.unwrap();
    let desk = Desk::of(&node, &[diag::ECHO.id()]).unwrap();
    for (ip, keys) in [([0, 0, 0, 0], vec![]), ([127, 0, 0, 1], vec![Secret::new("short")])] {
        let options = Options { keys, ..Options::new((ip, 0).into()) };
        let refused = Server::open(desk.clone(), options).await.unwrap_err();
        assert_eq!(refused.code(), "CB0821", "{refused}");
    }
    assert!(Desk::of(&node, &[callboard::diag::RELAY.id()]).is_err(), "what is not served is not offered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_tells_its_callers_and_the_run_goes_on() {
    let farewell = Duration::from_millis(100);
    let place = Place::open(|options| Options { farewell, ..options }).await;
    let mut stream = place.connect().await;
    stream.write_all(post(&echo(LONG, true)).as_bytes()).await.unwrap();
    let run = place.until(Status::InProgress).await;
    let waiting = tokio::spawn(read(stream));
    place.server.leave().await;
    let told = waiting.await.unwrap();
    assert!(told.body.contains("goes on") && told.body.contains(run.as_str()), "{told:?}");
    assert!(TcpStream::connect(place.server.address()).await.is_err(), "nobody listens any more");
    let view = place.node.broker().tasks.get(vec![run.clone()]).await.unwrap().pop().flatten().unwrap();
    assert_eq!(view.status, Status::InProgress);
    assert_eq!(TaskId::root(&RunId::parse(run.as_str()).unwrap()), run, "its name is in the answer's id");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_bodies_are_read_at_once_than_there_are_places() {
    let place = Place::open(|options| Options { at_once: 1, ..options }).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": { "id": "none" } });
    let whole = post(&call).replace("/v1/chat/completions", "/a2a/diag-echo");
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    let mut slow = place.connect().await;
    slow.write_all(format!("{head}\r\nExpect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    // Said when its body is waited for.
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).await.unwrap();
    assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = place.says(&whole).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("CB0001")), "{refused:?}");
    assert!(refused.head.contains("retry-after: 5"), "{refused:?}");
    slow.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read(slow).await.json()["error"]["code"], -32001);
    assert_eq!(place.says(&whole).await.json()["error"]["code"], -32001, "its place is free again");
}

/// Once a client that asked and read no answer held its connection for ever, and 512 of them the door: no limit of time
/// runs while a write waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_reads_no_answer_loses_the_connection() {
    let unread = Duration::from_millis(500);
    let place = Place::open(|options| Options { connections: 1, unread, ..options }).await;
    let mut deaf = place.connect().await;
    // Its answer repeats the path, so that few of them fill what the system holds for a reader.
    let asked = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(30_000));
    let mut asks = 0;
    let asking = async {
        while deaf.write_all(asked.as_bytes()).await.is_ok() {
            asks += 1;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    assert!(ended.is_ok(), "after {asks} requests its connection is still open");
    let healthy = place.says("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(healthy.status, 200, "its place is free");
}

#[payload]
struct Read {
    #[schemars(extend("x-prompt" = true))]
    question: String,
    #[serde(default)]
    #[schemars(extend("x-attachments" = true))]
    sources: Vec<String>,
}

const READ: Capability<Read, u32> = Capability::new("test.read");

/// Once a stranger could attach a list of bodies, name it as a parcel, and have all that it lists laid on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_names_no_parcel() {
    let blobs = Arc::new(Folder::temporary().unwrap());
    let read = READ.by_fn(|_: Context, read: Read| async move { Ok(read.sources.len() as u32) });
    let node = Node::embedded().blobs(blobs).serve(read).start().await.unwrap();
    let own = format!("blob:{}", "1".repeat(64));
    let desk = Desk::of(&node, &[READ.id()]).unwrap().sources(vec![own.clone()]);
    let door = desk.door(&READ.id()).unwrap();
    let asked = |sources: Value| json!({ "question": "Who?", "sources": sources });
    let evil = asked(json!(["http://x", format!("blob:{}", "0".repeat(64))]));
    let files = vec![("a.md".to_owned(), b"Otters.".to_vec())];
    for refused in [
        desk.request(&door, &evil.to_string(), files.clone()).await.map(|request| request.body),
        desk.checked(&door, evil.clone()),
    ] {
        assert!(matches!(&refused, Err(Error::Decode { what }) if what.contains("may not be named")), "{refused:?}");
    }
    let attached = desk.request(&door, "Who?", files).await.unwrap().body;
    assert!(attached["sources"][0].as_str().unwrap().starts_with("blob:"), "{attached}");
    assert_eq!(desk.checked(&door, asked(json!([]))).unwrap(), asked(json!([own])));
}
