//! Messages between nodes over a real server: what arrives, what does not and how that is told, and what survives when
//! the server or a node goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::messages::{ALL, Address, Broadcast, DeadMessages, Inbox, Message, Messages, Subscription};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{Credentials, Link, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_tests::bounds::within;
use callboard_tests::nats::{Config, Proxy, Server};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(30);
/// What has thousands of messages, or a restart of the server, before it.
const LONGEST: Duration = Duration::from_secs(300);

/// Dead letters as they come.
#[derive(Debug, Default)]
struct Dead(Mutex<Vec<(Reason, String)>>);

impl DeadMessages for Dead {
    fn bury(&self, message: &Message, reason: Reason, _: &str) {
        self.0.lock().unwrap().push((reason, message.to.to_string()));
    }
}

/// A node: its messages and its dead letters.
struct Node {
    messages: Arc<NatsMessages>,
    dead: Arc<Dead>,
    link: Arc<Link>,
}

impl Node {
    async fn join(url: &str, name: &str) -> Self {
        Self::join_as(url, name, Credentials::None).await
    }

    async fn join_as(url: &str, name: &str, credentials: Credentials) -> Self {
        let options =
            Options { servers: vec![url.into()], credentials, ..Options::new(NodeName::parse(name).unwrap()) };
        let link = Arc::new(Link::connect(&options).await.unwrap());
        let dead = Arc::new(Dead::default());
        let messages = NatsMessages::start(link.clone(), dead.clone()).await.unwrap();
        Self { messages, dead, link }
    }

    /// Waits until this node knows that the address is served somewhere, or no longer.
    async fn knows(&self, to: &Address, served: bool) {
        let known = async {
            while self.messages.is_served(to) != served {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, known).await.expect("it is told");
    }

    async fn ask(&self, to: &Address, body: impl Into<serde_json::Value>) -> Result<Payload> {
        self.messages.ask(message(to, body, LONG)).await
    }

    async fn tell(&self, to: &Address, body: impl Into<serde_json::Value>) -> Result<()> {
        self.messages.tell(vec![message(to, body, LONG)]).await.remove(0)
    }

    /// Serves an address with answers that double what was asked.
    fn double(&self, to: &Address) -> JoinHandle<()> {
        let inbox = self.messages.serve(to.clone(), 4_096);
        tokio::spawn(async move {
            loop {
                let incoming = inbox.next().await;
                let asked: u64 = incoming.message.body.read().unwrap();
                if let Some(reply) = incoming.reply {
                    reply.send(Ok(Payload::of(asked * 2)));
                }
            }
        })
    }
}

fn agent(name: &str) -> Address {
    Address::Agent(name.into())
}

fn capability(name: &str) -> CapabilityName {
    CapabilityName::parse(name).unwrap()
}

fn pool(name: &str) -> Address {
    Address::Capability(capability(name))
}

fn message(to: &Address, body: impl Into<serde_json::Value>, limit: Duration) -> Message {
    Message {
        to: to.clone(),
        capability: capability("x"),
        from: "asker".into(),
        body: body.into().into(),
        deadline: Instant::now() + limit,
        run: None,
        hops: Vec::new(),
        traceparent: None,
    }
}

/// Two nodes; the second is known to the first as the one that serves `clerk`.
async fn pair(server: &Server) -> (Node, Node, Arc<dyn Inbox>) {
    let (a, b) = (Node::join(&server.url(), "a").await, Node::join(&server.url(), "b").await);
    let inbox = b.messages.serve(agent("clerk"), 4_096);
    a.knows(&agent("clerk"), true).await;
    (a, b, inbox)
}

async fn next(inbox: &Arc<dyn Inbox>) -> callboard_broker::messages::Incoming {
    inbox.consume(LONG).await.expect("a message arrives")
}

#[tokio::test]
async fn an_ask_crosses_with_all_that_it_says_and_comes_back_with_an_answer_or_an_error() {
    let server = Server::start();
    let (a, _b, inbox) = pair(&server).await;
    let (messages, made) = (a.messages.clone(), Instant::now());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = Message {
        run: Some(callboard_broker::id::RunId::parse("run-1").unwrap()),
        hops: vec!["lead".into()],
        traceparent: trace.parse().ok(),
        ..message(&agent("clerk"), json!({ "question": 1 }), LONG)
    };
    let asking = tokio::spawn(async move { messages.ask(sent).await });
    let incoming = next(&inbox).await;
    let read = &incoming.message;
    assert_eq!((&*read.from, read.capability.as_str(), &*read.hops[0]), ("asker", "x", "lead"));
    assert_eq!(
        (read.run.as_ref().unwrap().as_str(), read.traceparent.map(|one| one.to_string())),
        ("run-1", Some(trace.into()))
    );
    let left = read.deadline - Instant::now();
    assert!(left <= LONG && left + made.elapsed() > LONG - Duration::from_secs(5), "{left:?}");
    assert_eq!(read.body, json!({ "question": 1 }).into());
    incoming.reply.unwrap().send(Ok(json!("answer").into()));
    assert_eq!(asking.await.unwrap().unwrap(), json!("answer").into());

    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 1, LONG)).await })
    };
    let no = Error::Denied { who: "clerk".into(), what: "say".into() };
    next(&inbox).await.reply.unwrap().send(Err(no));
    assert!(matches!(asking.await.unwrap(), Err(Error::Denied { who, .. }) if &*who == "clerk"));

    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 1, LONG)).await })
    };
    drop(next(&inbox).await);
    assert!(matches!(asking.await.unwrap(), Err(Error::Crashed { .. })));
    assert_eq!(a.messages.counts().answered, 3);
}

