//! The door by itself, with answers that the tests give: its limits, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::id::NodeName;
use callboard_broker::nats::outside::{Answer, Answering, Offer, Options, Outside, Over};
use callboard_broker::nats::{self, Link};
use callboard_broker::subject::CapabilityName;
use callboard_tests::nats::{Message, Server, Wire};
use serde_json::Value;
use tokio::sync::Semaphore;

const PROMPT: &str = "agents.prompt.callboard.acme.x-say";
/// Longer than anything here takes; what it takes to fail.
const PATIENCE: Duration = Duration::from_secs(60);

async fn link(server: &Server, name: &str) -> Arc<Link> {
    let name = NodeName::parse(name).unwrap();
    let options = nats::Options { servers: vec![server.url()], ..nats::Options::new(name) };
    Arc::new(Link::connect(&options).await.unwrap())
}

async fn door(server: &Server, name: &str, options: Options, answer: Answering) -> Outside {
    let capability = CapabilityName::parse("x.say").unwrap();
    let offer = Offer { capability, about: "says it".into(), attachments: false, answer };
    Outside::open(link(server, name).await, vec![offer], options).await.unwrap()
}

fn options() -> Options {
    Options::new("acme")
}

/// Says what it is asked as soon as the test lets it, or at once when its caller is over.
fn say(may: &Arc<Semaphore>) -> Answering {
    let may = may.clone();
    Arc::new(move |prompt, caller| {
        let may = may.clone();
        Box::pin(async move {
            tokio::select! {
                place = may.acquire() => drop(place),
                over = caller.over() => return Err(Error::unavailable(format!("{over:?}"))),
            }
            Ok(Answer { text: prompt.text, attachments: Vec::new() })
        })
    })
}

/// One who prompts on a connection of their own.
struct Caller {
    wire: Wire,
    inbox: String,
}

impl Caller {
    fn new(server: &Server) -> Self {
        static CALLERS: AtomicUsize = AtomicUsize::new(0);
        let inbox = format!("caller.{}", CALLERS.fetch_add(1, Ordering::Relaxed));
        let mut wire = server.wire();
        wire.set_patience(PATIENCE).unwrap();
        wire.subscribe(&inbox).unwrap();
        Self { wire, inbox }
    }

