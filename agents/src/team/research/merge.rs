use std::cmp::Ordering;

use crate::extract::{COVERED, Claim};
use crate::team::Findings;
use crate::team::prompts::note;
use crate::team::words::words;

/// Quotations that are kept of several researchers' for one question.
const CLAIMS: usize = 8;

/// What two researchers found to the same question in different documents, as one. Scores compare within a question.
pub(in crate::team) fn merge(mut one: Findings, other: Findings) -> Findings {
    for claim in other.claims {
        if !one.claims.iter().any(|known| says_same(known, &claim)) {
            one.claims.push(claim);
        }
    }
    // Stable, so that equals keep the order in which they were found.
    one.claims.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
    one.claims.truncate(CLAIMS);
    if one.coverage.max(other.coverage) >= COVERED {
        one.not_found.retain(|term| other.not_found.contains(term));
    } else if other.coverage > one.coverage {
        one.not_found = other.not_found;
    }
    one.coverage = one.coverage.max(other.coverage);
    one.reading.add(other.reading);
    one.problems.extend(other.problems);
    other.models.into_iter().for_each(|used| note(&mut one.models, used));
    one.remarks.extend(other.remarks);
    if !one.replan.requires_replanning {
        one.replan = other.replan;
    }
    one
}

fn says_same(a: &Claim, b: &Claim) -> bool {
    a.quote == b.quote || words(&a.text) == words(&b.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(quotes: &[(&str, f32)], coverage: f32, not_found: &[&str]) -> Findings {
        let claim = |(text, score): &(&str, f32)| Claim {
            text: (*text).into(),
            source: "a.md".into(),
            locator: "line 1".into(),
            quote: (*text).into(),
            score: *score,
        };
        Findings {
            claims: quotes.iter().map(claim).collect(),
            coverage,
            not_found: not_found.iter().map(|term| (*term).into()).collect(),
            ..Findings::default()
        }
    }

    #[test]
    fn the_best_come_first_and_what_was_said_is_not_said_again() {
        let both = merge(
            findings(&[("A.", 2.0), ("B b.", 1.0)], 0.9, &["x", "y"]),
            findings(&[("b B", 3.0), ("C.", 1.5)], 0.6, &["y"]),
        );
        let texts: Vec<&str> = both.claims.iter().map(|claim| claim.text.as_str()).collect();
        assert_eq!(texts, ["A.", "C.", "B b."]);
        assert_eq!((both.coverage, both.not_found), (0.9, vec!["y".into()]));
    }

    #[test]
    fn what_is_missing_is_what_the_better_researcher_misses() {
        let both = merge(findings(&[], 0.0, &["x", "y"]), findings(&[("A.", 1.0)], 0.4, &["z"]));
        assert_eq!((both.coverage, both.not_found), (0.4, vec!["z".into()]));
    }
}
