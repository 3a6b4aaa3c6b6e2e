//! How fast one node asks another, against plain requests of the client library in the same run.
//!
//! `cargo run --release -p callboard-tests --bin lane_bench [ROUNDS]`: two processes and a server on this machine, 512
//! bytes each way. The baseline answers inside the loop that reads one subscription. Each round measures both, in turns;
//! figures are medians over the rounds, the ratio is the median of the ratios. Exits 1 below the gates.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callboard_broker::dead_letter::Reason;
use callboard_broker::id::NodeName;
use callboard_broker::messages::{Address, DeadMessages, Message, Messages};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{Link, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_tests::nats::Server;
use futures_core::Stream;
use tokio::task::JoinSet;

/// How many ask at a time, and the least that the ratio may be.
const FLIGHTS: [(usize, f64); 4] = [(1, 0.0), (16, 0.0), (64, 1.5), (256, 2.0)];
/// How long each measurement takes, after a shorter one that warms up.
const SPAN: Duration = Duration::from_millis(1_000);
const BYTES: usize = 512;
const RAW: &str = "bench.raw";

#[derive(Debug)]
struct Nowhere;

impl DeadMessages for Nowhere {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        panic!("a dead letter: {message:?}, {reason:?}, {why}");
    }
}

struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        // It may have ended with the server.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [word, url] if word == "respond" => runtime.block_on(respond(url)),
        rounds => {
            let rounds = rounds.first().map_or(7, |rounds| rounds.parse().expect("a number of rounds"));
            let held = runtime.block_on(measure(rounds));
            std::process::exit(i32::from(!held));
        }
    }
}

async fn join(url: &str, name: &str) -> (Arc<Link>, Arc<NatsMessages>) {
    let options = Options { servers: vec![url.into()], ..Options::new(NodeName::parse(name).unwrap()) };
    let link = Arc::new(Link::connect(&options).await.unwrap());
    let messages = NatsMessages::start(link.clone(), Arc::new(Nowhere)).await.unwrap();
    (link, messages)
}

async fn respond(url: &str) {
    let (_link, messages) = join(url, "responder").await;
    let options = Options { servers: vec![url.into()], ..Options::new(NodeName::parse("responder-raw").unwrap()) };
    let client = Link::connect(&options).await.unwrap().client;
    let mut asked = Box::pin(client.subscribe(RAW).await.unwrap());
    tokio::spawn(async move {
        while let Some(request) = std::future::poll_fn(|cx| asked.as_mut().poll_next(cx)).await {
            client.publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    });
    let inbox = messages.serve(Address::Agent("echo".into()), 4_096);
    // A task like any agent, and like the baseline's: what a thread of its own does is another matter.
    let echo = tokio::spawn(async move {
        loop {
            let incoming = inbox.next().await;
            incoming.reply.unwrap().send(Ok(incoming.message.body));
        }
    });
    echo.await.unwrap();
}

/// One measurement: how many were answered a second, and the latencies, sorted.
struct Pace {
    each_second: f64,
    latencies: Vec<Duration>,
}

impl Pace {
    fn at(&self, part: f64) -> Duration {
        self.latencies[((self.latencies.len() - 1) as f64 * part) as usize]
    }
}

async fn pace<F: Future<Output = ()> + Send>(
    flights: usize,
    span: Duration,
    ask: impl Fn() -> F + Clone + Send + 'static,
) -> Pace {
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let askers: JoinSet<Vec<Duration>> = (0..flights)
        .map(|_| {
            let (ask, stop) = (ask.clone(), stop.clone());
            async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    ask().await;
                    latencies.push(asked.elapsed());
                }
                latencies
            }
        })
        .collect();
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> = askers.join_all().await.concat();
    let each_second = latencies.len() as f64 / began.elapsed().as_secs_f64();
    latencies.sort();
    Pace { each_second, latencies }
}