    /// Prompts, and waits until it is known that it came.
    fn prompt(&mut self, text: &str) -> Message {
        self.wire.publish_with_reply(PROMPT, &self.inbox, text.as_bytes()).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Message {
        self.wire.receive().unwrap()
    }

    /// What comes until the end, acks passed over.
    fn rest(&mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        loop {
            let message = self.hear();
            if message.payload.is_empty() && message.headers.is_empty() {
                return rest;
            }
            if !is_ack(&message) {
                rest.push(message);
            }
        }
    }
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

fn is_ack(message: &Message) -> bool {
    json(message)["data"] == "ack"
}

fn refusal(message: &Message) -> (String, Value) {
    let code =
        message.headers.lines().find_map(|line| line.strip_prefix("Nats-Service-Error-Code: ")).unwrap_or_default();
    (code.to_owned(), json(message))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_prompt_more_than_there_are_places_is_told_when_to_come_again() {
    let server = Server::start();
    let may = Arc::new(Semaphore::new(0));
    let door = door(&server, "a", Options { at_once: 2, ..options() }, say(&may)).await;
    let mut callers: Vec<Caller> = (0..3).map(|_| Caller::new(&server)).collect();
    let first: Vec<Message> = callers.iter_mut().map(|caller| caller.prompt("x")).collect();
    assert!(is_ack(&first[0]) && is_ack(&first[1]));
    let (code, body) = refusal(&first[2]);
    assert_eq!((code.as_str(), body["retry_after_s"].as_f64()), ("429", Some(5.0)), "{body}");
    assert!(callers[2].rest().is_empty(), "a refusal ends too");
    may.add_permits(1);
    for caller in &mut callers[..2] {
        let rest = caller.rest();
        assert_eq!((rest.len(), &json(&rest[0])["data"]), (1, &"x".into()));
    }
    assert!(is_ack(&callers[2].prompt("y")), "a place is free again");
    door.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_has_a_limit_and_its_caller_signs_of_life_until_then() {
    let server = Server::start();
    let (limit, keep_alive) = (Duration::from_secs(2), Duration::from_millis(50));
    let options = Options { limit, keep_alive, ..options() };
    let _door = door(&server, "a", options, say(&Arc::new(Semaphore::new(0)))).await;
    let mut caller = Caller::new(&server);
    assert!(is_ack(&caller.prompt("x")));
    assert!(is_ack(&caller.hear()), "a sign of life");
    let rest = caller.rest();
    let (code, body) = refusal(&rest[0]);
    assert_eq!((rest.len(), code.as_str(), &body["error"]), (1, "500", &"CB0002".into()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_caller_who_has_gone_hears_of_it() {
    let server = Server::start();
    let (told, mut hears) = tokio::sync::mpsc::channel(1);
    let answer: Answering = Arc::new(move |_, caller| {
        let told = told.clone();
        Box::pin(async move {
            let _ = told.send(caller.over().await).await;
            Ok(Answer::default())
        })
    });
    let options = Options { keep_alive: Duration::from_millis(20), ..options() };
    let _door = door(&server, "a", options, answer).await;
    let mut caller = Caller::new(&server);
    assert!(is_ack(&caller.prompt("x")));
    // As long as it listens nobody takes it for gone.
    for _ in 0..5 {
        assert!(is_ack(&caller.hear()));
    }
    assert!(hears.try_recv().is_err());
    drop(caller);
    let over = tokio::time::timeout(PATIENCE, hears.recv()).await.unwrap();
    assert_eq!(over, Some(Over::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_takes_no_more_and_ends_what_it_has() {
    let server = Server::start();
    let may = Arc::new(Semaphore::new(0));
    let options = Options { farewell: Duration::from_millis(100), ..options() };
    let door = Arc::new(door(&server, "a", options, say(&may)).await);
    let mut waiting = Caller::new(&server);
    assert!(is_ack(&waiting.prompt("x")));
    let leaving = tokio::spawn({
        let door = door.clone();
        async move { door.leave().await }
    });
    let rest = waiting.rest();
    let (code, body) = refusal(&rest[0]);
    assert_eq!((rest.len(), code.as_str()), (1, "500"), "{body}");
    assert!(body["message"].as_str().unwrap().contains("Leaving"), "{body}");
    leaving.await.unwrap();
    let nobody = Caller::new(&server).prompt("y");
    assert!(nobody.headers.starts_with("NATS/1.0 503"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_offer_the_same_take_turns_and_answer_once() {
    let server = Server::start();
    let may = Arc::new(Semaphore::new(1));
    let _doors = [door(&server, "a", options(), say(&may)).await, door(&server, "b", options(), say(&may)).await];
    let mut caller = Caller::new(&server);
    for n in 0..20 {
        assert!(is_ack(&caller.prompt(&n.to_string())));
        let rest = caller.rest();
        assert_eq!((rest.len(), &json(&rest[0])["data"]), (1, &n.to_string().into()));
    }
    let told = caller.wire.request("$SRV.STATS.agents", b"").map(|first| json(&first)["name"].clone());
    assert_eq!(told.unwrap(), "agents");
}

/// Whoever may configure a stream could otherwise prompt past all permissions.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_way_of_a_stream_is_no_prompt() {
    let server = Server::start();
    let _door = door(&server, "a", options(), say(&Arc::new(Semaphore::new(1)))).await;
    let mut caller = Caller::new(&server);
    let stream = serde_json::json!({
        "name": "S", "subjects": ["s.*"], "storage": "memory", "republish": { "src": "s.*", "dest": PROMPT },
    });
    caller.wire.ask("$JS.API.STREAM.CREATE.S", &stream).unwrap();
    caller.wire.publish_with_reply("s.x", &caller.inbox, b"x").unwrap();
    let stored = caller.hear();
    assert_eq!(json(&stored)["stream"], "S", "the stream's own word");
    assert!(is_ack(&caller.prompt("y")), "and nothing else before the next prompt");
}
