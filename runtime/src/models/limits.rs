//! The rates of models, kept by all nodes of a broker together.
//!
//! A rate is one entry of shared state, `global.callboard-limit.<model>`. Whoever wants to ask a model waits in line on its
//! node; moments are leased for all of the line, of half a second at most, by compare-and-set, and each begins at its
//! own. So what a rate costs is one write for each half second in which it is used, or for each request where those
//! are fewer, on all nodes together. A moment that nobody uses any more is lost: the rate is never made up for.
//!
//! `governor` would keep such a rate within a process. It is not used: there is nothing left of it to keep once moments
//! are leased, and its waits are not on tokio's clock, which tests pause.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_agents::llm::{ModelError, ModelLimits, ModelName, Rate};
use callboard_broker::clock::{Clock, millis};
use tokio::sync::oneshot;

use super::name::place;
use crate::resilience::rate::{Micros, Standing};
use crate::resilience::shared::{Common, Shared};

/// Below which key of state rates are.
pub(super) const PREFIX: &str = "global.callboard-limit";
/// How long the moments of one lease reach.
const SLICE: Micros = 500_000;
/// Requests that wait for one model on one node; of more, each is refused at once.
const WAITING: usize = 10_000;
/// Of those, for how many moments are leased at a time.
const AT_ONCE: usize = 1_000;
/// How long a provider is left alone that wants fewer requests and does not say for how long.
const REST: Duration = Duration::from_secs(1);

impl Common for Standing {
    // Sixteen nodes that want to be first are told to try again fifteen times.
    const TRIES: usize = 64;

    fn says_something(self) -> bool {
        true
    }
}

/// The rates of one node.
pub(crate) struct Limits {
    config: ModelLimits,
    clock: Clock,
    shared: Shared<Standing>,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

/// Those who wait for one rate.
#[derive(Default)]
struct Line {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    all: VecDeque<Waiter>,
    /// Whether somebody leases moments for them.
    is_led: bool,
    last: u64,
    /// Tokens that were leased and tokens that were used, of requests that have ended since the last lease.
    ended: (u64, u64),
}

/// One who waits: its number, its tokens, and until when it does.
type Want = (u64, u64, Micros);

struct Waiter {
    id: u64,
    tokens: u64,
    latest: Micros,
    /// When it may begin; or when the next could, and that is too late.
    tell: oneshot::Sender<Result<Micros, Micros>>,
}

/// That a request may begin.
#[derive(Debug)]
pub(super) struct Lease {
    of: String,
    tokens: u64,
    is_counted: bool,
}

impl Limits {
    pub(crate) fn new(config: ModelLimits, clock: Clock, shared: Shared<Standing>) -> Self {
        Self { config, clock, shared, lines: Mutex::default() }
    }

    pub(crate) fn shared(&self) -> &Shared<Standing> {
        &self.shared
    }

    fn now(&self) -> Micros {
        self.clock.now().saturating_mul(1_000)
    }

    /// The rate of a model, its own or that of its provider, and the entry in which it stands.
    fn of(&self, model: &ModelName) -> (Rate, String) {
        match self.config.of(model) {
            Some((rate, of)) => (rate, place(of)),
            None => (Rate::default(), place(&model.to_string())),
        }
    }

    /// Until when a request waits that comes now.
    pub(super) fn latest(&self) -> Micros {
        self.now().saturating_add(micros(self.config.wait))
    }

    /// How long that is from now.
    pub(super) fn left(&self, latest: Micros) -> Duration {
        Duration::from_micros(latest.saturating_sub(self.now()))
    }

    /// Waits until a request of so many tokens may begin, at the latest then. `patient`: also while the provider wants to
    /// be left alone.
    ///
    /// # Errors
    /// `RateLimited`, with the wait that would be needed, when that is longer than is configured or too many wait.
    ///
    /// # Cancellation
    /// Dropping the future leaves the line. A moment that it had been given is lost.
    pub(super) async fn begin(
        self: &Arc<Self>,
        model: &ModelName,
        tokens: u64,
        latest: Micros,
        patient: bool,
    ) -> Result<Lease, ModelError> {
        let (rate, of) = self.of(model);
        let left_alone = || {
            let (rest, now) = (self.shared.known(&of).rest, self.now());
            match rest > now && (!patient || rest > latest) {
                true => Err(self.refused(model, "its provider wants to be left alone", rest - now)),
                false => Ok(rest),
            }
        };
        loop {
            let rest = left_alone()?;
            let at = match rate.limits() {
                true => self.moment(&of, &rate, tokens, latest).await,
                false => Ok(rest),
            };
            // Whoever leased it may have learned that by the way.
            left_alone()?;
            let now = self.now();
            let at = at.map_err(|next| self.refused(model, "its rate is used up", next.saturating_sub(now)))?;
            tokio::time::sleep_until(self.clock.instant(at.div_ceil(1_000))).await;
            // The provider may have said meanwhile that it wants to be left alone.
            if self.shared.known(&of).rest <= self.now() {
                return Ok(Lease { of: of.clone(), tokens, is_counted: rate.tokens.is_some() });
            }
        }
    }

    fn refused(&self, model: &ModelName, why: &str, wait: Micros) -> ModelError {
        ModelError::no_place(format!("{model} is not asked now: {why}"), Duration::from_micros(wait))
    }

