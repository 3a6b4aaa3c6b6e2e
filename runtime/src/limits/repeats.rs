//! A request that makes no headway: the same call again and again, with the same answer each time.
//!
//! A model that does not know what to do does it once more. What tells that from honest work is the answer: polling ends
//! when the answer changes, and many calls at once are of different inputs, or are given keys of their own.

use std::collections::HashMap;

use callboard_broker::error::{Error, Result};
use callboard_broker::lineage::Link;

/// Calls that one request remembers; with more, those that were made once are forgotten.
const CALLS: usize = 1_000;

/// The calls of one request, each with its last answer.
#[derive(Debug, Default)]
pub(crate) struct Repeats(HashMap<Link, Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// What tells the last answer from others. An answer that was the only one so far has not been looked at.
    last: Option<String>,
    in_a_row: u32,
}

impl Repeats {
    /// Refuses a call that was answered the same for `limit` times in a row.
    pub(crate) fn check(&self, next: &Link, limit: u32) -> Result<()> {
        match self.0.get(next) {
            Some(answers) if answers.in_a_row >= limit.max(1) => {
                let (name, times) = (&next.capability, answers.in_a_row);
                Err(Error::Loop { cycle: format!("{name} -> {name}, {times} times with the same answer").into() })
            }
            _ => Ok(()),
        }
    }

    /// Takes note of an answer, which is only looked at when the same was asked before.
    pub(crate) fn note(&mut self, call: Link, answer: impl FnOnce() -> Option<String>) {
        if self.0.len() >= CALLS && !self.0.contains_key(&call) {
            self.0.retain(|_, answers| answers.in_a_row > 2);
        }
        if self.0.len() >= CALLS && !self.0.contains_key(&call) {
            self.0.clear();
        }
        let Some(answers) = self.0.get_mut(&call) else {
            self.0.insert(call, Answers { last: None, in_a_row: 1 });
            return;
        };
        let answer = answer();
        // Of the first answer nobody knows more than that it was one.
        let is_same = answers.last.is_none() || answers.last == answer;
        answers.in_a_row = if is_same { answers.in_a_row + 1 } else { 1 };
        answers.last = answer;
    }
}

#[cfg(test)]
mod tests {
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn link(input: &str) -> Link {
        Link { capability: CapabilityName::parse("x.a").unwrap(), input_hash: input.into() }
    }

    /// Plays calls such as `1=a`: the input 1 was answered with a. How many of them were made before one was refused.
    fn made(calls: &str, limit: u32) -> usize {
        let mut repeats = Repeats::default();
        let mut made = 0;
        for call in calls.split_whitespace() {
            let (input, answer) = call.split_once('=').unwrap();
            if repeats.check(&link(input), limit).is_err() {
                break;
            }
            repeats.note(link(input), || Some(answer.into()));
            made += 1;
        }
        made
    }

    #[test]
    fn the_same_call_is_refused_when_its_answer_was_the_same_too_often() {
        for (calls, limit, expected) in [
            ("1=a 1=a 1=a 1=a", 3, 3),
            ("1=a 1=a 1=b 1=b 1=b", 3, 5),
            ("1=a 2=a 3=a 4=a 5=a", 3, 5),
            ("1=a 2=b 1=a 2=b 1=a 2=b 1=a", 3, 6),
            ("1=a 1=a", 1, 1),
            ("1=a 1=a", 0, 1),
        ] {
            assert_eq!(made(calls, limit), expected, "{calls}");
        }
        let fifty = "1=a ".repeat(80);
        assert_eq!(made(&fifty, callboard_broker::budget::DEFAULT_REPEATS), 50);
    }

    #[test]
    fn the_refusal_names_what_goes_round_and_memory_is_bounded() {
        let mut repeats = Repeats::default();
        (0..3).for_each(|_| repeats.note(link("1"), || None));
        let refused = repeats.check(&link("1"), 3).unwrap_err().to_string();
        assert!(refused.contains("x.a -> x.a, 3 times with the same answer"), "{refused}");
        (0..5_000).for_each(|n| repeats.note(link(&n.to_string()), || None));
        assert!(repeats.0.len() <= CALLS);
        assert!(repeats.check(&link("1"), 3).is_err(), "what goes round is not forgotten");
    }
}