#[tokio::test]
async fn nobody_anywhere_is_an_error_at_once_and_a_dead_letter() {
    let server = Server::start();
    let (a, _b, _inbox) = pair(&server).await;
    let before = Instant::now();
    assert!(matches!(a.ask(&agent("nobody"), 1).await, Err(Error::NoRecipient { .. })));
    assert!(matches!(a.tell(&pool("no.body"), 1).await, Err(Error::NoRecipient { .. })));
    within("nobody anywhere", before.elapsed(), Duration::from_secs(1));
    let letters = [(Reason::NoRecipient, "agent nobody".into()), (Reason::NoRecipient, "no.body".into())];
    assert_eq!(*a.dead.0.lock().unwrap(), letters);
}

#[tokio::test]
async fn a_full_queue_passes_the_ask_on_and_the_last_one_says_busy() {
    let server = Server::start();
    let asker = Node::join(&server.url(), "asker").await;
    let mut nodes = Vec::new();
    for name in ["b", "c", "d"] {
        let node = Node::join(&server.url(), name).await;
        let inbox = node.messages.serve(pool("work"), 1);
        nodes.push((node, inbox));
    }
    asker.knows(&pool("work"), true).await;
    // All three have to be known, or the asks would all go to the first.
    while asker.messages.nodes().len() < 3 {
        tokio::task::yield_now().await;
    }
    let mut asking = JoinSet::new();
    for n in 0..3 {
        let messages = asker.messages.clone();
        asking.spawn(async move { messages.ask(message(&pool("work"), n, LONG)).await });
    }
    let mut taken = Vec::new();
    for (_, inbox) in &nodes {
        taken.push(next(inbox).await);
    }
    for _ in 0..5 {
        assert!(
            matches!(asker.ask(&pool("work"), 9).await, Err(Error::Busy { retry_after, .. }) if !retry_after.is_zero())
        );
        assert!(matches!(asker.tell(&pool("work"), 9).await, Err(Error::Busy { .. })));
    }
    for incoming in taken {
        incoming.reply.unwrap().send(Ok(incoming.message.body.clone()));
    }
    assert_eq!(asking.join_all().await.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert!(asker.dead.0.lock().unwrap().is_empty(), "busy is no dead letter");
}

#[tokio::test]
async fn a_dropped_ask_is_withdrawn_on_the_other_node() {
    let server = Server::start();
    let (a, _b, inbox) = pair(&server).await;
    let ask = |n| {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), n, LONG)).await })
    };
    let running = ask(1);
    let taken = next(&inbox).await;
    let queued = ask(2);
    while inbox.fill().waiting < 1 {
        tokio::task::yield_now().await;
    }
    queued.abort();
    running.abort();
    let reply = taken.reply.unwrap();
    timeout(LONG, reply.unwanted()).await.expect("it is seen to be gone");
    a.tell(&agent("clerk"), 3).await.unwrap();
    assert_eq!(next(&inbox).await.message.body, json!(3).into(), "what nobody wants is not begun");
}

