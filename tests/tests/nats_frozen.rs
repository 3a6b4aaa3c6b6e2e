//! Nodes whose peer or server is there and does nothing, and a node that its server no longer takes.
//!
//! Nothing is broken while something is frozen, so nobody is told: what was asked ends by its own deadline, what was
//! accepted waits, and when it thaws in time the lane goes on as if nothing had been. A round in which this machine kept
//! things frozen for longer than a node may be silent says nothing and is repeated.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::messages::{Address, DeadMessages, Inbox, Message, Messages};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{Credentials, Link, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_tests::bounds::within;
use callboard_tests::nats::{Config, Proxy, Server};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(30);
/// What a question may take, and what it may take longer before that is a fault on a loaded machine.
const LIMIT: Duration = Duration::from_millis(400);
const LEEWAY: Duration = Duration::from_secs(2);
/// A node counts as gone after 2 s of silence, and its last sign of life may be half a second old.
const SHORT: Duration = Duration::from_millis(1_200);
const TELLS: u64 = 200;
/// What a node that leaves waits for its server, for each of the things that it says.
const LIMIT_OF_A_LEAVE: Duration = Duration::from_secs(5);

/// What a question leaves behind that took too long is not what this is about.
#[derive(Debug)]
struct Nowhere;

impl DeadMessages for Nowhere {
    fn bury(&self, _: &Message, _: Reason, _: &str) {}
}

struct Node {
    messages: Arc<NatsMessages>,
    link: Arc<Link>,
}

impl Node {
    async fn join(url: &str, name: &str, credentials: Credentials) -> Self {
        let options =
            Options { servers: vec![url.into()], credentials, ..Options::new(NodeName::parse(name).unwrap()) };
        let link = Arc::new(Link::connect(&options).await.unwrap());
        let messages = NatsMessages::start(link.clone(), Arc::new(Nowhere)).await.unwrap();
        Self { messages, link }
    }

    async fn ask(&self, limit: Duration) -> Result<Payload> {
        self.messages.ask(message("doubler", 21, limit)).await
    }

    async fn until_served(&self, name: &str) {
        let known = async {
            while !self.messages.is_served(&Address::Agent(name.into())) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, known).await.expect("it is told");
    }
}

fn message(to: &str, body: u64, limit: Duration) -> Message {
    Message {
        to: Address::Agent(to.into()),
        capability: CapabilityName::parse("x").unwrap(),
        from: "asker".into(),
        body: Payload::of(body),
        deadline: Instant::now() + limit,
        run: None,
        hops: Vec::new(),
        traceparent: None,
    }
}

fn double(inbox: Arc<dyn Inbox>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let incoming = inbox.next().await;
            let asked: u64 = incoming.message.body.read().unwrap();
            incoming.reply.unwrap().send(Ok(Payload::of(asked * 2)));
        }
    })
}

