//! Answers that are given again without asking.
//!
//! An answer is kept under a hash of all that it depends on, for an hour, and at most 1,000 of them are; of those the one
//! with the fewest hits makes room for a new one. Many who want the same at once are one call. What is found costs nothing:
//! no tokens, no cost, no place under a rate limit.
//!
//! Kept is what was chosen as the likeliest answer. What chance had a part in, and what tools were called for, is asked
//! each time, unless it is configured otherwise: the next answer would be another, or the tool would tell something else.
//!
//! | file | holds |
//! |---|---|
//! | `key` | what an answer is kept under |
//! | `kept` | which are kept, as a pure function of what was found |
//! | `flight` | one call for all who want the same |
//! | `store` | answers that all nodes share |
//! | `cached` | a model with a cache before it |

mod cached;
mod flight;
mod kept;
mod key;
mod store;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::clock::{Clock, millis};
use callboard_broker::state::States;

pub use cached::Cached;
pub use key::CacheKey;

use super::{Finish, Message, Prices, Request, Response, Says, Usage};
use flight::Flights;
use kept::Kept;
use store::Store;

/// The largest answer that is kept, in bytes: 64 KiB.
const MAX_KEPT: usize = 64 << 10;

/// What is kept, where and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Where. Default: in memory.
    pub place: CachePlace,
    /// How many answers at most, at least one. Default 1,000.
    pub entries: usize,
    /// For how long. Default 1 h.
    pub keep: Duration,
    /// Also answers in which chance had a part: those with a temperature above 0. Default: no.
    pub sampled: bool,
    /// Also answers to requests with tools, or after a tool was called. Default: no.
    pub tools: bool,
}

/// Where answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePlace {
    /// Nowhere.
    Off,
    /// In this process.
    #[default]
    Memory,
    /// In shared state too: all nodes of a broker, and all processes over one store, find them.
    Store,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let (entries, keep) = (1_000, Duration::from_secs(3_600));
        Self { place: CachePlace::default(), entries, keep, sampled: false, tools: false }
    }
}

impl CacheConfig {
    /// One that keeps nothing.
    pub fn off() -> Self {
        Self { place: CachePlace::Off, ..Self::default() }
    }

    /// Whether the answer to this may be kept.
    fn takes(&self, request: &Request) -> bool {
        let has_called = |message: &Message| message.by == Says::Tool || !message.calls.is_empty();
        let has_tools = !request.tools.is_empty() || request.messages.iter().any(has_called);
        (self.sampled || request.sampling.temperature <= 0.0) && (self.tools || !has_tools)
    }
}

/// Whether an answer is whole, and not something that was kept back.
fn is_whole(answer: &Response) -> bool {
    let says = !answer.text.is_empty() || !answer.calls.is_empty();
    says && answer.finish != Finish::Filtered
}

/// Whether keeping a thousand of its size is no burden.
fn is_small(answer: &Response) -> bool {
    let calls: usize = answer.calls.iter().map(|call| call.arguments.to_string().len()).sum();
    answer.text.len() + calls <= MAX_KEPT
}

/// The answers that one node keeps.
pub struct Cache {
    config: CacheConfig,
    clock: Clock,
    kept: Mutex<Kept<Arc<Response>>>,
    flights: Flights,
    store: Option<Store>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    tokens: AtomicU64,
    cost_micros: AtomicU64,
}

/// What a cache has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Answers that were found, or that somebody else was just being given.
    pub hits: u64,
    /// Answers that had to be asked for. What is never kept is not counted.
    pub misses: u64,
    /// Tokens that were not used.
    pub saved_tokens: u64,
    /// Cost that did not arise, in millionths.
    pub saved_cost_micros: u64,
}

impl CacheCounts {
    /// The share of hits, from 0 to 1.
    pub fn rate(self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }
}

impl Cache {
    /// One that keeps answers in memory, whatever the place that is configured.
    pub fn in_memory(config: CacheConfig, clock: Clock) -> Self {
        let kept = Mutex::new(Kept::new(config.entries, millis(config.keep)));
        Self { config, clock, kept, flights: Flights::default(), store: None, counts: Counts::default() }
    }

    /// One that keeps them in shared state too; `by` is who writes there.
    pub fn in_store(config: CacheConfig, clock: Clock, states: Arc<dyn States>, by: impl Into<String>) -> Self {
        let store = Store::new(states, by.into(), config.entries.max(1), millis(config.keep));
        Self { store: Some(store), ..Self::in_memory(config, clock) }
    }

    /// What it has done until now.
    pub fn counts(&self) -> CacheCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheCounts {
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            saved_tokens: read(&self.counts.tokens),
            saved_cost_micros: read(&self.counts.cost_micros),
        }
    }

    /// How many answers this process keeps.
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Arc<Response>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer that is there, as one that takes nothing. A store that cannot be asked has none.
    async fn find(&self, key: &CacheKey, prices: &Prices) -> Option<Response> {
        let now = self.clock.now();
        let here = self.kept().find(key, now).map(|(answer, hits)| (answer.clone(), hits));
        let found = match (here, &self.store) {
            (Some((answer, hits)), store) => {
                if let (Some(store), true) = (store, hits.is_power_of_two()) {
                    told(store.used(key, hits / 2).await, "hits of an answer could not be told");
                }
                answer
            }
            (None, None) => return None,
            (None, Some(store)) => {
                let shelved = told(store.find(key, now).await, "answers that are kept could not be asked for")??;
                let answer = Arc::new(shelved.answer);
                self.kept().put(*key, answer.clone(), shelved.at, now);
                told(store.used(key, 1).await, "hits of an answer could not be told");
                answer
            }
        };
        let cost = prices.cost(&found.model, found.usage);
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
        self.counts.tokens.fetch_add(found.usage.tokens(), Ordering::Relaxed);
        self.counts.cost_micros.fetch_add(cost, Ordering::Relaxed);
        let found = Arc::unwrap_or_clone(found);
        Some(Response {
            saved: Some(found.usage),
            usage: Usage::default(),
            cost_micros: 0,
            others: Vec::new(),
            ..found
        })
    }

    /// Keeps an answer that was just given.
    async fn keep(&self, key: CacheKey, answer: &Response) {
        // What was saved before us is no answer that was just given.
        if !is_whole(answer) || !is_small(answer) || answer.saved.is_some() {
            return;
        }
        let now = self.clock.now();
        self.kept().put(key, Arc::new(answer.clone()), now, now);
        if let Some(store) = &self.store {
            told(store.put(&key, answer, now).await, "an answer could not be kept for others");
        }
    }

    async fn forget(&self, key: &CacheKey) {
        self.kept().remove(key);
        if let Some(store) = &self.store {
            told(store.remove(key).await, "an answer could not be let go of");
        }
    }

    fn missed(&self) {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
    }
}

/// That the store is away is no failure of whoever asks a model.
fn told<T>(done: callboard_broker::error::Result<T>, what: &str) -> Option<T> {
    done.inspect_err(|error| tracing::debug!(%error, "{what}")).ok()
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("config", &self.config).field("counts", &self.counts()).finish_non_exhaustive()
    }
}
