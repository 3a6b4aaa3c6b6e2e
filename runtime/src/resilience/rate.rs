//! A rate that many keep together: pure, with the time passed in.
//!
//! What is shared is when the next may begin (GCRA, the theoretical arrival time), for requests and for tokens. Who wants
//! to begin takes that moment and moves it on by what it takes. So each begins at a moment of its own, as far from the one
//! before as the rate says, and no window of a minute has more of them than are allowed, however many nodes take some.

use callboard_agents::llm::Rate;
use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch: at 6,000 a minute the moments are 10 ms apart, and must not drift.
pub type Micros = u64;

/// A minute.
const MINUTE: u128 = 60_000_000;

/// Where a rate stands, as an entry of shared state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// When the next request may begin, as far as requests are counted.
    pub requests: Micros,
    /// The same, as far as tokens are.
    pub tokens: Micros,
    /// Nobody begins before then: the provider wants to be left alone.
    pub rest: Micros,
}

/// How long so many take at this rate, rounded up so that it is never exceeded.
fn takes(many: u64, rate: Option<u64>) -> Micros {
    let Some(rate) = rate else { return 0 };
    u64::try_from((u128::from(many) * MINUTE).div_ceil(u128::from(rate.max(1)))).unwrap_or(u64::MAX)
}

impl Standing {
    /// When the next may begin.
    pub fn next(&self, now: Micros) -> Micros {
        now.max(self.requests).max(self.tokens).max(self.rest)
    }

    /// The moments at which these may begin, each with the tokens that it may take, and where the rate stands after that:
    /// those of one `slice` from the first on, and none after `latest`.
    pub fn lease(
        mut self,
        rate: &Rate,
        wants: &[u64],
        now: Micros,
        slice: Micros,
        latest: Micros,
    ) -> (Self, Vec<Micros>) {
        let first = self.next(now);
        let mut moments = Vec::new();
        for tokens in wants {
            let at = self.next(now);
            if at > latest || at > first.saturating_add(slice) {
                break;
            }
            if rate.requests.is_some() {
                self.requests = at.saturating_add(takes(1, rate.requests));
            }
            if rate.tokens.is_some() {
                self.tokens = at.saturating_add(takes(*tokens, rate.tokens));
            }
            moments.push(at);
        }
        (self, moments)
    }

    /// What was leased took fewer tokens, or more.
    pub fn correct(self, rate: &Rate, leased: u64, used: u64) -> Self {
        let tokens = match used <= leased {
            true => self.tokens.saturating_sub(takes(leased - used, rate.tokens)),
            false => self.tokens.saturating_add(takes(used - leased, rate.tokens)),
        };
        Self { tokens, ..self }
    }

    /// Nobody begins before then.
    pub fn rest(self, until: Micros) -> Self {
        Self { rest: self.rest.max(until), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;
    const EVER: Micros = Micros::MAX;

    fn requests(a_minute: u64) -> Rate {
        Rate { requests: Some(a_minute), tokens: None }
    }

    #[test]
    fn each_begins_as_long_after_the_one_before_as_the_rate_says() {
        let (standing, moments) = Standing::default().lease(&requests(120), &[0; 9], SECOND, SECOND, EVER);
        assert_eq!(moments, [SECOND, SECOND * 3 / 2, SECOND * 2], "of one slice");
        let (standing, moments) = standing.lease(&requests(120), &[0], SECOND, SECOND, EVER);
        assert_eq!(moments, [SECOND * 5 / 2], "another node goes on where this one ended");
        let (_, moments) = standing.lease(&requests(120), &[0], 60 * SECOND, SECOND, EVER);
        assert_eq!(moments, [60 * SECOND], "what was not used is not made up for");
        let (same, none) = standing.lease(&requests(120), &[0], SECOND, SECOND, 2 * SECOND);
        assert_eq!((same, none.len()), (standing, 0));
    }

    #[test]
    fn tokens_are_waited_for_by_the_next_and_corrected_by_what_was_used() {
        let rate = Rate { requests: None, tokens: Some(6_000) };
        let (standing, moments) = Standing::default().lease(&rate, &[300, 100, 100], 0, 5 * SECOND, EVER);
        assert_eq!(moments, [0, 3 * SECOND, 4 * SECOND]);
        assert_eq!(standing.next(0), 5 * SECOND);
        assert_eq!(standing.correct(&rate, 300, 100).next(0), 3 * SECOND);
        assert_eq!(standing.correct(&rate, 100, 200).next(0), 6 * SECOND);
    }

    #[test]
    fn a_rest_is_for_all_and_never_made_shorter() {
        let standing = Standing::default().rest(7 * SECOND).rest(2 * SECOND);
        let (after, moments) = standing.lease(&requests(60), &[0, 0], SECOND, SECOND, EVER);
        assert_eq!(moments, [7 * SECOND, 8 * SECOND]);
        assert_eq!(after.next(0), 9 * SECOND);
        assert_eq!(standing.lease(&Rate::default(), &[9, 9], 0, 0, EVER).1, [7 * SECOND; 2], "also without a rate");
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_are_allowed(
            a_minute in 1u64..2_000, each in 1u64..500,
            takes in proptest::collection::vec((0u64..3_000_000, 1usize..20), 1..200),
        ) {
            let rate = Rate { requests: Some(a_minute), tokens: Some(each * a_minute) };
            let (mut standing, mut all, mut now) = (Standing::default(), Vec::new(), 0);
            for (later, wants) in takes {
                now += later;
                let (after, mut moments) = standing.lease(&rate, &vec![each; wants], now, SECOND / 2, EVER);
                prop_assert!(!moments.is_empty() && moments.iter().all(|at| *at >= now));
                standing = after;
                all.append(&mut moments);
            }
            for (n, at) in all.iter().enumerate() {
                let within = all[n..].iter().take_while(|later| **later < at + 60 * SECOND).count() as u64;
                prop_assert!(within <= a_minute, "{within} of {a_minute}");
            }
        }
    }
}