/// Freezes and thaws what is between `a` and `b`, until one round was short enough to say something.
async fn rounds(a: &Node, b: &Node, freeze: impl Fn(), thaw: impl Fn()) {
    let clerk = b.messages.serve(Address::Agent("clerk".into()), 4_096);
    let doubling = double(b.messages.serve(Address::Agent("doubler".into()), 64));
    a.until_served("clerk").await;
    a.until_served("doubler").await;
    for round in 0.. {
        assert!(round < 20, "every round took too long");
        assert_eq!(a.ask(LONG).await.unwrap().read::<u64>().unwrap(), 42);
        let frozen = Instant::now();
        freeze();
        let telling = {
            let (messages, base) = (a.messages.clone(), round * TELLS);
            let tells = (base..base + TELLS).map(|n| message("clerk", n, LONG)).collect();
            tokio::spawn(async move { messages.tell(tells).await })
        };
        let asked = Instant::now();
        let answer = a.ask(LIMIT).await;
        let took = asked.elapsed();
        thaw();
        let lasted = frozen.elapsed();
        within("an ask of a frozen node", took, LIMIT + LEEWAY);
        let told = timeout(LONG, telling).await.expect("the lane goes on").unwrap();
        if lasted >= SHORT {
            a.until_served("clerk").await;
            a.until_served("doubler").await;
            continue;
        }
        assert!(matches!(answer, Err(Error::Deadline { .. })), "{answer:?}");
        assert!(told.iter().all(Result::is_ok), "{:?}", told.iter().find(|told| told.is_err()));
        let mut expected = round * TELLS..(round + 1) * TELLS;
        while !expected.is_empty() {
            let incoming = timeout(LONG, clerk.next()).await.expect("nothing accepted is lost");
            let heard: u64 = incoming.message.body.read().unwrap();
            // Of a round that says nothing something may be left.
            assert!(heard < round * TELLS || expected.next() == Some(heard), "{heard}: in order, once");
        }
        assert_eq!(a.ask(LONG).await.unwrap().read::<u64>().unwrap(), 42, "the lane goes on");
        assert_eq!(clerk.fill().held, 0, "once");
        break;
    }
    doubling.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_peer_costs_a_question_its_time_and_nothing_accepted() {
    let server = Server::start();
    let proxy = Proxy::to(&server.address());
    let (a, b) = (
        Node::join(&server.url(), "a", Credentials::None).await,
        Node::join(&proxy.url(), "b", Credentials::None).await,
    );
    rounds(&a, &b, || proxy.cut(), || proxy.heal()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_a_question_its_time_and_nothing_accepted() {
    let server = Server::start();
    let (a, b) = (
        Node::join(&server.url(), "a", Credentials::None).await,
        Node::join(&server.url(), "b", Credentials::None).await,
    );
    rounds(&a, &b, || server.freeze(), || server.thaw()).await;
}

/// A connection that is sought has no end by itself, and neither has what waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_though_its_server_is_gone() {
    let server = Server::start();
    let mut config = callboard::Config::default();
    config.broker.servers = vec![server.url()];
    let node = callboard::Node::configured(config).start().await.unwrap();
    drop(server);
    let since = Instant::now();
    timeout(LONG, node.shutdown()).await.expect("it stops").unwrap();
    within("stopped", since.elapsed(), 2 * LIMIT_OF_A_LEAVE);
}

fn accounts(users: &[&str]) -> Config {
    let users: Vec<String> = users.iter().map(|user| format!("{{ user: {user}, password: p }}")).collect();
    Config::text(&format!("authorization {{ users = [ {} ] }}", users.join(", ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_taken_back_end_all_that_a_node_waits_for_and_it_does_not_try_again() {
    let server = Server::with(accounts(&["a", "b"]));
    let join = async |name: &str| {
        let credentials = Credentials::Password { user: name.into(), password: "p".into() };
        Node::join(&server.url(), name, credentials).await
    };
    let (a, b) = (join("a").await, join("b").await);
    let silent = b.messages.serve(Address::Agent("doubler".into()), 64);
    a.until_served("doubler").await;
    let waiting = {
        let messages = a.messages.clone();
        tokio::spawn(async move { messages.ask(message("doubler", 21, LONG)).await })
    };
    let held = timeout(LONG, silent.next()).await.expect("it came");
    a.link.check().unwrap();

    server.reload(&accounts(&["b"]));
    let over = timeout(LONG, a.link.over()).await.expect("it is final");
    assert!(matches!(over, Error::Denied { .. }), "{over:?}");
    assert!(over.to_string().contains("its credentials are no longer accepted"), "{over}");
    let ended = timeout(LONG, waiting).await.expect("it ends").unwrap();
    assert!(matches!(ended, Err(Error::Denied { .. })), "{ended:?}");
    let asked = Instant::now();
    assert!(matches!(a.ask(LONG).await, Err(Error::Denied { .. })));
    assert!(matches!(a.link.request("anywhere", None, Vec::new().into()).await, Err(Error::Denied { .. })));
    within("refused", asked.elapsed(), LEEWAY);
    timeout(LONG, a.messages.leave()).await.expect("it can leave");
    // The other one was not touched.
    assert!(b.link.check().is_ok() && held.reply.is_some());
}