async fn measure(rounds: usize) -> bool {
    let server = Server::start();
    let (link, messages) = join(&server.url(), "asker").await;
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this).args(["respond", &server.url()]).stdin(Stdio::null()).spawn().unwrap();
    let _responder = Responder(child);
    let to = Address::Agent("echo".into());
    while !messages.is_served(&to) {
        tokio::task::yield_now().await;
    }
    let body = Payload::of("x".repeat(BYTES - 2));
    let text = body.json().unwrap().to_owned();
    let capability = CapabilityName::parse("bench").unwrap();
    let node = messages.clone();
    let lane = move || {
        let message = Message {
            to: to.clone(),
            capability: capability.clone(),
            from: "asker".into(),
            body: body.clone(),
            deadline: tokio::time::Instant::now() + Duration::from_secs(30),
            run: None,
            hops: Vec::new(),
            traceparent: None,
        };
        let messages = messages.clone();
        async move {
            let answer = messages.ask(message).await.unwrap();
            assert_eq!(answer.json().unwrap().len(), BYTES);
        }
    };
    let raw = move || {
        let (client, text) = (link.client.clone(), text.clone());
        async move {
            let answer = client.request(RAW, text.into()).await.unwrap();
            assert_eq!(answer.payload.len(), BYTES);
        }
    };
    // A request that comes before its responder is refused; the first rounds are for that and for warm caches.
    while link_is_deaf(&raw).await {}
    let mut held = true;
    println!("{BYTES} bytes each way, {rounds} rounds of {} ms", SPAN.as_millis());
    println!(
        "in flight      lane/s   p50 us   p99 us       raw/s   p50 us   p99 us   ratio  p99 ratio  asks and answers a frame"
    );
    for (flights, gate) in FLIGHTS {
        pace(flights, SPAN / 5, lane.clone()).await;
        pace(flights, SPAN / 5, raw.clone()).await;
        let (mut lanes, mut raws) = (Vec::new(), Vec::new());
        let before = node.lanes().frames;
        for round in 0..rounds {
            if round % 2 == 0 {
                lanes.push(pace(flights, SPAN, lane.clone()).await);
                raws.push(pace(flights, SPAN, raw.clone()).await);
            } else {
                raws.push(pace(flights, SPAN, raw.clone()).await);
                lanes.push(pace(flights, SPAN, lane.clone()).await);
            }
        }
        let after = node.lanes().frames;
        let asked = lanes.iter().map(|pace| pace.latencies.len()).sum::<usize>() as f64;
        let (out, back) = (asked / (after.0 - before.0) as f64, asked / (after.1 - before.1) as f64);
        let figure = |all: &[Pace]| {
            let of = |pick: &dyn Fn(&Pace) -> f64| median(all.iter().map(pick).collect());
            let us = |part: f64| of(&move |pace: &Pace| pace.at(part).as_secs_f64() * 1e6);
            (of(&|pace| pace.each_second), us(0.5), us(0.99))
        };
        let pairs = || lanes.iter().zip(&raws);
        let ratio = median(pairs().map(|(lane, raw)| lane.each_second / raw.each_second).collect());
        let tail = median(pairs().map(|(l, r)| l.at(0.99).as_secs_f64() / r.at(0.99).as_secs_f64()).collect());
        let ((lane, l50, l99), (raw, r50, r99)) = (figure(&lanes), figure(&raws));
        let verdict = if ratio >= gate { "" } else { "  below the gate" };
        println!(
            "{flights:9} {lane:11.0} {l50:8.0} {l99:8.0} {raw:11.0} {r50:8.0} {r99:8.0} {ratio:7.2} {tail:10.2} {out:8.1} {back:8.1}{verdict}"
        );
        held &= ratio >= gate;
    }
    held
}

async fn link_is_deaf<F: Future<Output = ()> + Send + 'static>(raw: &(impl Fn() -> F + Clone)) -> bool {
    tokio::spawn(raw()).await.is_err()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
