//! How often and how fast a supervisor restarts: intensity and backoff.
//!
//! The two must be tuned together. Waits that space failures out beyond the period would let a broken child be
//! restarted for ever; that is why a row of failed starts escalates on its own (see `SupervisorSpec::max_failed_starts`).

use std::time::Duration;

use super::spec::SpecError;

/// The most restarts a window may hold; a larger number is a typing error and would only cost memory.
const MAX_RESTARTS: u32 = 10_000;

/// How many restarts a supervisor may do within a period. One more, and it stops its children and ends itself with
/// `IntensityExceeded`, which its own supervisor treats as the exit of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    max: u32,
    period: Duration,
}

impl Intensity {
    /// At most `max` restarts (0: none at all) within `period`. Refused: a `max` over 10,000, a `period` of zero.
    pub fn new(max: u32, period: Duration) -> Result<Self, SpecError> {
        if max > MAX_RESTARTS {
            return Err(SpecError::new(format!("intensity allows {max} restarts, the most is {MAX_RESTARTS}")));
        }
        if period.is_zero() {
            return Err(SpecError::new("the period of an intensity is zero, so no restart would ever be counted"));
        }
        Ok(Self { max, period })
    }

    /// Three restarts in 60 s: for the root of a node.
    pub const fn root() -> Self {
        Self { max: 3, period: Duration::from_secs(60) }
    }

    /// `max(3, workers)` restarts in 30 s: for a pool, which meets the faults of all its workers.
    pub fn pool(workers: u32) -> Self {
        Self { max: workers.clamp(3, MAX_RESTARTS), period: Duration::from_secs(30) }
    }

    /// Restarts allowed within the period.
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// The length of the sliding window.
    pub const fn period(&self) -> Duration {
        self.period
    }
}

/// Five restarts in 30 s.
impl Default for Intensity {
    fn default() -> Self {
        Self { max: 5, period: Duration::from_secs(30) }
    }
}

/// How long a child that keeps failing waits for its next start.
///
/// The first restart comes at once, because most faults are gone with the state that met them. The nth after that waits
/// a random time between zero and `min * factor^(n-1)`, capped at `max` ("full jitter": children that fell together do
/// not get up together). A child that has run for `reset_after` begins again at the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    factor: f64,
    reset_after: Duration,
}

impl Backoff {
    /// From `min` to `max`, doubling. Refused: a `min` of zero, a `max` under `min` or over one hour.
    pub fn new(min: Duration, max: Duration) -> Result<Self, SpecError> {
        if min.is_zero() {
            return Err(SpecError::new("the shortest backoff is zero; leave the backoff out instead"));
        }
        if max < min {
            return Err(SpecError::new(format!("the longest backoff, {max:?}, is under the shortest, {min:?}")));
        }
        if max > Duration::from_secs(3600) {
            return Err(SpecError::new(format!("the longest backoff is {max:?}, the most is one hour")));
        }
        Ok(Self { min, max, ..Self::default() })
    }

    /// By what each wait is longer than the one before, default 2. Refused: under 1, over 100, not a number.
    pub fn factor(self, factor: f64) -> Result<Self, SpecError> {
        if (1.0..=100.0).contains(&factor) {
            Ok(Self { factor, ..self })
        } else {
            Err(SpecError::new(format!("the factor of a backoff is {factor}, it must be from 1 to 100")))
        }
    }

    /// After how long a healthy life the next failure counts as the first again, default 30 s. Refused: zero.
    pub fn reset_after(self, life: Duration) -> Result<Self, SpecError> {
        if life.is_zero() {
            return Err(SpecError::new("a backoff that resets after zero would never grow"));
        }
        Ok(Self { reset_after: life, ..self })
    }

    /// For the first row of failures: 100 ms to 30 s, for workers of a pool.
    pub const fn pool() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            reset_after: Duration::from_secs(30),
        }
    }

    pub(crate) const fn healthy_life(&self) -> Duration {
        self.reset_after
    }

    /// The wait before the `failure`th restart in a row (from 1), where `unit` is random in `[0, 1)`.
    pub(crate) fn delay(&self, failure: u32, unit: f64) -> Duration {
        if failure <= 1 {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(failure - 2).unwrap_or(i32::MAX);
        let cap = (self.min.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(cap * unit.clamp(0.0, 1.0))
    }
}

/// 100 ms to 10 s, doubling, reset after 30 s.
impl Default for Backoff {
    fn default() -> Self {
        Self { max: Duration::from_secs(10), ..Self::pool() }
    }
}

/// A small seeded source of random numbers (SplitMix64), enough for jitter and repeatable in tests.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
