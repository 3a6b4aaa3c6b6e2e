//! From a question to quotations: search, rank sentences, leave out repetitions, say what is not covered.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::index::{Hit, Index, saturate, searched};
use super::question::Question;
use super::quote::{collapse, pieces};
use super::token::{Token, tokens};
use crate::extract::clean::clean;

/// A sentence of the answer with the place that it is taken from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The sentence as the brief says it: the quotation without markup, or what an editor made of it.
    pub text: String,
    /// The document, as [`Document::source`](crate::source::Document::source).
    pub source: String,
    /// Where in it: `line 12`, `p. 3`, `table:7`.
    pub locator: String,
    /// Verbatim but for white space, at most [`QUOTE_CHARS`](super::QUOTE_CHARS) characters.
    pub quote: String,
    /// How well it answers: comparable within one question, greater is better.
    #[serde(default)]
    pub score: f32,
}

/// What the documents say to one question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// As it was asked.
    pub question: String,
    /// Quotations, best first.
    pub claims: Vec<Claim>,
    /// The share (0 to 1) of the question's terms, each weighted by how much it tells, that the best quoted paragraph has.
    pub coverage: f32,
    /// The question's terms that no quoted paragraph has, and, below [`COVERED`], those that the best one has not.
    pub not_found: Vec<String>,
}

/// The coverage from which on a question counts as answered.
pub const COVERED: f32 = 0.5;

/// How much an answer may hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Quotations; default 5.
    pub claims: usize,
    /// Passages whose sentences are compared; default 8.
    pub passages: usize,
    /// How much of one quotation's words may be in another's (0 to 1) before it is left out; default 0.7.
    pub overlap: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options { claims: 5, passages: 8, overlap: 0.7 }
    }
}

/// What a sentence earns by holding the kind of answer that the question asks for.
const EXPECTED: f32 = 1.0;

/// A sentence that may be quoted.
struct Candidate {
    entry: u32,
    quote: String,
    locator: String,
    terms: HashSet<String>,
    score: f32,
}

impl Index {
    /// Quotes what the documents say to `question`. With nothing to say it has no claims and a coverage of 0.
    pub fn answer(&self, question: &str, options: &Options) -> Answer {
        let analysed = Question::new(question);
        let terms: Vec<(&str, f32)> =
            analysed.terms.iter().map(|token| (token.term.as_str(), self.weight(&token.term))).collect();
        let hits = self.search(&terms, options.passages);
        let mut candidates: Vec<Candidate> =
            hits.iter().flat_map(|hit| self.candidates(*hit, &analysed, &terms)).collect();
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        let chosen = choose(candidates, options);
        let (coverage, not_found) = self.coverage(&analysed.terms, &chosen);
        let claims = chosen.into_iter().map(|candidate| self.claim(candidate)).collect();
        Answer { question: question.to_owned(), claims, coverage, not_found }
    }

    fn candidates(&self, hit: Hit, question: &Question, terms: &[(&str, f32)]) -> Vec<Candidate> {
        let (_, passage) = self.entry(hit.entry);
        let mut found = Vec::new();
        for range in pieces(passage) {
            let mut words = tokens(&passage.text[range.clone()]);
            let bonus = if question.expects.met(&words, &question.terms) { EXPECTED } else { 0.0 };
            words.retain(|token| !token.is_function());
            let length = words.len() as f32 / 20.0;
            let score: f32 = terms
                .iter()
                .map(|(term, weight)| {
                    let count = words.iter().filter(|token| token.term == *term).count() as f32;
                    weight * saturate(count, length)
                })
                .sum();
            found.push(Candidate {
                entry: hit.entry,
                locator: passage.locator.after(&passage.text[..range.start]).to_string(),
                quote: collapse(&passage.text[range]),
                terms: words.into_iter().map(|token| token.term).collect(),
                score: score + 0.5 * hit.score + bonus,
            });
        }
        found
    }

    fn claim(&self, candidate: Candidate) -> Claim {
        let (document, _) = self.entry(candidate.entry);
        Claim {
            text: clean(&candidate.quote),
            source: document.source.clone(),
            locator: candidate.locator,
            quote: candidate.quote,
            score: candidate.score,
        }
    }

    fn coverage(&self, terms: &[Token], chosen: &[Candidate]) -> (f32, Vec<String>) {
        let all: f32 = terms.iter().map(|token| self.weight(&token.term)).sum();
        let mut best: (f32, HashSet<String>) = (0.0, HashSet::new());
        let mut quoted: HashSet<String> = HashSet::new();
        let mut seen = HashSet::new();
        for candidate in chosen {
            if !seen.insert(candidate.entry) {
                continue;
            }
            let (_, passage) = self.entry(candidate.entry);
            let words: HashSet<String> = searched(passage).map(|token| token.term).collect();
            let share: f32 =
                terms.iter().filter(|token| words.contains(&token.term)).map(|token| self.weight(&token.term)).sum();
            quoted.extend(words.iter().cloned());
            if share > best.0 {
                best = (share, words);
            }
        }
        let coverage = if all > 0.0 { best.0 / all } else { 0.0 };
        let found = if coverage < COVERED { &best.1 } else { &quoted };
        let missing =
            terms.iter().filter(|token| !found.contains(&token.term)).map(|token| token.word.clone()).collect();
        (coverage, missing)
    }
}

/// The best candidates that are not mostly repetitions of better ones.
fn choose(candidates: Vec<Candidate>, options: &Options) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if chosen.len() == options.claims {
            break;
        }
        let repeats = chosen.iter().any(|other| overlap(&candidate.terms, &other.terms) > options.overlap);
        if !repeats {
            chosen.push(candidate);
        }
    }
    chosen
}

/// The share of the smaller set that is in the other.
fn overlap(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    let small = a.len().min(b.len());
    if small == 0 { 1.0 } else { a.intersection(b).count() as f32 / small as f32 }
}
