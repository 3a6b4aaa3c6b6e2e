//! From a question to quotations: search, rank sentences, leave out repetitions, say what is not covered.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clean::clean;
use super::index::{Hit, Index};
use super::question::Question;
use super::quote::{QUOTE_CHARS, collapse};
use super::rank::{Ranked, rank};
use crate::source::{Passage, Unit};

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
    /// How well it answers: comparable within one question, also between indexes; greater is better.
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
    /// The question's terms that no quoted paragraph has. Below [`COVERED`](super::COVERED) never empty: if each term is
    /// somewhere, those that the best paragraph has not.
    pub not_found: Vec<String>,
}

/// Words from which on a question is a sentence.
const SENTENCE: usize = 4;
/// What a likely variant of a term that no document has counts in the search.
const VARIANT: f32 = 0.5;

/// How much an answer may hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Quotations; default 5.
    pub claims: usize,
    /// Passages whose sentences are compared; default 8.
    pub passages: usize,
    /// The share of the best one's score below which a sentence is not quoted; default 0.5.
    pub share: f32,
    /// How much of one quotation's words may be in another's (0 to 1) before it is left out; default 0.7.
    pub overlap: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options { claims: 5, passages: 8, share: 0.5, overlap: 0.7 }
    }
}

/// A sentence that may be quoted.
struct Candidate {
    entry: u32,
    text: String,
    quote: String,
    locator: String,
    terms: HashSet<String>,
    score: f32,
}

impl Index {
    /// Quotes what the documents say to `question`. With nothing to say it has no claims and a coverage of 0.
    pub fn answer(&self, question: &str, options: &Options) -> Answer {
        let analysed = Question::new(question);
        let weights: Vec<f32> = analysed.terms.iter().map(|token| self.weight(&token.term)).collect();
        let mut terms: Vec<(&str, f32)> = Vec::new();
        for (token, weight) in analysed.terms.iter().zip(&weights) {
            terms.push((&token.term, *weight));
            terms.extend(self.variants(token).into_iter().map(|term| (term, VARIANT * self.weight(term))));
        }
        let hits = self.search(&terms, options.passages);
        let mut candidates: Vec<Candidate> =
            hits.iter().flat_map(|hit| self.candidates(*hit, &analysed, &weights)).collect();
        candidates.retain(|candidate| !repeats_the_question(&candidate.quote, question));
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        let chosen = choose(candidates, options);
        let entries: Vec<u32> = chosen.iter().map(|candidate| candidate.entry).collect();
        let (coverage, not_found) = self.coverage(&analysed.terms, &entries);
        let claims = chosen.into_iter().map(|candidate| self.claim(candidate)).collect();
        Answer { question: question.to_owned(), claims, coverage, not_found }
    }

    fn candidates(&self, hit: Hit, question: &Question, weights: &[f32]) -> Vec<Candidate> {
        let (_, passage) = self.entry(hit.entry);
        let candidate = |ranked: Ranked| Candidate {
            entry: hit.entry,
            locator: passage.locator.after(&passage.text[..ranked.range.start]).to_string(),
            text: said(passage, &passage.text[ranked.range.clone()]),
            quote: collapse(&passage.text[ranked.range]),
            terms: ranked.words.into_iter().filter(|token| !token.function).map(|token| token.term).collect(),
            score: ranked.score,
        };
        rank(passage, hit.score, question, weights).into_iter().map(candidate).collect()
    }

    fn claim(&self, candidate: Candidate) -> Claim {
        let (document, _) = self.entry(candidate.entry);
        Claim {
            text: candidate.text,
            source: document.source.clone(),
            locator: candidate.locator,
            quote: candidate.quote,
            score: candidate.score,
        }
    }
}

/// Whether a quotation has all of the question in it, as a heading or a command has: it is no answer. A few words are no
/// question but a subject, which an answer may well have.
fn repeats_the_question(quote: &str, question: &str) -> bool {
    let question = collapse(question).to_lowercase();
    question.split(' ').count() >= SENTENCE && quote.to_lowercase().contains(question.trim_end_matches(['?', '.', ' ']))
}

/// A quotation as the brief says it. A cell says nothing without its row, as far as that is no longer than a quotation.
fn said(passage: &Passage, quote: &str) -> String {
    let row = collapse(&passage.text);
    let whole = passage.unit == Unit::Cell && row.chars().count() <= QUOTE_CHARS;
    if whole { row } else { clean(&collapse(quote)) }
}

/// The best candidates that are not mostly repetitions of better ones.
fn choose(candidates: Vec<Candidate>, options: &Options) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    let least = options.share * candidates.first().map_or(0.0, |best| best.score);
    for candidate in candidates.into_iter().take_while(|candidate| candidate.score >= least) {
        if chosen.len() == options.claims {
            break;
        }
        let repeats = chosen.iter().any(|other| {
            overlap(&candidate.terms, &other.terms) > options.overlap && !differ(&candidate.terms, &other.terms)
        });
        if !repeats {
            chosen.push(candidate);
        }
    }
    chosen
}

/// Whether each has a number that the other has not: then the second is another fact, or contradicts the first.
fn differ(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    let own = |a: &HashSet<String>, b: &HashSet<String>| {
        a.difference(b).any(|term| term.starts_with(|c: char| c.is_ascii_digit()))
    };
    own(a, b) && own(b, a)
}

/// The share of the smaller set that is in the other.
fn overlap(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    let small = a.len().min(b.len());
    if small == 0 { 1.0 } else { a.intersection(b).count() as f32 / small as f32 }
}
