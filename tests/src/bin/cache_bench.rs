//! What the cache of answers saves: its hit rate on 2,000 questions of XQuAD that are drawn by Zipf's law (exponent 1.0),
//! against a model that answers each of them; and how many calls 50 misses at once are.
//!
//! `cargo run --release -p callboard-tests --bin cache_bench [SEED]`, default seed 1; `CALLBOARD_XQUAD` is the folder of
//! `xquad.en.json`. Ends with 1 when the rate is not above 30 %, or the 50 are more than one call.

#[allow(dead_code, reason = "the tests of answers need more of it")]
#[path = "../../tests/xquad/data.rs"]
mod data;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::llm::{
    Answering, Cache, CacheConfig, Cached, Capabilities, Model, ModelError, ModelName, Request, Response,
};
use callboard::testing::Script;
use callboard_broker::BoxFuture;
use callboard_broker::clock::Clock;
use callboard_tests::random::Random;

const DRAWS: usize = 2_000;
const AT_ONCE: usize = 50;
/// The lowest rate that is good enough.
const RATE: f64 = 0.3;

/// The script, which takes its time.
struct Slow(Script, Duration);

impl Model for Slow {
    fn name(&self) -> &ModelName {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            self.0.complete(request).await
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        self.0.stream(request)
    }
}

fn cached(takes: Duration) -> (Arc<Cached>, Arc<Cache>, Script) {
    let script = Script::by(|request| Ok(Response::text(format!("an answer to {}", request.messages[0].text))));
    let cache = Arc::new(Cache::in_memory(CacheConfig::default(), Clock::system()));
    (Arc::new(Cached::new(Arc::new(Slow(script.clone(), takes)), cache.clone(), Arc::default())), cache, script)
}

/// Of ranks from 0, with weights 1, 1/2, 1/3 and so on: the sums of the weights, the last of which is the whole.
fn zipf(ranks: usize) -> Vec<f64> {
    let weights = (1..=ranks).map(|rank| 1.0 / rank as f64);
    weights
        .scan(0.0, |sum, weight| {
            Some({
                *sum += weight;
                *sum
            })
        })
        .collect()
}

fn draw(sums: &[f64], random: &mut Random) -> usize {
    let at = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * sums.last().expect("there are questions");
    sums.partition_point(|sum| *sum <= at).min(sums.len() - 1)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(paragraphs) = data::paragraphs() else { return ExitCode::SUCCESS };
    let mut questions: Vec<String> = paragraphs.into_iter().flat_map(|one| one.questions).map(|q| q.text).collect();
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random::new(seed);
    // Which of them is asked most has nothing to do with where it stands.
    for at in (1..questions.len()).rev() {
        questions.swap(at, random.below(at as u64 + 1) as usize);
    }
    let (sums, (model, cache, script)) = (zipf(questions.len()), cached(Duration::ZERO));
    let began = Instant::now();
    for _ in 0..DRAWS {
        let question = &questions[draw(&sums, &mut random)];
        let answer = model.complete(&Request::from(question.as_str())).await.expect("it has an answer");
        assert_eq!(answer.text, format!("an answer to {question}"));
    }
    let (counts, each) = (cache.counts(), began.elapsed() / DRAWS as u32);
    assert_eq!(counts.misses, script.asked().len() as u64);
    println!("questions {}, draws {DRAWS}, seed {seed}", questions.len());
    println!("hits {} misses {} tokens saved {}", counts.hits, counts.misses, counts.saved_tokens);
    println!("hit rate {:.1} %, {each:.1?} each", counts.rate() * 100.0);
    let calls = calls_of_a_crowd().await;
    println!("{AT_ONCE} misses at once: {calls} call");
    if counts.rate() > RATE && calls == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn calls_of_a_crowd() -> usize {
    let (model, _, script) = cached(Duration::from_millis(100));
    let asks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let model = model.clone();
            tokio::spawn(async move { model.complete(&"which town?".into()).await.map(|answer| answer.text) })
        })
        .collect();
    for ask in asks {
        ask.await.expect("it does not panic").expect("it has an answer");
    }
    script.asked().len()
}