#[tokio::test]
async fn ten_thousand_asks_get_their_own_answers_in_whatever_order() {
    const ASKS: u64 = 10_000;
    let server = Server::start();
    let (a, _b, _) = pair(&server).await;
    let inbox = _b.messages.serve(agent("shuffler"), 20_000);
    a.knows(&agent("shuffler"), true).await;
    let shuffler = tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..ASKS {
            held.push(inbox.next().await);
            if held.len() == 500 {
                // 263 and 500 have no common divisor, so all are answered, far from the order in which they came.
                let mut held: Vec<_> = held.drain(..).map(Some).collect();
                for n in 0..500 {
                    let incoming = held[n * 263 % 500].take().unwrap();
                    let asked: u64 = incoming.message.body.read().unwrap();
                    incoming.reply.unwrap().send(Ok(Payload::of(asked + 1)));
                }
            }
        }
    });
    let mut asking = JoinSet::new();
    for n in 0..ASKS {
        let messages = a.messages.clone();
        asking.spawn(async move {
            let answer = messages.ask(message(&agent("shuffler"), n, LONGEST)).await;
            answer.unwrap().read::<u64>().unwrap() == n + 1
        });
    }
    let answers = asking.join_all().await;
    assert_eq!((answers.len() as u64, answers.iter().filter(|own| !**own).count()), (ASKS, 0));
    shuffler.await.unwrap();
    assert_eq!((a.messages.counts().answered, a.messages.counts().late), (ASKS, 0));
}

#[tokio::test]
async fn what_one_sender_tells_one_agent_arrives_in_order() {
    const EACH: u64 = 500;
    let server = Server::start();
    let (a, _b, inbox) = pair(&server).await;
    let mut telling = JoinSet::new();
    for sender in 0..8_u64 {
        let messages = a.messages.clone();
        telling.spawn(async move {
            for n in (0..EACH).step_by(10) {
                let batch = (n..n + 10).map(|n| message(&agent("clerk"), json!([sender, n]), LONG)).collect();
                assert!(messages.tell(batch).await.iter().all(Result::is_ok));
            }
        });
    }
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..8 * EACH {
        let (sender, n): (u64, u64) = next(&inbox).await.message.body.read().unwrap();
        assert_eq!(last.insert(sender, n), n.checked_sub(1), "sender {sender}");
    }
    telling.join_all().await;
}

#[tokio::test]
async fn a_large_payload_goes_in_pieces_both_ways_and_too_large_is_refused() {
    let server = Server::start();
    let (a, _b, inbox) = pair(&server).await;
    let echo = tokio::spawn(async move {
        loop {
            let incoming = inbox.next().await;
            incoming.reply.unwrap().send(Ok(incoming.message.body.clone()));
        }
    });
    for size in [60_000, 70_000, 1 << 20, 5 << 20] {
        let text: String = (0..size).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        let answer = a
            .ask(&agent("clerk"), text.clone())
            .await
            .unwrap_or_else(|e| panic!("{size}: {e} {:?} {:?}", a.messages.lanes(), _b.messages.lanes()));
        assert_eq!(answer.read::<String>().unwrap(), text);
    }
    let large = "x".repeat(callboard_broker::payload::MAX_PAYLOAD);
    assert!(matches!(a.ask(&agent("clerk"), large).await, Err(Error::TooLarge { .. })));
    echo.abort();
}

async fn heard(by: &mut Box<dyn Subscription>) -> serde_json::Value {
    timeout(LONG, by.next()).await.expect("it is heard").unwrap().body.value().unwrap()
}

