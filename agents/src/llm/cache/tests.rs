use std::sync::atomic::{AtomicU64, AtomicUsize};

use callboard_broker::error::Class;
use callboard_broker::{BoxFuture, memory};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::llm::{Answering, Capabilities, Model, ModelError, ModelName, Price, Sampling, ToolSpec};
use crate::testing::{Script, World};

/// A clock that is set by hand, from 0.
fn clock() -> (Arc<AtomicU64>, Clock) {
    let now = Arc::new(AtomicU64::new(0));
    let read = now.clone();
    (now, Clock::from_fn(move || read.load(Ordering::Relaxed)))
}

fn cache(config: CacheConfig) -> Arc<Cache> {
    Arc::new(Cache::in_memory(config, clock().1))
}

fn cached(model: impl Model, cache: &Arc<Cache>) -> Cached {
    Cached::new(Arc::new(model), cache.clone(), Arc::default())
}

fn used(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, estimated: false }
}

/// A model that says how often it was asked.
fn counting() -> (Script, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let script = Script::by(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Response { usage: used(100, 10), ..Response::text(format!("answer {n}")) })
    });
    (script, asked)
}

/// A model behind a gate: who asks it waits until somebody is let through.
struct Gated {
    model: Script,
    gate: Arc<Semaphore>,
}

impl Model for Gated {
    fn name(&self) -> &ModelName {
        self.model.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.model.complete(request).await
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.model.stream(request).await
        })
    }
}

