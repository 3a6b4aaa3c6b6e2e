//! Several nodes on one real nats-server, each with its own connection, and one provider that they share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callboard::agents::testing::Script;
use callboard::broker::code;
use callboard::config::Config;
use callboard::llm::{CacheConfig, ModelConfig, ModelError, ModelLimits, Models, Rate, Response};
use callboard::{Capability, Context, Node, Result};
use callboard_broker::error::Error;
use callboard_tests::bounds::are_strict;
use callboard_tests::nats::Server;

/// Asks the model so often, each time something else. What it ends with is how often it was answered. Each node has its
/// own, so that it is known who works.
const CALLS: [&str; 16] = [
    "fleet.call.a",
    "fleet.call.b",
    "fleet.call.c",
    "fleet.call.d",
    "fleet.call.e",
    "fleet.call.f",
    "fleet.call.g",
    "fleet.call.h",
    "fleet.call.i",
    "fleet.call.j",
    "fleet.call.k",
    "fleet.call.l",
    "fleet.call.m",
    "fleet.call.n",
    "fleet.call.o",
    "fleet.call.p",
];

/// How long an ask may take that makes many calls: the rate alone takes some seconds, and a slow machine far more.
const PATIENCE: Duration = Duration::from_secs(300);

fn call_of(n: usize) -> Capability<u32, u32> {
    Capability::new(CALLS[n])
}

async fn call(ctx: Context, times: u32) -> Result<u32> {
    let model = ctx.model("fleet").expect("there is one");
    for n in 0..times {
        model.complete(format!("question {n}")).await?;
    }
    Ok(times)
}

/// What the provider answers with, and when it was asked.
struct Provider {
    status: AtomicU16,
    asked: AtomicUsize,
    at: Mutex<Vec<Instant>>,
}

impl Provider {
    fn new(status: u16) -> Arc<Self> {
        Arc::new(Self { status: AtomicU16::new(status), asked: AtomicUsize::new(0), at: Mutex::default() })
    }

    fn models(self: &Arc<Self>) -> Models {
        let this = self.clone();
        let script = Script::by(move |_| {
            this.asked.fetch_add(1, Ordering::Relaxed);
            this.at.lock().unwrap().push(Instant::now());
            match this.status.load(Ordering::Relaxed) {
                0 => Ok(Response::text("yes")),
                429 => Err(ModelError::status(429, "slow down").retry_after(Some(Duration::from_secs(2)))),
                status => Err(ModelError::status(status, "no")),
            }
        });
        Models::none().by_default(Arc::new(script.named("shared/model")))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn node(server: &Server, n: usize, provider: &Arc<Provider>, limits: ModelLimits) -> Node {
    let mut config = Config {
        name: Some(CALLS[n].replace('.', "-")),
        models: ModelConfig { limits, cache: CacheConfig::off(), ..ModelConfig::default() },
        ..Config::default()
    };
    config.broker.servers = vec![server.url()];
    let service = call_of(n).by_fn(call).concurrency(4);
    Node::configured(config).models(provider.models()).serve(service).start().await.unwrap()
}

/// The provider fails the first of these nodes five times, and then none of them asks it any more.
async fn left_alone(provider: &Arc<Provider>, nodes: &[Node]) {
    provider.status.store(500, Ordering::Relaxed);
    for _ in 0..5 {
        nodes[0].ask(call_of(0), 1).await.unwrap_err();
    }
    let opened = Instant::now();
    // Each probe that comes first makes the next rest longer, so that also a slow machine meets one.
    for _ in 0..8 {
        let asked = provider.asked();
        let asks = nodes.iter().enumerate().map(|(n, node)| {
            let node = node.clone();
            // Who waits for its turn has asked nobody.
            tokio::spawn(async move { tokio::time::timeout(Duration::from_millis(300), node.ask(call_of(n), 1)).await })
        });
        let mut waited = 0;
        for ask in asks.collect::<Vec<_>>() {
            waited += usize::from(ask.await.unwrap().is_err());
        }
        if waited == nodes.len() && provider.asked() == asked {
            return println!("{waited} nodes leave it alone {:?} after it failed", opened.elapsed());
        }
    }
    panic!("some node goes on asking");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_nodes_on_a_server_ask_no_more_often_than_one_may() {
    const PER_SECOND: f64 = 100.0;
    let (server, provider) = (Server::start(), Provider::new(0));
    let rates = BTreeMap::from([("shared".to_owned(), Rate { requests: Some(6_000), tokens: None })]);
    let limits = ModelLimits { rates, wait: Duration::from_secs(60) };
    let mut nodes = Vec::new();
    for n in 0..16 {
        nodes.push(node(&server, n, &provider, limits.clone()).await);
    }
    let began = Instant::now();
    let runs: Vec<_> = (0..48)
        .map(|n| {
            let node = nodes[n % 16].clone();
            tokio::spawn(async move { node.ask(call_of(n % 16), 16).deadline(PATIENCE).await.unwrap() })
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), 16);
    }
    let took = began.elapsed().as_secs_f64();
    let mut at = provider.at.lock().unwrap().clone();
    at.sort_unstable();
    let all = at.len() as f64;
    assert_eq!(all, 768.0);
    // As many as the time has room for, 1 % more, and the one that begins at once.
    assert!(all <= took * PER_SECOND * 1.01 + 1.0, "{all} in {took} s");
    println!("{all} calls in {took:.2} s, {:.1} % of the rate", 100.0 * all / took / PER_SECOND);
    // How fast it goes otherwise is up to the machine.
    assert!(
        all >= took * PER_SECOND * if are_strict() { 0.5 } else { 0.05 },
        "{all} in {took} s: nodes get in each other's way"
    );
    drop(at);
    left_alone(&provider, &nodes).await;
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_saw_of_a_provider_the_other_knows() {
    let (server, provider) = (Server::start(), Provider::new(429));
    let patient = ModelLimits::default();
    let (one, two) = (node(&server, 0, &provider, patient.clone()).await, node(&server, 1, &provider, patient).await);
    let began = Instant::now();
    one.ask(call_of(0), 1).await.unwrap_err();
    provider.status.store(0, Ordering::Relaxed);
    // The news takes a moment.
    while two.broker().states.list("global.callboard-limit".into()).await.unwrap().is_empty() {}
    two.ask(call_of(1), 1).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(1_500), "it waited as long as the other was told to");

    left_alone(&provider, &[one.clone(), two.clone()]).await;
    let entry = two.broker().states.list("global.callboard-provider".into()).await.unwrap();
    assert_eq!(entry[0].key.as_str(), "global.callboard-provider.shared");
    for node in [one, two] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_error_of_the_guards_reaches_whoever_asked() {
    let provider = Provider::new(500);
    let limits = ModelLimits { wait: Duration::ZERO, ..ModelLimits::default() };
    let models = ModelConfig { limits, cache: CacheConfig::off(), ..ModelConfig::default() };
    let config = Config { models, ..Config::default() };
    let node = Node::configured(config).models(provider.models()).serve(call_of(0).by_fn(call)).start().await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..6 {
        let Error::Failed { failure, .. } = node.ask(call_of(0), 1).await.unwrap_err() else {
            panic!("it is a failure")
        };
        codes.push(failure.code.clone());
    }
    assert_eq!(codes[4..], [code::MODEL_FAILED, code::MODEL_RESTING]);
    node.shutdown().await.unwrap();
}
