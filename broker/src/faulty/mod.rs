//! A wing behind a bad line, for tests: requests and answers are lost, late, out of order, or there twice.
//!
//! [`wrap`] puts the line between any broker and its callers and never breaks a contract: a lost write is *unknown*, a
//! lost read is *unavailable*, a message may vanish, and only what may be repeated is. So whoever is correct on a wing is
//! correct behind the line, and who is not is found out. All chances come from one seed: the same calls in the same order
//! meet the same faults.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::Broker;
use crate::error::{Error, Result};

mod messages;
mod rooms;
mod tasks;

/// How bad the line is. Chances are in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Where all chances come from.
    pub seed: u64,
    /// A request never arrives.
    pub lost_requests: u16,
    /// An answer never arrives, though the request did.
    pub lost_answers: u16,
    /// A write that may be repeated arrives twice; the caller gets the first answer.
    pub twice: u16,
    /// The answer to an ask arrives twice, or one arrives that nobody asked for.
    pub echoes: u16,
    /// Before and after it is served, a call stands back for others up to so many times: this is what reorders.
    pub yields: u16,
    /// It also waits up to so long.
    pub delay: Duration,
}

impl Faults {
    /// Out of order and twice, but nothing is lost and no time passes.
    pub fn reordering(seed: u64) -> Self {
        Self { seed, lost_requests: 0, lost_answers: 0, twice: 300, echoes: 0, yields: 3, delay: Duration::ZERO }
    }

    /// Everything that can go wrong does, often.
    pub fn everything(seed: u64) -> Self {
        Self {
            seed,
            lost_requests: 50,
            lost_answers: 100,
            twice: 300,
            echoes: 300,
            yields: 3,
            delay: Duration::from_millis(200),
        }
    }
}

/// How long whoever is refused should wait.
const BUSY: Duration = Duration::from_millis(20);

/// How a line is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    /// As its [`Faults`] say.
    Foul,
    /// Nothing goes wrong and nothing takes time.
    Fair,
    /// Nothing gets through in either direction.
    Cut,
    /// Writes are refused, for the store is busy. Otherwise as [`Fair`](Self::Fair).
    Busy,
}

/// Changes the weather of one line while it is in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    /// From now on.
    pub fn set(&self, weather: Weather) {
        self.0.store(weather as u8, Ordering::Relaxed);
    }

    fn is(&self, weather: Weather) -> bool {
        self.0.load(Ordering::Relaxed) == weather as u8
    }
}

/// The same broker behind a bad line.
pub fn wrap(broker: Broker, faults: Faults) -> Broker {
    wrap_switched(broker, faults).0
}

/// The same broker behind a bad line, whose weather can be changed.
pub fn wrap_switched(broker: Broker, faults: Faults) -> (Broker, Switch) {
    tracing::debug!(seed = faults.seed, over = %broker.about, "faults");
    let about = format!("{} behind a bad line (seed {})", broker.about, faults.seed).into();
    let switch = Switch(Arc::new(AtomicU8::new(Weather::Foul as u8)));
    let line = Line { dice: Arc::new(AtomicU64::new(faults.seed)), faults: Arc::new(faults), switch: switch.clone() };
    let broker = Broker {
        messages: Arc::new(messages::Messages::new(broker.messages, line.clone())),
        tasks: Arc::new(tasks::Tasks { inner: broker.tasks, line: line.clone() }),
        states: Arc::new(rooms::States { inner: broker.states, line: line.clone() }),
        events: Arc::new(rooms::Events { inner: broker.events, line: line.clone() }),
        dead: Arc::new(rooms::DeadLetters { inner: broker.dead, line }),
        blobs: broker.blobs,
        clock: broker.clock,
        about,
    };
    (broker, switch)
}

/// The line between a caller and the wing.
#[derive(Clone, Debug)]
struct Line {
    faults: Arc<Faults>,
    dice: Arc<AtomicU64>,
    switch: Switch,
}

impl Line {
    /// A number from the seed (SplitMix64: the state is a counter, so threads may share it).
    fn roll(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.dice.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&self, thousandths: u16) -> bool {
        self.roll() % 1_000 < u64::from(thousandths) && !self.is_fair()
    }

    /// Whether something is lost that is lost as often as this.
    fn loses(&self, thousandths: u16) -> bool {
        self.hits(thousandths) || self.switch.is(Weather::Cut)
    }

    fn is_fair(&self) -> bool {
        self.switch.is(Weather::Fair) || self.switch.is(Weather::Busy)
    }

    /// On the way.
    async fn travel(&self) {
        if self.is_fair() {
            return;
        }
        for _ in 0..self.roll() % (u64::from(self.faults.yields) + 1) {
            tokio::task::yield_now().await;
        }
        let longest = u64::try_from(self.faults.delay.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        let delay = Duration::from_micros(self.roll() % longest);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// A write. One that went well may arrive `again` when a second arrival does nothing. Lost either way, nobody knows
    /// whether it was applied.
    async fn write<T: Went, F: Future<Output = T>>(&self, what: &str, again: bool, act: impl Fn() -> F) -> Result<T> {
        let lost = || Error::Unknown { what: what.into() };
        self.travel().await;
        if self.loses(self.faults.lost_requests) {
            return Err(lost());
        }
        if self.switch.is(Weather::Busy) {
            return Err(Error::Busy { to: "the store".into(), retry_after: BUSY });
        }
        let answer = act().await;
        if again && answer.well() && self.hits(self.faults.twice) {
            drop(act().await);
        }
        self.travel().await;
        if self.loses(self.faults.lost_answers) { Err(lost()) } else { Ok(answer) }
    }

    /// A write of several things, each with its own answer.
    async fn write_each<T, F>(&self, what: &str, each: usize, again: bool, act: impl Fn() -> F) -> Vec<Result<T>>
    where
        F: Future<Output = Vec<Result<T>>>,
    {
        match self.write(what, again, act).await {
            Ok(answers) => answers,
            Err(lost) => (0..each).map(|_| Err(lost.clone())).collect(),
        }
    }

    /// A read. Nothing is taken by it, so that it can be lost and asked for again.
    async fn read<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        self.travel().await;
        if self.loses(self.faults.lost_requests) || self.loses(self.faults.lost_answers) {
            return Err(Error::unavailable("no answer came"));
        }
        let answer = act.await;
        self.travel().await;
        answer
    }
}

/// Whether all of an answer is a yes. After a no a second arrival could be a yes, which its caller would not hear of.
trait Went {
    fn well(&self) -> bool;
}

impl<T> Went for Result<T> {
    fn well(&self) -> bool {
        self.is_ok()
    }
}

impl<T> Went for Vec<Result<T>> {
    fn well(&self) -> bool {
        self.iter().all(Result::is_ok)
    }
}
