//! How much of a question the quoted paragraphs cover, and what of it they do not.
//!
//! Terms alone would say that any page about a river covers every question about that river; so two neighbouring terms
//! of the question count once more when they are found near one another.

use std::collections::HashSet;

use super::index::{Index, searched};
use super::token::{Token, akin};

/// The coverage from which on a question counts as answered.
pub const COVERED: f32 = 0.5;
/// What a pair of neighbouring terms counts of the lesser one's weight, and within how many words it must be found.
const PAIR: f32 = 0.3;
const NEAR: usize = 20;
/// What a term counts of which only a word of the same family is found.
const AKIN: f32 = 0.5;

impl Index {
    /// The share (0 to 1) of the terms that the best of these passages has, and the terms that count as not found: those in
    /// none of the passages, or, if each is somewhere and the share still below [`COVERED`], those not in the best one.
    pub(crate) fn coverage(&self, terms: &[Token], entries: &[u32]) -> (f32, Vec<String>) {
        let weights: Vec<f32> = terms.iter().map(|term| self.weight(&term.term)).collect();
        let all = weights.iter().sum::<f32>() + weights.windows(2).map(pair).sum::<f32>();
        let (mut best, mut found_in_best) = (0.0, HashSet::new());
        let mut found_in_any = HashSet::new();
        let mut seen = HashSet::new();
        for entry in entries.iter().filter(|entry| seen.insert(**entry)) {
            let words: Vec<Token> = searched(self.entry(*entry).1).collect();
            let (sum, found) = covered(terms, &weights, &words);
            found_in_any.extend(found.iter().copied());
            if sum > best {
                (best, found_in_best) = (sum, found);
            }
        }
        let share = if all > 0.0 { best / all } else { 0.0 };
        let without = |found: &HashSet<usize>| -> Vec<String> {
            (0..terms.len()).filter(|at| !found.contains(at)).map(|at| terms[at].word.clone()).collect()
        };
        let missing = without(&found_in_any);
        let scattered = missing.is_empty() && share < COVERED;
        (share, if scattered { without(&found_in_best) } else { missing })
    }
}

fn pair(weights: &[f32]) -> f32 {
    PAIR * weights[0].min(weights[1])
}

/// The weight of what `words` cover, and which terms they are.
fn covered(terms: &[Token], weights: &[f32], words: &[Token]) -> (f32, HashSet<usize>) {
    let place = |term: &Token| (0..words.len()).filter(|at| words[*at].term == term.term).collect::<Vec<_>>();
    let places: Vec<Vec<usize>> = terms.iter().map(place).collect();
    let near = |a: &[usize], b: &[usize]| a.iter().any(|a| b.iter().any(|b| a.abs_diff(*b) <= NEAR));
    let mut found = HashSet::new();
    let mut sum = 0.0;
    for (at, term) in terms.iter().enumerate() {
        if !places[at].is_empty() {
            sum += weights[at];
            found.insert(at);
        } else if words.iter().any(|word| akin(word, term)) {
            sum += AKIN * weights[at];
            found.insert(at);
        }
        if at > 0 && near(&places[at - 1], &places[at]) {
            sum += pair(&weights[at - 1..=at]);
        }
    }
    (sum, found)
}

#[cfg(test)]
mod tests {
    use super::super::question::Question;
    use super::*;
    use crate::source::{Document, Kind, Locator, Passage, Unit};

    fn index(texts: &[&str]) -> Index {
        let passage = |text: &&str| Passage {
            text: (*text).to_owned(),
            locator: Locator::Line(1),
            unit: Unit::Sentence,
            context: String::new(),
        };
        let passages = texts.iter().map(passage).collect();
        Index::new(vec![Document { source: "a".to_owned(), kind: Kind::Text, passages }])
    }

    fn coverage(texts: &[&str], question: &str) -> (f32, Vec<String>) {
        let entries: Vec<u32> = (0..texts.len() as u32).collect();
        index(texts).coverage(&Question::new(question).terms, &entries)
    }

    #[test]
    fn a_term_that_no_document_has_counts_most() {
        let (share, missing) = coverage(&["The river floods.", "The river dries."], "Does the river freeze?");
        assert!(share > 0.0 && share < 0.5, "{share}");
        assert_eq!(missing, ["freeze"]);
    }

    #[test]
    fn terms_that_stand_apart_cover_less() {
        let apart = format!("Condensers are cold. {} The temperature rises.", "Filler goes on and on. ".repeat(8));
        let (near, _) = coverage(&["The condenser temperature rises."], "condenser temperature");
        let (far, missing) = coverage(&[&apart], "condenser temperature");
        assert!(near == 1.0 && far < 0.9, "{near} {far}");
        assert!(missing.is_empty());
    }

    #[test]
    fn nothing_quoted_covers_nothing() {
        assert_eq!(index(&["x"]).coverage(&Question::new("river").terms, &[]), (0.0, vec!["river".to_owned()]));
        assert_eq!(index(&[]).coverage(&[], &[]), (0.0, vec![]));
    }
}