    async fn moment(self: &Arc<Self>, of: &str, rate: &Rate, tokens: u64, latest: Micros) -> Result<Micros, Micros> {
        let line = lock(&self.lines).entry(of.to_owned()).or_default().clone();
        let (tell, told) = oneshot::channel();
        let Some(_place) = line.enter(tokens, latest, tell) else { return Err(latest) };
        if let Some(led) = Led::begin(&line) {
            // By itself: whoever waits may be polled by nobody for a while, and must not hold up the others.
            tokio::spawn(self.clone().lead(of.to_owned(), *rate, led));
        }
        told.await.unwrap_or(Err(latest))
    }

    async fn lead(self: Arc<Self>, of: String, rate: Rate, mut led: Led) {
        while led.goes_on() {
            self.lease(&of, &rate, &led.line).await;
        }
    }

    /// Leases moments for those who wait, as many as one slice has.
    async fn lease(&self, of: &str, rate: &Rate, line: &Line) {
        let (wants, ended) = line.first();
        let Some((_, _, latest)) = wants.first().copied() else { return };
        let tokens: Vec<u64> = wants.iter().map(|(_, tokens, _)| *tokens).collect();
        let now = self.now();
        let take = |standing: Standing| {
            let corrected = standing.correct(rate, ended.0, ended.1);
            let (after, moments) = corrected.lease(rate, &tokens, now, SLICE, latest);
            (after, (moments, after.next(now)))
        };
        let (moments, next) = match self.shared.change(of, take).await {
            Some(changed) => changed.result,
            // A store that cannot be asked: the node keeps the rate by itself meanwhile.
            None => {
                let mut taken = (Vec::new(), now);
                self.shared.change_here(of, |standing| {
                    let (after, result) = take(standing);
                    taken = result;
                    after
                });
                taken
            }
        };
        line.told(&wants, &moments, next);
    }

    /// What a request took.
    pub(super) fn ended(&self, lease: &Lease, tokens: u64) {
        let line = lock(&self.lines).get(&lease.of).cloned();
        if let Some(line) = line.filter(|_| lease.is_counted) {
            let ended = &mut lock(&line.waiting).ended;
            *ended = (ended.0.saturating_add(lease.tokens), ended.1.saturating_add(tokens));
        }
    }

    /// The provider wants fewer requests: all nodes leave it alone for as long as it said.
    pub(super) async fn rest(&self, lease: &Lease, wait: Option<Duration>) {
        let until = self.now().saturating_add(micros(wait.unwrap_or(REST)));
        if self.shared.change(&lease.of, |standing| (standing.rest(until), ())).await.is_none() {
            self.shared.change_here(&lease.of, |standing| standing.rest(until));
        }
    }
}

/// A place in a line, left on drop.
struct Place<'a>(&'a Line, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).all.retain(|waiter| waiter.id != self.1);
    }
}

/// That somebody leases moments for a line.
struct Led {
    line: Arc<Line>,
    has_ended: bool,
}

impl Led {
    /// `None` when somebody does already.
    fn begin(line: &Arc<Line>) -> Option<Self> {
        let was_led = std::mem::replace(&mut lock(&line.waiting).is_led, true);
        (!was_led).then(|| Self { line: line.clone(), has_ended: false })
    }

    /// Whether anybody still waits; when not, whoever comes next leads.
    fn goes_on(&mut self) -> bool {
        let mut waiting = lock(&self.line.waiting);
        self.has_ended = waiting.all.is_empty();
        waiting.is_led = !self.has_ended;
        waiting.is_led
    }
}

impl Drop for Led {
    /// Cut off in the middle: those who wait are refused, and do not wait for nobody.
    fn drop(&mut self) {
        if !self.has_ended {
            let mut waiting = lock(&self.line.waiting);
            waiting.is_led = false;
            waiting.all.clear();
        }
    }
}

impl Line {
    fn enter(&self, tokens: u64, latest: Micros, tell: oneshot::Sender<Result<Micros, Micros>>) -> Option<Place<'_>> {
        let mut waiting = lock(&self.waiting);
        if waiting.all.len() >= WAITING {
            return None;
        }
        waiting.last += 1;
        let id = waiting.last;
        waiting.all.push_back(Waiter { id, tokens, latest, tell });
        Some(Place(self, id))
    }

    /// Those who wait longest, each with its tokens and until when it waits; and what has ended, which is counted once.
    fn first(&self) -> (Vec<Want>, (u64, u64)) {
        let mut waiting = lock(&self.waiting);
        let ended = std::mem::take(&mut waiting.ended);
        (waiting.all.iter().take(AT_ONCE).map(|one| (one.id, one.tokens, one.latest)).collect(), ended)
    }

    /// Each of them is told its moment; of the rest those for whom the next one is too late.
    fn told(&self, wants: &[Want], moments: &[Micros], next: Micros) {
        let mut waiting = lock(&self.waiting);
        for (n, (id, _, latest)) in wants.iter().enumerate() {
            let told = match moments.get(n) {
                Some(moment) => Ok(*moment),
                None if next > *latest => Err(next),
                None => continue,
            };
            if let Some(at) = waiting.all.iter().position(|waiter| waiter.id == *id)
                && let Some(waiter) = waiting.all.remove(at)
            {
                // Who has just gone leaves its moment unused.
                let _ = waiter.tell.send(told);
            }
        }
    }
}

fn micros(length: Duration) -> Micros {
    millis(length).saturating_mul(1_000)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