/// So many who want the same, and what becomes of each.
async fn crowd(model: Arc<Cached>, gate: &Semaphore, permits: usize) -> Vec<Result<Response, ModelError>> {
    let asks: Vec<_> = (0..50)
        .map(|n| {
            let model = model.clone();
            tokio::spawn(async move {
                let request = Request::from("which town?");
                // Half of them read it as it comes.
                if n % 2 == 0 {
                    model.complete(&request).await
                } else {
                    model.stream(&request).await?.whole(|_| {}).await
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.add_permits(permits);
    let mut answers = Vec::new();
    for ask in asks {
        answers.push(ask.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn fifty_who_miss_at_once_are_one_call() {
    let ((script, asked), gate) = (counting(), Arc::new(Semaphore::new(0)));
    let cache = cache(CacheConfig::default());
    let model = Arc::new(cached(Gated { model: script, gate: gate.clone() }, &cache));
    let answers = crowd(model, &gate, 50).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().text == "answer 1"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let took: u64 = answers.iter().map(|answer| answer.as_ref().unwrap().usage.tokens()).sum();
    assert_eq!(took, 110, "one of them paid");
    let expected = CacheCounts { hits: 49, misses: 1, saved_tokens: 49 * 110, saved_cost_micros: 0 };
    assert_eq!((cache.counts(), cache.flights.len()), (expected, 0));
}

#[tokio::test]
async fn of_those_who_wait_one_asks_in_the_place_of_one_that_got_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let failing = || ModelError::away("gone");
    let script = Script::new().fail(failing()).break_off("half an an").fail(failing()).reply("Gera");
    let cache = cache(CacheConfig::default());
    let model = Arc::new(cached(Gated { model: script.clone(), gate: gate.clone() }, &cache));
    let answers = crowd(model, &gate, 50).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!((failed, script.asked().len(), cache.flights.len()), (3, 4, 0));
    assert!(answers.iter().flatten().all(|answer| answer.text == "Gera"));
}

#[tokio::test]
async fn one_that_no_longer_wants_its_answer_hands_on_its_turn() {
    let ((script, asked), gate) = (counting(), Arc::new(Semaphore::new(0)));
    let cache = cache(CacheConfig::default());
    let model = Arc::new(cached(Gated { model: script, gate: gate.clone() }, &cache));
    let ask = || {
        let model = model.clone();
        tokio::spawn(async move { model.complete(&"which town?".into()).await })
    };
    let (first, second, third) = (ask(), ask(), ask());
    tokio::task::yield_now().await;
    second.abort();
    first.abort();
    gate.add_permits(1);
    assert_eq!(third.await.unwrap().unwrap().text, "answer 1");
    // Also one that has read the beginning.
    gate.add_permits(1);
    drop(model.stream(&"which river?".into()).await.unwrap());
    gate.add_permits(1);
    assert_eq!(model.complete(&"which river?".into()).await.unwrap().text, "answer 3");
    assert_eq!((asked.load(Ordering::Relaxed), cache.flights.len()), (3, 0));
}

#[tokio::test]
async fn what_chance_or_a_tool_had_a_part_in_is_asked_each_time_unless_it_is_configured() {
    let sampled = Request { sampling: Sampling { temperature: 0.7, ..Sampling::default() }, ..Request::from("?") };
    let tool = ToolSpec { name: "weather".into(), about: String::new(), arguments: json!({}) };
    let call = crate::llm::ToolCall { id: "1".into(), name: "weather".into(), arguments: json!({}) };
    let after = Request::new([Message::user("?"), Message::calls("", vec![call]), Message::result("1", "rain")]);
    for (request, config) in [
        (sampled, CacheConfig { sampled: true, ..CacheConfig::default() }),
        (Request::from("?").tools([tool]), CacheConfig { tools: true, ..CacheConfig::default() }),
        (after, CacheConfig { tools: true, ..CacheConfig::default() }),
    ] {
        for (config, calls) in [(CacheConfig::default(), 2), (config, 1)] {
            let ((script, asked), cache) = (counting(), cache(config));
            let model = cached(script, &cache);
            for _ in 0..2 {
                model.complete(&request).await.unwrap();
            }
            assert_eq!(asked.load(Ordering::Relaxed), calls, "{request:?}");
            assert_eq!(cache.counts().misses, 2 - calls as u64);
        }
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_an_hour_and_nothing_that_is_none_is() {
    let (now, clock) = clock();
    let cache = Arc::new(Cache::in_memory(CacheConfig::default(), clock));
    let filtered = Response { finish: Finish::Filtered, ..Response::text("I may not") };
    let script = Script::by(move |request| match request.messages[0].text.as_str() {
        "what?" => Ok(filtered.clone()),
        "who?" => Ok(Response::default()),
        "why?" => Err(ModelError::status(500, "no")),
        _ => Ok(Response::text("Gera")),
    });
    let model = cached(script.clone(), &cache);
    for at in [0, 3_599_999, 3_600_000] {
        now.store(at, Ordering::Relaxed);
        assert_eq!(model.complete(&"where?".into()).await.unwrap().text, "Gera");
    }
    assert_eq!((script.asked().len(), cache.len()), (2, 1));
    for nothing in ["what?", "who?", "why?"] {
        for _ in 0..2 {
            // Whether it is an error is not the question.
            let _ = model.complete(&nothing.into()).await;
        }
    }
    assert_eq!((script.asked().len(), cache.len()), (8, 1));
}

#[tokio::test]
async fn an_answer_that_is_there_costs_nothing_and_is_heard_like_any_other() {
    let (script, asked) = counting();
    let (cache, price) = (cache(CacheConfig::default()), Price { input: 1.0, output: 10.0 });
    let prices = Arc::new(Prices([("scripted/model".parse().unwrap(), price)].into()));
    let model = Arc::new(Cached::new(Arc::new(script), cache.clone(), prices));
    let world = |model: &Arc<Cached>| World::new().model("x", Shared(model.clone()));
    let first = world(&model);
    first.context().model("x").unwrap().complete("which town?").await.unwrap();
    let second = world(&model);
    let role = second.context().model("x").unwrap();
    let answer = role.say("which town?").await.unwrap();
    assert_eq!((answer.text.as_str(), answer.saved, answer.usage), ("answer 1", Some(used(100, 10)), Usage::default()));
    assert_eq!((first.spent().tokens, second.spent().tokens, second.said().as_str()), (110, 0, "answer 1"));
    assert_eq!((asked.load(Ordering::Relaxed), role.used().calls, role.used().cached), (1, 1, 1));
    assert_eq!(cache.counts(), CacheCounts { hits: 1, misses: 1, saved_tokens: 110, saved_cost_micros: 200 });
}

/// A world takes a model as a value.
struct Shared(Arc<Cached>);

impl Model for Shared {
    fn name(&self) -> &ModelName {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        self.0.complete(request)
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        self.0.stream(request)
    }

    fn known<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Option<Response>> {
        self.0.known(request)
    }

    fn forget<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, ()> {
        self.0.forget(request)
    }
}

#[tokio::test]
async fn an_answer_that_has_not_the_form_is_not_given_again() {
    let script = Script::new().reply("no").reply("no").reply("no").reply("7");
    let model = Arc::new(cached(script.clone(), &cache(CacheConfig::default())));
    let first = World::new().model("x", Shared(model.clone()));
    let error = first.context().model("x").unwrap().extract::<u32>("how many?").await.unwrap_err();
    assert_eq!((error.class(), script.asked().len()), (Class::Permanent, 3));
    let second = World::new().model("x", Shared(model));
    assert_eq!(second.context().model("x").unwrap().extract::<u32>("how many?").await.unwrap(), 7);
}

#[tokio::test]
async fn what_one_node_was_answered_another_finds_and_of_too_many_the_least_used_go() {
    let broker = memory::open(memory::Options::default());
    let config = CacheConfig { place: CachePlace::Store, entries: 3, ..CacheConfig::default() };
    let node = |name: &str| {
        let (script, asked) = counting();
        let cache = Cache::in_store(config.clone(), broker.clock.clone(), broker.states.clone(), name);
        (cached(script, &Arc::new(cache)), asked)
    };
    let ((one, asked_one), (two, asked_two)) = (node("a"), node("b"));
    for question in ["1?", "2?", "3?"] {
        one.complete(&question.into()).await.unwrap();
    }
    // The second is found once by the other, the first four times by the one that asked.
    let found = two.complete(&"2?".into()).await.unwrap();
    assert_eq!((found.text.as_str(), asked_two.load(Ordering::Relaxed)), ("answer 2", 0));
    for _ in 0..4 {
        one.complete(&"1?".into()).await.unwrap();
    }
    two.complete(&"4?".into()).await.unwrap();
    let (fresh, asked) = node("c");
    for question in ["1?", "2?", "4?"] {
        fresh.complete(&question.into()).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "these are still there");
    fresh.complete(&"3?".into()).await.unwrap();
    assert_eq!(
        (asked.load(Ordering::Relaxed), asked_one.load(Ordering::Relaxed)),
        (1, 3),
        "the third had the fewest hits"
    );
    let left = broker.states.list("global.callboard-answers".into()).await.unwrap();
    assert_eq!(left.len(), 3);
    // One that is let go of is let go of for all.
    fresh.forget(&"1?".into()).await;
    assert!(node("d").0.known(&"1?".into()).await.is_none());
}
