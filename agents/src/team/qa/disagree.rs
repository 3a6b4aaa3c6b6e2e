//! Sources that contradict each other, as far as words tell. Pure.
//!
//! Two sentences of different documents that say the same but for a number contradict each other; that they may both
//! be right (about different things of one name) is for the reader to see, so both stay and the pair is listed.

use std::collections::HashSet;

use crate::extract::Claim;
use crate::team::Disagreement;
use crate::team::words::{is_number, shared, telling};

/// How much of the shorter claim's other telling words the longer one has at least, and how many those are.
const ALIKE: f32 = 0.75;
const ENOUGH: usize = 3;

/// The pairs of claims that differ in a number only, in the order of the claims.
pub(super) fn disagreements(claims: &[Claim]) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for (at, one) in claims.iter().enumerate() {
        for (further, other) in claims.iter().enumerate().skip(at + 1) {
            if one.source != other.source
                && let Some(about) = differ(&one.quote, &other.quote)
            {
                found.push(Disagreement { claims: [at + 1, further + 1], about });
            }
        }
    }
    found
}

/// What two sentences about the same thing differ in.
fn differ(one: &str, other: &str) -> Option<String> {
    let parts = |text: &str| telling(text).into_iter().partition::<HashSet<String>, _>(|word| is_number(word));
    let ((numbers, words), (others, other_words)) = (parts(one), parts(other));
    if words.len().min(other_words.len()) < ENOUGH || shared(&words, &other_words) < ALIKE {
        return None;
    }
    let only = |a: &HashSet<String>, b: &HashSet<String>| -> Option<String> {
        let mut differing = a.difference(b);
        let first = differing.next()?.clone();
        differing.next().is_none().then_some(first)
    };
    Some(format!("{} or {}", only(&numbers, &others)?, only(&others, &numbers)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(source: &str, quote: &str) -> Claim {
        Claim { text: quote.into(), source: source.into(), locator: "line 1".into(), quote: quote.into(), score: 1.0 }
    }

    #[test]
    fn two_documents_with_two_years_for_one_thing_disagree() {
        let claims = [
            claim("a", "The mill was built in 1843 by Braun."),
            claim("b", "A fire destroyed the church."),
            claim("c", "In 1844 the mill was built by Tom Braun, and it has stood there since."),
        ];
        let found = disagreements(&claims);
        assert_eq!((found.len(), found[0].claims, found[0].about.as_str()), (1, [1, 3], "1843 or 1844"));
    }

    #[test]
    fn what_is_about_something_else_or_agrees_does_not() {
        let mill = "The old mill was built by Braun in 1843.";
        for other in [mill, "The new school was opened in 1901.", "The old mill was built by Braun.", "Built 1844."] {
            assert_eq!(disagreements(&[claim("a", mill), claim("b", other)]), [], "{other}");
        }
        assert_eq!(disagreements(&[claim("a", mill), claim("a", "The old mill was built by Braun in 1844.")]), []);
    }
}