#[tokio::test]
async fn a_broadcast_reaches_the_other_nodes_and_everybody_once() {
    let server = Server::start();
    let (a, b, _) = pair(&server).await;
    let (mut anna, mut bert) = (a.messages.subscribe("news", "anna"), b.messages.subscribe("news", "bert"));
    let mut cleo = b.messages.subscribe("sport", "cleo");
    let say = async |node: &Node, topic: &str, from: &str, body: &str| {
        let said = Broadcast { topic: topic.into(), from: from.into(), body: json!(body).into() };
        node.messages.broadcast(said).await.unwrap();
    };
    say(&a, "news", "anna", "news").await;
    say(&a, ALL, "anna", "to all").await;
    say(&b, "news", "bert", "reply").await;
    assert_eq!((heard(&mut bert).await, heard(&mut bert).await), (json!("news"), json!("to all")));
    assert_eq!(heard(&mut cleo).await, json!("to all"));
    assert_eq!(heard(&mut anna).await, json!("reply"));
    let by_hand = json!({ "topic": "news", "from": "a person", "body": "by hand" });
    server.wire().publish("cb.v1.all.news", by_hand.to_string().as_bytes()).unwrap();
    assert_eq!((heard(&mut anna).await, heard(&mut bert).await), (json!("by hand"), json!("by hand")));
}

#[tokio::test]
async fn by_hand_a_capability_and_an_agent_answer_in_json() {
    let server = Server::start();
    let (a, b, _inbox) = pair(&server).await;
    b.double(&pool("text.double"));
    b.double(&agent("doubler"));
    a.knows(&agent("doubler"), true).await;
    let request = async |subject: &'static str, body: &'static str| {
        loop {
            let asked = a.link.client.request(subject, body.into()).await;
            // The door opens a moment after it was served.
            if let Ok(answer) = asked {
                return answer;
            }
        }
    };
    assert_eq!(&*request("cb.v1.req.text-double", "21").await.payload, b"42");
    assert_eq!(&*request("cb.v1.agent.b.doubler", "4").await.payload, b"8");
    let refused = request("cb.v1.agent.b.nobody", "4").await;
    let headers = refused.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "404");
    let document: serde_json::Value = serde_json::from_slice(&refused.payload).unwrap();
    assert_eq!(document["code"], "CB0003");
    let refused = request("cb.v1.req.text-double", "{").await;
    assert_eq!(refused.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "400");
}

#[tokio::test]
async fn a_node_that_vanishes_fails_what_waits_for_it_at_once() {
    let server = Server::start();
    let proxy = Proxy::to(&server.address());
    let a = Node::join(&server.url(), "a").await;
    let b = Node::join(&proxy.url(), "b").await;
    let inbox = b.messages.serve(agent("clerk"), 100);
    a.knows(&agent("clerk"), true).await;
    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 1, LONG)).await })
    };
    let _running = next(&inbox).await;
    let cut = Instant::now();
    proxy.refuse();
    let ended = asking.await.unwrap();
    assert!(matches!(ended, Err(Error::Unknown { .. })), "{ended:?}");
    within("a node that is cut off", cut.elapsed(), Duration::from_millis(2_500));
    a.knows(&agent("clerk"), false).await;
    assert!(matches!(a.ask(&agent("clerk"), 1).await, Err(Error::NoRecipient { .. })));
    // It was there all the time, and is found again.
    proxy.heal();
    a.knows(&agent("clerk"), true).await;
    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 2, LONG)).await })
    };
    let again = loop {
        let incoming = next(&inbox).await;
        if incoming.message.body == json!(2).into() {
            break incoming;
        }
    };
    again.reply.unwrap().send(Ok(Payload::null()));
    asking.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_says_goodbye_is_asked_no_more_and_answers_what_it_has() {
    let server = Server::start();
    let (a, b, inbox) = pair(&server).await;
    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 1, LONG)).await })
    };
    let running = next(&inbox).await;
    b.messages.goodbye().await;
    a.knows(&agent("clerk"), false).await;
    assert!(matches!(a.ask(&agent("clerk"), 2).await, Err(Error::NoRecipient { .. })));
    running.reply.unwrap().send(Ok(json!("last").into()));
    assert_eq!(asking.await.unwrap().unwrap(), json!("last").into());
    b.messages.leave().await;
    while !a.messages.nodes().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// What is heard until it is as many as were told, which is known when the teller is done, and what is heard too often.
