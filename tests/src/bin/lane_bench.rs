//! How fast one node asks another, against plain requests of the client library in the same run.
//!
//! `cargo run --release -p callboard-tests --bin lane_bench [ROUNDS [IN_FLIGHT]]`: two processes and a server on this
//! machine, 512 bytes each way. The baseline answers inside the loop that reads one subscription. How many threads suit
//! a process depends on what it does, and three of them share this machine: so each round measures lane and baseline with
//! one worker thread a process and with two, in turns, and compares the better of each. Figures are medians over the
//! rounds, the ratio is the median of the ratios. Exits 1 below the gates.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use callboard_broker::BoxFuture;
use callboard_broker::dead_letter::Reason;
use callboard_broker::id::NodeName;
use callboard_broker::messages::{Address, DeadMessages, Message, Messages};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{Link, Options};
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_tests::nats::Server;
use futures_core::Stream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many ask at a time, and the least that the ratio may be.
const FLIGHTS: [(usize, f64); 4] = [(1, 0.0), (16, 0.0), (64, 1.5), (256, 2.0)];
/// How long each measurement takes, after a shorter one that warms up.
const SPAN: Duration = Duration::from_millis(1_000);
const BYTES: usize = 512;
/// Worker threads of each process.
const WORKERS: [usize; 2] = [1, 2];

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [word, url, workers] if word == "respond" => runtime(number(workers)).block_on(respond(url, number(workers))),
        numbers => {
            let held = measure(numbers.first().map_or(7, |text| number(text)), numbers.get(1).map(|text| number(text)));
            std::process::exit(i32::from(!held));
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

async fn join(url: &str, name: &str) -> (Arc<Link>, Arc<NatsMessages>) {
    let options = Options { servers: vec![url.into()], ..Options::new(NodeName::parse(name).unwrap()) };
    let link = Arc::new(Link::connect(&options).await.unwrap());
    let messages = NatsMessages::start(link.clone(), Arc::new(Nowhere)).await.unwrap();
    (link, messages)
}

fn address(workers: usize) -> Address {
    Address::Agent(format!("echo-{workers}").into())
}

fn raw_subject(workers: usize) -> String {
    format!("bench.raw-{workers}")
}

async fn respond(url: &str, workers: usize) {
    let (_link, messages) = join(url, &format!("responder-{workers}")).await;
    let options =
        Options { servers: vec![url.into()], ..Options::new(NodeName::parse(&format!("raw-{workers}")).unwrap()) };
    let client = Link::connect(&options).await.unwrap().client;
    let mut asked = Box::pin(client.subscribe(raw_subject(workers)).await.unwrap());
    tokio::spawn(async move {
        while let Some(request) = std::future::poll_fn(|cx| asked.as_mut().poll_next(cx)).await {
            client.publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    });
    let inbox = messages.serve(address(workers), 4_096);
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

/// Two processes that talk, each with so many worker threads.
struct Pair {
    runtime: Runtime,
    link: Arc<Link>,
    node: Arc<NatsMessages>,
    to: Address,
    raw: String,
    _responder: Responder,
}

impl Pair {
    fn new(url: &str, workers: usize) -> Self {
        let runtime = runtime(workers);
        let (link, node) = runtime.block_on(join(url, &format!("asker-{workers}")));
        let this = std::env::current_exe().unwrap();
        let respond = ["respond", url, &workers.to_string()];
        let _responder = Responder(Command::new(this).args(respond).stdin(Stdio::null()).spawn().unwrap());
        let pair = Self { runtime, link, node, to: address(workers), raw: raw_subject(workers), _responder };
        while !pair.node.is_served(&pair.to) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // A request that comes before its responder is refused.
        while pair.runtime.block_on(async { tokio::spawn(pair.raw()()).await }).is_err() {}
        pair
    }

    fn lane(&self) -> impl Fn() -> BoxFuture<'static, ()> + Clone + Send + use<> {
        let body = Payload::of("x".repeat(BYTES - 2));
        body.json().unwrap();
        let capability = CapabilityName::parse("bench").unwrap();
        let (messages, to) = (self.node.clone(), self.to.clone());
        move || {
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
            Box::pin(async move {
                let answer = messages.ask(message).await.unwrap();
                assert_eq!(answer.json().unwrap().len(), BYTES);
            })
        }
    }

    fn raw(&self) -> impl Fn() -> BoxFuture<'static, ()> + Clone + Send + use<> {
        let (client, subject) = (self.link.client.clone(), self.raw.clone());
        let text = Payload::of("x".repeat(BYTES - 2)).json().unwrap().to_owned();
        move || {
            let (client, subject, text) = (client.clone(), subject.clone(), text.clone());
            Box::pin(async move {
                let answer = client.request(subject, text.into()).await.unwrap();
                assert_eq!(answer.payload.len(), BYTES);
            })
        }
    }

    /// One round: lane and baseline, one after the other, which first is told.
    fn round(&self, flights: usize, span: Duration, lane_first: bool) -> (Pace, Pace) {
        self.runtime.block_on(async {
            let early = if lane_first { Some(pace(flights, span, self.lane()).await) } else { None };
            let raw = pace(flights, span, self.raw()).await;
            match early {
                Some(lane) => (lane, raw),
                None => (pace(flights, span, self.lane()).await, raw),
            }
        })
    }
}

fn measure(rounds: usize, only: Option<usize>) -> bool {
    let server = Server::start();
    let pairs = WORKERS.map(|workers| Pair::new(&server.url(), workers));
    println!(
        "{BYTES} bytes each way, {rounds} rounds of {} ms, lane and raw: a second, p50 us, p99 us",
        SPAN.as_millis()
    );
    let mut held = true;
    for (flights, gate) in FLIGHTS.into_iter().filter(|(flights, _)| only.is_none_or(|only| only == *flights)) {
        pairs.iter().for_each(|pair| drop(pair.round(flights, SPAN / 5, true)));
        let before = pairs.each_ref().map(|pair| pair.node.lanes().frames);
        // By round, and in it by worker threads.
        let paces: Vec<Vec<(Pace, Pace)>> = (0..rounds)
            .map(|round| pairs.iter().map(|pair| pair.round(flights, SPAN, round % 2 == 0)).collect())
            .collect();
        for (at, workers) in WORKERS.into_iter().enumerate() {
            let all: Vec<&(Pace, Pace)> = paces.iter().map(|round| &round[at]).collect();
            let asked = all.iter().map(|(lane, _)| lane.latencies.len()).sum::<usize>() as f64;
            let (before, after) = (before[at], pairs[at].node.lanes().frames);
            let (out, back) = (asked / (after.0 - before.0) as f64, asked / (after.1 - before.1) as f64);
            let (lane, raw) = (figures(all.iter().map(|(lane, _)| lane)), figures(all.iter().map(|(_, raw)| raw)));
            println!(
                "{flights:4} in flight, {workers} threads: {lane} | {raw} | {out:.1} and {back:.1} in a frame there and back"
            );
        }
        let best = |round: &[(Pace, Pace)]| {
            let (lane, raw) = round
                .iter()
                .fold((0.0_f64, 0.0_f64), |(lane, raw), (l, r)| (lane.max(l.each_second), raw.max(r.each_second)));
            lane / raw
        };
        let ratio = median(paces.iter().map(|round| best(round)).collect());
        let verdict = if ratio >= gate { "" } else { ", below the gate" };
        println!("{flights:4} in flight, the better of each: {ratio:.2} of raw, gate {gate:.1}{verdict}");
        held &= ratio >= gate;
    }
    held
}

fn figures<'p>(paces: impl Iterator<Item = &'p Pace> + Clone) -> String {
    let of = |pick: &dyn Fn(&Pace) -> f64| median(paces.clone().map(pick).collect());
    let us = |part: f64| of(&move |pace: &Pace| pace.at(part).as_secs_f64() * 1e6);
    format!("{:7.0} {:5.0} {:5.0}", of(&|pace| pace.each_second), us(0.5), us(0.99))
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
