//! Nodes in one process and in paused time, over the memory wing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use callboard_agents::llm::{ModelError, ModelName, Rate, Request, Response, Usage};
use callboard_agents::testing::Script;
use callboard_broker::clock::Clock;
use callboard_broker::error::Class;
use callboard_broker::faulty::{self, Faults, Weather};
use callboard_broker::{code, memory};
use tokio::time::{Duration, Instant};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn broker() -> Broker {
    memory::open(memory::Options { clock: Clock::following_tokio(), ..memory::Options::default() })
}

fn node(broker: &Broker, name: &str, limits: &ModelLimits) -> Guards {
    let guards = Guards::new(limits, &NodeName::parse(name).unwrap(), broker);
    guards.follow();
    guards
}

fn limits(requests: Option<u64>, tokens: Option<u64>, wait: Duration) -> ModelLimits {
    let rates = if requests.or(tokens).is_some() { vec![("a".to_owned(), Rate { requests, tokens })] } else { vec![] };
    ModelLimits { rates: BTreeMap::from_iter(rates), wait }
}

/// What the provider of a model does from now on: 0 answers, else the status it refuses with.
struct Provider {
    status: AtomicU16,
    asked: AtomicUsize,
    /// When it was asked.
    at: Mutex<Vec<Instant>>,
}

impl Provider {
    fn new() -> Arc<Self> {
        Arc::new(Self { status: AtomicU16::new(0), asked: AtomicUsize::new(0), at: Mutex::default() })
    }

    fn answers_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn model(self: &Arc<Self>, name: &str) -> Arc<dyn Model> {
        let this = self.clone();
        Arc::new(
            Script::by(move |_| {
                this.asked.fetch_add(1, Ordering::Relaxed);
                this.at.lock().unwrap().push(Instant::now());
                match this.status.load(Ordering::Relaxed) {
                    0 => {
                        let usage = Usage { input_tokens: 40, output_tokens: 10, estimated: false };
                        Ok(Response { usage, ..Response::text("yes") })
                    }
                    status @ (429 | 503) => {
                        Err(ModelError::status(status, "slow down").retry_after(Some(Duration::from_secs(5))))
                    }
                    status => Err(ModelError::status(status, "no")),
                }
            })
            .named(name),
        )
    }
}

/// A request that may take 100 tokens.
fn request() -> Request {
    let mut request = Request::from("which town?");
    let said = request.estimate();
    request.sampling.max_tokens = u32::try_from(100 - said).unwrap();
    request
}

/// The most of these within a minute, and how many there are in the second minute.
fn counted(at: &[Instant], began: Instant) -> (usize, usize) {
    let mut at: Vec<Duration> = at.iter().map(|at| *at - began).collect();
    at.sort_unstable();
    let within = |n: usize| at[n..].iter().take_while(|later| **later < at[n] + MINUTE).count();
    let second = at.iter().filter(|at| (MINUTE..2 * MINUTE).contains(*at)).count();
    ((0..at.len()).map(within).max().unwrap_or_default(), second)
}