async fn hear_all(inbox: Arc<dyn Inbox>, told: watch::Receiver<Option<u64>>) -> Vec<u64> {
    let (mut heard, mut last) = (Vec::new(), Instant::now());
    loop {
        if let Some(incoming) = inbox.consume(Duration::from_secs(1)).await {
            heard.push(incoming.message.body.read::<u64>().unwrap());
            last = Instant::now();
            continue;
        }
        // What comes twice comes soon after the connection is there again.
        let are_all = told.borrow().is_some_and(|told| heard.len() as u64 >= told);
        if last.elapsed() >= if are_all { Duration::from_secs(8) } else { LONGEST } {
            return heard;
        }
    }
}

#[tokio::test]
async fn a_restart_of_the_server_fails_no_ask_and_loses_no_tell() {
    let server = Arc::new(Server::start());
    let (a, b, inbox) = pair(&server).await;
    b.double(&agent("doubler"));
    a.knows(&agent("doubler"), true).await;
    let until = Instant::now() + Duration::from_secs(6);
    let mut asking = JoinSet::new();
    for _ in 0..32 {
        let messages = a.messages.clone();
        asking.spawn(async move {
            let (mut asked, mut failed) = (0_u64, Vec::new());
            while Instant::now() < until {
                match messages.ask(message(&agent("doubler"), asked, LONGEST)).await {
                    Ok(answer) => assert_eq!(answer.read::<u64>().unwrap(), asked * 2),
                    Err(error) => failed.push(error.to_string()),
                }
                asked += 1;
            }
            (asked, failed)
        });
    }
    let (tell, all) = watch::channel(None);
    let telling = {
        let messages = a.messages.clone();
        tokio::spawn(async move {
            let (mut told, mut failed) = (0_u64, Vec::new());
            while Instant::now() < until {
                match messages.tell(vec![message(&agent("clerk"), told, LONGEST)]).await.remove(0) {
                    Ok(()) => told += 1,
                    Err(error) => failed.push(error.to_string()),
                }
            }
            tell.send_replace(Some(told));
            (told, failed)
        })
    };
    let hearing = tokio::spawn(hear_all(inbox, all));
    for signal in [Server::kill, Server::terminate] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let server = server.clone();
        let down = Instant::now();
        tokio::task::spawn_blocking(move || {
            signal(&server);
            server.restart();
        })
        .await
        .unwrap();
        eprintln!("down for {:?}", down.elapsed());
    }
    let asked = asking.join_all().await;
    let failed: Vec<&String> = asked.iter().flat_map(|(_, failed)| failed).collect();
    let asks: u64 = asked.iter().map(|(asked, _)| asked).sum();
    assert!(failed.is_empty(), "{} of {asks} failed: {:?}", failed.len(), &failed[..failed.len().min(5)]);
    let (told, failed) = telling.await.unwrap();
    let heard = hearing.await.unwrap();
    eprintln!("{asks} asks, {told} tells, {:?}", a.messages.lanes());
    assert_eq!((heard.len() as u64, failed), (told, Vec::new()));
    assert!(heard.iter().copied().eq(0..told), "in order, once");
}

