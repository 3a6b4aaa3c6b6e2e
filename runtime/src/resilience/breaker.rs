//! A circuit breaker: pure, with the time passed in.
//!
//! Closed, it counts failures in a row. Open, it lets nobody pass. Half-open, it lets one probe pass at a time; what becomes
//! of the probes closes it or opens it again.

use callboard_broker::clock::Millis;
use callboard_broker::error::Class;
use serde::{Deserialize, Serialize};

/// Failures in a row that open it.
pub const FAILURES: u32 = 5;
/// How long it stays open, in milliseconds: 30 s. Also how long a probe may take before the next one may pass.
pub const OPEN_MS: Millis = 30_000;
/// Successes in a row that close it when it is half-open.
pub const SUCCESSES: u32 = 3;

/// When a breaker opens, for how long, and what closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Successes in a row that close it when it is half-open.
    pub successes: u32,
    /// How long it stays open the first time; doubled each time that a probe opens it again.
    pub open_ms: Millis,
    /// How long at most.
    pub most_ms: Millis,
}

/// Of a capability.
pub const CAPABILITY: Rule = Rule { failures: FAILURES, successes: SUCCESSES, open_ms: OPEN_MS, most_ms: OPEN_MS };
/// Of a provider of models: whoever has no other model waits for it meanwhile, so it is probed soon, and one whole answer,
/// which takes seconds, says enough.
pub const PROVIDER: Rule = Rule { failures: FAILURES, successes: 1, open_ms: 1_000, most_ms: 5_000 };

/// A breaker, as it stands in shared state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "breaker", rename_all = "snake_case")]
pub enum Breaker {
    /// All pass.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Nobody passes before then.
    Open {
        /// When it becomes half-open.
        until: Millis,
        /// How often it opened without being closed in between.
        #[serde(default)]
        times: u32,
    },
    /// One probe passes at a time.
    HalfOpen {
        /// Successes in a row so far.
        successes: u32,
        /// Until when a probe is under way; 0: none is.
        probe_until: Millis,
        /// Since when it is.
        #[serde(default)]
        since: Millis,
        /// How often it opened until now.
        #[serde(default)]
        times: u32,
    },
}

/// What became of something that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It went well.
    Success,
    /// The capability failed.
    Failure,
    /// It says nothing about the capability: a mistake of the caller, a rate limit, a cancel.
    Nothing,
}

impl Seen {
    /// What a failure of this class says.
    pub fn of(class: Class) -> Self {
        match class {
            Class::Transient | Class::Unclassified => Self::Failure,
            // Rate limits, mistakes of callers, cancels.
            _ => Self::Nothing,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether a request passes now, and the breaker after that.
    pub fn admit(self, now: Millis) -> (Self, bool) {
        let probe_until = now.saturating_add(OPEN_MS);
        match self {
            Self::Closed { .. } => (self, true),
            Self::Open { until, .. } if now < until => (self, false),
            Self::Open { times, .. } => (Self::HalfOpen { successes: 0, probe_until, since: now, times }, true),
            Self::HalfOpen { probe_until, .. } if now < probe_until => (self, false),
            Self::HalfOpen { successes, since, times, .. } => {
                (Self::HalfOpen { successes, probe_until, since, times }, true)
            }
        }
    }

    /// The breaker after this was seen. What comes late, when it is open, changes nothing.
    pub fn seen(self, seen: Seen, now: Millis, rule: &Rule) -> Self {
        let open = |times: u32| {
            let doubled = rule.open_ms.saturating_mul(1u64.checked_shl(times).unwrap_or(u64::MAX));
            Self::Open { until: now.saturating_add(doubled.min(rule.most_ms)), times: times.saturating_add(1) }
        };
        match (self, seen) {
            (Self::Closed { .. }, Seen::Success) => Self::default(),
            (Self::Closed { failures }, Seen::Failure) if failures + 1 >= rule.failures => open(0),
            (Self::Closed { failures }, Seen::Failure) => Self::Closed { failures: failures + 1 },
            (Self::HalfOpen { times, .. }, Seen::Failure) => open(times),
            (Self::HalfOpen { successes, .. }, Seen::Success) if successes + 1 >= rule.successes => Self::default(),
            (Self::HalfOpen { successes, since, times, .. }, Seen::Success) => {
                Self::HalfOpen { successes: successes + 1, probe_until: 0, since, times }
            }
            (Self::HalfOpen { successes, since, times, .. }, Seen::Nothing) => {
                Self::HalfOpen { successes, probe_until: 0, since, times }
            }
            (Self::Open { .. }, _) | (Self::Closed { .. }, Seen::Nothing) => self,
        }
    }

    /// When the next request may pass, as far as is known; 0: at once.
    pub fn until(self) -> Millis {
        match self {
            Self::Closed { .. } => 0,
            Self::Open { until, .. } => until,
            Self::HalfOpen { probe_until, .. } => probe_until,
        }
    }

    /// Whether all pass.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether something that nobody let in has anything to say of it: half-open, only what began after that.
    pub fn heeds(self, began: Millis) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { .. } => false,
            Self::HalfOpen { since, .. } => began >= since,
        }
    }