/// Sixteen nodes with eight callers each, for two minutes.
async fn fleet(limits: ModelLimits, provider: &Arc<Provider>) -> (usize, usize) {
    let (broker, began) = (broker(), Instant::now());
    let nodes: Vec<Guards> = (0..16).map(|n| node(&broker, &format!("n{n}"), &limits)).collect();
    let callers: Vec<_> = (0..128)
        .map(|n| {
            let model = nodes[n % 16].round(provider.model("a/x"), false);
            tokio::spawn(async move {
                while began.elapsed() < 2 * MINUTE {
                    // Which of the two ways makes no difference.
                    let answer = match n % 2 {
                        0 => model.complete(&request()).await,
                        _ => model.stream(&request()).await.unwrap().whole(|_| {}).await,
                    };
                    answer.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let at = provider.at.lock().unwrap();
    counted(&at, began)
}

#[tokio::test(start_paused = true)]
async fn sixteen_nodes_together_ask_as_often_as_they_may_and_no_more() {
    let (most, second) = fleet(limits(Some(600), None, 10 * MINUTE), &Provider::new()).await;
    assert!(most <= 606, "{most} within a minute");
    assert!(second >= 594, "only {second} in a minute");
}

#[tokio::test(start_paused = true)]
async fn of_tokens_too_and_what_was_not_used_is_given_to_others() {
    // 50 tokens are used of each 100: 900 requests.
    let (most, second) = fleet(limits(None, Some(45_000), 10 * MINUTE), &Provider::new()).await;
    assert!(most <= 909, "{most} within a minute");
    assert!(second >= 891, "only {second} in a minute");
}

#[tokio::test(start_paused = true)]
async fn without_the_shared_entry_sixteen_nodes_would_be_far_over() {
    let provider = Provider::new();
    // The negative control: each keeps the rate, but by itself.
    let began = Instant::now();
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let guards = node(&broker(), &format!("n{n}"), &limits(Some(600), None, 10 * MINUTE));
            let model = guards.round(provider.model("a/x"), false);
            tokio::spawn(async move {
                while began.elapsed() < 2 * MINUTE {
                    model.complete(&request()).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(counted(&provider.at.lock().unwrap(), began).0 > 9_000);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_fewer_requests_is_left_alone_by_all() {
    for (rate, status, class) in
        [(None, 429, Class::RateLimited), (Some(6_000), 429, Class::RateLimited), (None, 503, Class::Transient)]
    {
        let (broker, provider, limits) = (broker(), Provider::new(), limits(rate, None, MINUTE));
        let (one, two) = (node(&broker, "a", &limits), node(&broker, "b", &limits));
        let (first, second) = (one.round(provider.model("a/x"), false), two.round(provider.model("a/x"), false));
        provider.answers_with(status);
        let began = Instant::now();
        assert_eq!(first.complete(&request()).await.unwrap_err().class, class);
        provider.answers_with(0);
        tokio::time::sleep(Duration::from_millis(10)).await;
        second.complete(&request()).await.unwrap();
        assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(provider.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_provider_is_left_alone_another_stands_in() {
    let (broker, away, here) = (broker(), Provider::new(), Provider::new());
    let guards = node(&broker, "a", &limits(None, None, MINUTE));
    let models = [guards.round(away.model("a/x"), true), guards.round(here.model("b/y"), false)];
    let chain = callboard_agents::llm::Chain::new(models[0].clone(), vec![models[1].clone()]);
    for status in [429, 500] {
        away.answers_with(status);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(chain.complete(&request()).await.unwrap().model.provider(), "b");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!((away.asked(), here.asked()), (1 + 5, 40));
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_told_when_to_come_again() {
    let broker = broker();
    let guards = node(&broker, "a", &limits(Some(6), None, Duration::from_secs(25)));
    let (provider, began) = (Provider::new(), Instant::now());
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let model = guards.round(provider.model("a/x"), false);
            tokio::spawn(async move { model.complete(&request()).await })
        })
        .collect();
    let mut refused = Vec::new();
    for caller in callers {
        refused.extend(caller.await.unwrap().err());
    }
    assert_eq!((provider.asked(), refused.len()), (3, 2), "at 0, 10 and 20 s");
    assert!(began.elapsed() < Duration::from_secs(25));
    for error in refused {
        assert_eq!((error.class, error.code), (Class::RateLimited, code::MODEL_NO_PLACE));
        assert!(error.retry_after >= Some(Duration::from_secs(25)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_no_longer_waits_leaves_the_line_and_the_others_go_on() {
    let broker = broker();
    let guards = node(&broker, "a", &limits(Some(60), None, MINUTE));
    let provider = Provider::new();
    let model = guards.round(provider.model("a/x"), false);
    let request = request();
    for _ in 0..20 {
        let call = model.complete(&request);
        // Whichever await it is at.
        let _ = tokio::time::timeout(Duration::from_millis(100), call).await;
    }
    let began = Instant::now();
    model.complete(&request).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(21), "moments are lost, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_five_times_is_left_alone_by_all_within_a_second_and_probed_by_one() {
    let (broker, provider) = (broker(), Provider::new());
    let limits = limits(None, None, Duration::ZERO);
    let (one, two) = (node(&broker, "a", &limits), node(&broker, "b", &limits));
    let (first, second) = (one.round(provider.model("a/x"), false), two.round(provider.model("a/y"), false));
    let fail = async |status: u16, times: usize| {
        provider.answers_with(status);
        for _ in 0..times {
            first.complete(&request()).await.unwrap_err();
        }
    };
    // Neither mistakes of whoever asks nor four failures.
    fail(401, 9).await;
    fail(500, 4).await;
    provider.answers_with(0);
    first.complete(&request()).await.unwrap();
    fail(500, 5).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    let asked = provider.asked();
    for model in [&first, &second] {
        let error = model.complete(&request()).await.unwrap_err();
        assert_eq!((error.class, error.code), (Class::Transient, code::MODEL_RESTING));
        assert!(error.retry_after.is_some_and(|wait| wait <= Duration::from_millis(100)), "{error:?}");
    }
    assert_eq!(provider.asked(), asked, "nobody asked it");
    tokio::time::sleep(Duration::from_millis(200)).await;
    second.complete(&request()).await.unwrap_err();
    assert_eq!(provider.asked(), asked + 1, "the probe");
    first.complete(&request()).await.unwrap_err();
    assert_eq!(provider.asked(), asked + 1);
    provider.answers_with(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.complete(&request()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    second.complete(&request()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_five_times_is_left_alone_by_sixteen_nodes_within_a_second() {
    let (broker, provider) = (broker(), Provider::new());
    let nodes: Vec<Guards> =
        (0..16).map(|n| node(&broker, &format!("n{n}"), &limits(None, None, Duration::ZERO))).collect();
    let models: Vec<_> = nodes.iter().map(|node| node.round(provider.model("a/x"), false)).collect();
    provider.answers_with(500);
    for _ in 0..5 {
        models[0].complete(&request()).await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_millis(900)).await;
    for model in &models {
        assert_eq!(model.complete(&request()).await.unwrap_err().code, code::MODEL_RESTING);
    }
    assert_eq!(provider.asked(), 5, "nobody asked it any more");
}

#[tokio::test(start_paused = true)]
async fn who_has_no_other_model_waits_until_the_probe_has_come_back() {
    let (broker, provider) = (broker(), Provider::new());
    let guards = node(&broker, "a", &limits(None, None, MINUTE));
    let model = guards.round(provider.model("a/x"), false);
    provider.answers_with(500);
    // All pass before the first of them has failed.
    let crowd = |many: usize| {
        let model = model.clone();
        async move {
            let asks: Vec<_> = (0..many)
                .map(|_| {
                    let model = model.clone();
                    tokio::spawn(async move { model.stream(&request()).await?.whole(|_| {}).await })
                })
                .collect();
            let mut answers = 0;
            for ask in asks {
                answers += usize::from(ask.await.unwrap().is_ok());
            }
            answers
        }
    };
    assert_eq!(crowd(5).await, 0);
    provider.answers_with(0);
    assert_eq!((crowd(50).await, provider.asked()), (50, 55));
}

#[tokio::test(start_paused = true)]
async fn what_ends_late_does_not_open_it_again_and_a_probe_that_is_dropped_makes_way() {
    let broker = broker();
    let guards = node(&broker, "a", &limits(None, None, MINUTE));
    let providers = &guards.providers;
    let mut late = Vec::new();
    for _ in 0..8 {
        late.push(providers.enter("a", Duration::ZERO).await.unwrap());
    }
    let fails = crate::resilience::breaker::Seen::Failure;
    for mut pass in late.drain(..5) {
        pass.ended(fails).await;
    }
    assert!(providers.enter("a", Duration::ZERO).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let probe = providers.enter("a", Duration::ZERO).await.unwrap();
    late[0].ended(fails).await;
    assert_eq!(providers.breakers().known("a").word(), "half_opened");
    drop(probe);
    let mut probe = providers.enter("a", Duration::from_secs(1)).await.unwrap();
    late[1].ended(fails).await;
    probe.ended(crate::resilience::breaker::Seen::Success).await;
    assert!(providers.breakers().known("a").is_closed());
}

/// How long a loop over several requests sees to one before it leaves it alone for the others.
const WHILE: Duration = Duration::from_millis(1);

fn slow() -> Broker {
    faulty::wrap(broker(), Faults { delay: Duration::from_millis(20), ..Faults::reordering(1) })
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_polls_holds_up_no_other_of_its_rate() {
    let guards = node(&slow(), "a", &limits(Some(6_000), None, MINUTE));
    let (model, request) = (guards.round(Provider::new().model("a/x"), false), request());
    let mut left_alone: Vec<_> = (0..3).map(|_| model.complete(&request)).collect();
    for one in &mut left_alone {
        tokio::time::timeout(WHILE, one).await.unwrap_err();
    }
    tokio::time::timeout(MINUTE, model.complete(&request)).await.expect("it is not held up").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_polls_is_given_up_like_any_other() {
    let fails = crate::resilience::breaker::Seen::Failure;
    let guards = node(&slow(), "a", &limits(None, None, MINUTE));
    let providers = &guards.providers;
    for _ in 0..5 {
        providers.enter("a", Duration::ZERO).await.unwrap().ended(fails).await;
    }
    tokio::time::sleep(MINUTE).await;
    // It is on its way to the store and back when it is left alone.
    let mut left_alone = Box::pin(providers.enter("a", MINUTE));
    assert!(tokio::time::timeout(WHILE, &mut left_alone).await.is_err());
    let next = tokio::time::timeout(2 * MINUTE, providers.enter("a", 2 * MINUTE)).await;
    assert!(next.expect("it is not held up").is_ok());
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_a_node_goes_by_what_it_has_seen_itself() {
    let (broker, line) = faulty::wrap_switched(broker(), Faults::reordering(1));
    let provider = Provider::new();
    let guards = node(&broker, "a", &limits(None, None, Duration::ZERO));
    let model = guards.round(provider.model("a/x"), false);
    line.set(Weather::Cut);
    provider.answers_with(500);
    for _ in 0..5 {
        assert_eq!(model.complete(&request()).await.unwrap_err().code, code::MODEL_FAILED);
    }
    assert_eq!(model.complete(&request()).await.unwrap_err().code, code::MODEL_RESTING);
    provider.answers_with(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    model.complete(&request()).await.unwrap();
    assert_eq!(provider.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_stands_in_line_does_not_go_to_a_provider_that_came_to_be_left_alone() {
    let (broker, provider) = (broker(), Provider::new());
    let guards = node(&broker, "a", &limits(Some(60), None, Duration::from_secs(20)));
    provider.answers_with(500);
    let model = guards.round(provider.model("a/x"), false);
    let callers: Vec<_> = (0..15)
        .map(|_| {
            let model = model.clone();
            tokio::spawn(async move { model.complete(&request()).await.unwrap_err().code })
        })
        .collect();
    let mut codes = Vec::new();
    for caller in callers {
        codes.push(caller.await.unwrap());
    }
    // Five that failed, one a second, and the probes of 20 s, each after twice the wait.
    let (asked, resting) = (provider.asked(), codes.iter().filter(|one| **one == code::MODEL_RESTING).count());
    assert!((6..=9).contains(&asked) && asked + resting >= 15, "{asked}: {codes:?}");
}

#[test]
fn a_rate_is_that_of_the_model_or_of_its_provider() {
    let name: ModelName = "a/x".parse().unwrap();
    assert!(limits(Some(1), None, MINUTE).of(&name).is_some() && limits(None, None, MINUTE).of(&name).is_none());
}