/// Each node may speak only as itself, and `a` not to `secret`.
const ACCOUNTS: &str = r#"
    authorization {
      users = [
        { user: a, password: p, permissions {
            publish: ["cb.v1.lane.b.a", "$KV.cb_nodes.a", "$KV.cb_shared.served.a", "$JS.API.DIRECT.GET.>"]
            subscribe: ["cb.v1.lane.a.>", "$KV.>", "cb.v1.all.*", "cb.v1.agent.a.*", "_INBOX_a.>"] } }
        { user: b, password: p, permissions {
            publish: ["cb.v1.lane.*.b", "$KV.cb_nodes.b", "$KV.cb_shared.served.b", "$JS.API.DIRECT.GET.>"]
            subscribe: ["cb.v1.lane.b.>", "$KV.>", "cb.v1.all.*", "cb.v1.agent.b.*", "_INBOX_b.>"] } }
        { user: secret, password: p, permissions {
            publish: ["cb.v1.lane.*.secret", "$KV.cb_nodes.secret", "$KV.cb_shared.served.secret", "$JS.API.DIRECT.GET.>"]
            subscribe: ["cb.v1.lane.secret.>", "$KV.>", "cb.v1.all.*", "cb.v1.agent.secret.*", "_INBOX_secret.>"] } }
      ]
    }"#;

#[tokio::test]
async fn what_the_server_forbids_is_an_error_at_once_and_nobody_speaks_as_another() {
    let server = Server::with(Config::text(ACCOUNTS));
    let join = async |name: &str| {
        let credentials = Credentials::Password { user: name.into(), password: "p".into() };
        Node::join_as(&server.url(), name, credentials).await
    };
    let (a, b, secret) = (join("a").await, join("b").await, join("secret").await);
    b.double(&agent("doubler"));
    let kept = secret.messages.serve(agent("keeper"), 10);
    a.knows(&agent("doubler"), true).await;
    a.knows(&agent("keeper"), true).await;
    let mut asking = JoinSet::new();
    for n in 0..200 {
        let (messages, to) = (a.messages.clone(), agent(if n % 2 == 0 { "doubler" } else { "keeper" }));
        asking.spawn(async move {
            let asked = Instant::now();
            (n, messages.ask(message(&to, n, LONG)).await, asked.elapsed())
        });
    }
    for (n, answer, took) in asking.join_all().await {
        match answer {
            Ok(answer) => assert_eq!((n % 2, answer.read::<u64>().unwrap()), (0, n * 2)),
            Err(Error::Denied { .. }) => {
                assert_eq!(n % 2, 1);
                within("a refusal", took, Duration::from_millis(100));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(kept.fill().held, 0);

    // `a` takes a frame of its own and says that it is from `secret`: the server does not let it.
    let mut wire = callboard_tests::nats::Wire::connect(&server.url_as("a", "p")).unwrap();
    assert!(wire.publish("cb.v1.lane.b.secret", b"anything").is_err());
    assert!(wire.publish("cb.v1.lane.b.nr.secret.1.1", b"").is_err());
    assert!(wire.publish("$KV.cb_nodes.b", b"{}").is_err());
    // On its own lane it may say what it likes; what is no frame is kept and counted, and the lane goes on.
    wire.publish("cb.v1.lane.b.a", b"no frame").unwrap();
    assert_eq!(a.ask(&agent("doubler"), 3).await.unwrap().read::<u64>().unwrap(), 6);
    assert_eq!(b.messages.lanes().refused, 1);
    assert_eq!(b.dead.0.lock().unwrap()[0].0, Reason::Undecodable);
}

#[tokio::test]
async fn a_later_process_takes_over_the_name_and_what_waited_for_the_earlier_is_in_doubt() {
    let server = Server::start();
    let (a, b, inbox) = pair(&server).await;
    let asking = {
        let m = a.messages.clone();
        tokio::spawn(async move { m.ask(message(&agent("clerk"), 1, LONG)).await })
    };
    let _running = next(&inbox).await;
    // Two incarnations may not begin in the same millisecond.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let later = Node::join(&server.url(), "b").await;
    timeout(LONG, b.messages.replaced()).await.expect("it is told to end");
    let ended = asking.await.unwrap();
    assert!(matches!(ended, Err(Error::Unknown { .. })), "{ended:?}");
    later.double(&agent("doubler"));
    a.knows(&agent("doubler"), true).await;
    assert_eq!(a.ask(&agent("doubler"), 4).await.unwrap().read::<u64>().unwrap(), 8);
    let names: BTreeSet<u32> = a.messages.nodes().iter().map(|node| node.boot).collect();
    assert_eq!(names, [later.link.boot].into());
}