    /// Its state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "opened",
            Self::HalfOpen { .. } => "half_opened",
        }
    }
}

#[cfg(test)]
mod tests {
    use Seen::{Failure, Nothing, Success};

    use super::*;

    /// What is done to a breaker, when, and how it stands after that.
    enum Do {
        See(Seen),
        Admit(bool),
    }

    fn play(steps: &[(Millis, Do, &str)]) {
        let mut breaker = Breaker::default();
        for (n, (now, what, after)) in steps.iter().enumerate() {
            match what {
                Do::See(seen) => breaker = breaker.seen(*seen, *now, &CAPABILITY),
                Do::Admit(passes) => {
                    let (next, passed) = breaker.admit(*now);
                    assert_eq!(passed, *passes, "step {n}: {breaker:?}");
                    breaker = next;
                }
            }
            assert_eq!(breaker.word(), *after, "step {n}: {breaker:?}");
        }
    }

    /// Opened at 4.
    fn opened() -> Vec<(Millis, Do, &'static str)> {
        (0..5).map(|at| (at, Do::See(Failure), if at < 4 { "closed" } else { "opened" })).collect()
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_nothing_else_does() {
        play(&opened());
        let mut steps: Vec<_> = (0..4).map(|at| (at, Do::See(Failure), "closed")).collect();
        steps.push((5, Do::See(Success), "closed"));
        steps.extend((6..10).map(|at| (at, Do::See(Failure), "closed")));
        steps.extend((10..90).map(|at| (at, Do::See(Nothing), "closed")));
        steps.push((90, Do::See(Failure), "opened"));
        play(&steps);
        for (class, seen) in [
            (Class::Transient, Failure),
            (Class::Unclassified, Failure),
            (Class::RateLimited, Nothing),
            (Class::Permanent, Nothing),
            (Class::Cancelled, Nothing),
        ] {
            assert_eq!(Seen::of(class), seen);
        }
    }

    #[test]
    fn it_stays_open_for_thirty_seconds_whatever_comes_late() {
        let mut steps = opened();
        steps.extend([
            (5, Do::Admit(false), "opened"),
            (6, Do::See(Success), "opened"),
            (7, Do::See(Failure), "opened"),
            (30_003, Do::Admit(false), "opened"),
            (30_004, Do::Admit(true), "half_opened"),
        ]);
        play(&steps);
    }

    #[test]
    fn half_open_it_lets_one_probe_pass_at_a_time_and_three_successes_close_it() {
        let mut steps = opened();
        steps.extend([
            (30_004, Do::Admit(true), "half_opened"),
            (30_005, Do::Admit(false), "half_opened"),
            (30_006, Do::See(Success), "half_opened"),
            (30_007, Do::Admit(true), "half_opened"),
            (30_008, Do::Admit(false), "half_opened"),
            (30_009, Do::See(Nothing), "half_opened"),
            (30_010, Do::Admit(true), "half_opened"),
            (30_011, Do::See(Success), "half_opened"),
            (30_012, Do::Admit(true), "half_opened"),
            (30_013, Do::See(Success), "closed"),
            (30_014, Do::See(Failure), "closed"),
            (30_015, Do::Admit(true), "closed"),
        ]);
        play(&steps);
    }

    #[test]
    fn any_failure_reopens_it_and_a_probe_that_never_comes_back_does_not_block_it() {
        let mut steps = opened();
        steps.extend([
            (30_004, Do::Admit(true), "half_opened"),
            (30_005, Do::See(Success), "half_opened"),
            (30_006, Do::See(Failure), "opened"),
            (60_005, Do::Admit(false), "opened"),
            (60_006, Do::Admit(true), "half_opened"),
            (90_005, Do::Admit(false), "half_opened"),
            (90_006, Do::Admit(true), "half_opened"),
        ]);
        play(&steps);
    }

    #[test]
    fn that_of_a_provider_is_probed_soon_then_more_and_more_seldom_and_one_answer_closes_it() {
        let seen = |breaker: Breaker, seen, now| breaker.seen(seen, now, &PROVIDER);
        let mut breaker = (0..5).fold(Breaker::default(), |breaker, now| seen(breaker, Failure, now));
        let mut now = 4;
        for rest in [1_000, 2_000, 4_000, 5_000, 5_000] {
            assert_eq!(breaker.until(), now + rest);
            assert!(!breaker.admit(breaker.until() - 1).1);
            now = breaker.until();
            let (probing, passes) = breaker.admit(now);
            assert!(passes && !probing.admit(now).1);
            breaker = seen(probing, Failure, now);
        }
        let (probing, _) = breaker.admit(breaker.until());
        assert_eq!(seen(probing, Success, now), Breaker::default());
        let again = (0..5).fold(Breaker::default(), |breaker, _| seen(breaker, Failure, 0));
        assert_eq!(again.until(), 1_000, "it begins anew");
    }

    #[test]
    fn one_that_an_earlier_version_wrote_is_read() {
        let open: Breaker = serde_json::from_str(r#"{"breaker":"open","until":7}"#).unwrap();
        assert_eq!(open, Breaker::Open { until: 7, times: 0 });
    }
}
