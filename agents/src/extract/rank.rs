//! Which sentences of a passage answer a question best.
//!
//! A sentence is judged by the question's terms in it; by its passage, because the sentences around an answer often name
//! what it is about; and by holding the kind of answer that is asked for. The weights were tried on XQuAD (see
//! `tests/tests/xquad.rs`), where each of them earns between half a point and two.

use std::ops::Range;

use super::question::Question;
use super::quote::{Piece, pieces};
use super::token::{Token, akin, tokens};
use crate::source::{Passage, Unit};

/// What a sentence gets of its passage's score.
const PASSAGE: f32 = 0.55;
/// What it gets, in shares of the weight of all terms, for the kind of answer that is asked for.
const EXPECTED: f32 = 0.2;
/// The same for saying what something is when that is asked.
const DEFINES: f32 = 0.15;
/// What a term in the sentence before counts, when this one begins by referring back, and otherwise.
const REFERRED: f32 = 0.65;
const BEFORE: f32 = 0.4;
/// How much less a term counts that is in every sentence of the passage.
const COMMON: f32 = 0.6;
/// What two terms that follow one another as in the question add of the lesser one's weight.
const PAIR: f32 = 0.1;
/// What a word of the same family counts.
const AKIN: f32 = 0.65;
/// What a cell gets, in shares of the weight of all terms, for a column that the question names, and loses for saying
/// nothing that the question has not said.
const COLUMN: f32 = 0.5;
const ECHO: f32 = 0.5;
/// What a line of code and a heading are worth of a sentence.
const CODE: f32 = 0.6;
const TITLE: f32 = 0.4;
/// Saturation, weight of the length, and the usual length of a sentence in words of content.
const K1: f32 = 0.9;
const B: f32 = 0.36;
const LENGTH: f32 = 30.0;

/// A piece of a passage with its score, in shares of the weight of all terms, so that it compares between indexes.
pub(crate) struct Ranked {
    pub(crate) range: Range<usize>,
    pub(crate) words: Vec<Token>,
    pub(crate) score: f32,
}

/// The pieces of a passage that scored `passage_score` as a whole; `weights` are those of the question's terms.
pub(crate) fn rank(passage: &Passage, passage_score: f32, question: &Question, weights: &[f32]) -> Vec<Ranked> {
    let found: Vec<(Piece, Vec<Token>)> = pieces(passage)
        .into_iter()
        .map(|piece| (tokens(&passage.text[piece.judged.clone()]), piece))
        .map(|(words, piece)| (piece, words))
        .collect();
    let matches: Vec<Vec<f32>> = found.iter().map(|(_, words)| matches(words, &question.terms)).collect();
    let common: Vec<f32> = (0..weights.len())
        .map(|term| matches.iter().filter(|row| row[term] > 0.0).count() as f32 / matches.len() as f32)
        .map(|share| if matches.len() > 1 { 1.0 - COMMON * share } else { 1.0 })
        .collect();
    let all: f32 = weights.iter().sum();
    let mut ranked = Vec::new();
    for (at, (piece, words)) in found.into_iter().enumerate() {
        let carried = match at {
            0 => None,
            _ => Some((if refers_back(&words) { REFERRED } else { BEFORE }, &matches[at - 1])),
        };
        let own = weights.iter().enumerate().map(|(term, weight)| {
            let before = carried.map_or(0.0, |(share, row)| share * row[term]);
            weight * common[term] * matches[at][term].max(before)
        });
        let mut score = own.sum::<f32>() + PASSAGE * passage_score + PAIR * pairs(&words, &question.terms, weights);
        score += EXPECTED * all * question.expects.met(&words, &question.terms);
        if question.asks_meaning && defines(&words, &question.terms) {
            score += DEFINES * all;
        }
        if passage.unit == Unit::Cell {
            score += all * cell(&piece, &words, &question.terms);
        }
        score *= standing(passage.unit) / all.max(f32::MIN_POSITIVE);
        ranked.push(Ranked { range: piece.quote, words, score });
    }
    ranked
}

/// How much each term is met by a piece: by its own word, or in part by one of its family.
fn matches(words: &[Token], terms: &[Token]) -> Vec<f32> {
    let length = words.iter().filter(|token| !token.function).count() as f32 / LENGTH;
    let saturate = |count: f32| count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
    let met = |term: &Token| match words.iter().filter(|token| token.term == term.term).count() {
        0 if words.iter().any(|token| akin(token, term)) => AKIN * saturate(1.0),
        count => saturate(count as f32),
    };
    terms.iter().map(met).collect()
}

/// What a piece is worth beside a sentence with the same words: code shows and a heading names, neither answers.
fn standing(unit: Unit) -> f32 {
    match unit {
        Unit::Sentence | Unit::Whole | Unit::Cell => 1.0,
        Unit::Line => CODE,
        Unit::Title => TITLE,
    }
}

/// How a cell answers: terms tell little here, since every row has the same columns.
fn cell(piece: &Piece, words: &[Token], terms: &[Token]) -> f32 {
    let asked = |word: &&Token| terms.iter().any(|term| term.term == word.term || akin(term, word));
    let (column, value): (Vec<&Token>, Vec<&Token>) =
        words.iter().partition(|word| piece.judged.start + word.at.start < piece.quote.start);
    let named = if column.iter().any(asked) { COLUMN } else { 0.0 };
    if value.iter().filter(|word| !word.function).all(asked) { named - ECHO } else { named }
}

/// Whether a sentence begins with a word that stands for something before it.
fn refers_back(words: &[Token]) -> bool {
    words.iter().take(3).any(|token| BACK.contains(&token.word.as_str()))
}

const BACK: &[&str] =
    &["it", "its", "he", "his", "him", "she", "her", "they", "their", "them", "this", "these", "that", "those", "such"];

/// The weight of the terms that follow one another in the question and here.
fn pairs(words: &[Token], terms: &[Token], weights: &[f32]) -> f32 {
    let content: Vec<&str> = words.iter().filter(|token| !token.function).map(|token| token.term.as_str()).collect();
    let adjacent = |pair: &[Token]| content.windows(2).any(|here| here[0] == pair[0].term && here[1] == pair[1].term);
    let lesser = |at: usize| weights[at].min(weights[at + 1]);
    terms.windows(2).enumerate().filter(|(_, pair)| adjacent(pair)).map(|(at, _)| lesser(at)).sum()
}

/// Whether a sentence says early what one of the terms is.
fn defines(words: &[Token], terms: &[Token]) -> bool {
    let says = |word: &str| matches!(word, "is" | "are" | "was" | "were" | "refers" | "means");
    words.windows(2).take(8).any(|pair| says(&pair[1].word) && terms.iter().any(|term| term.term == pair[0].term))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{CELL_END, Locator};

    fn best(text: &str, question: &str) -> String {
        best_of(Unit::Sentence, text, question)
    }

    fn best_of(unit: Unit, text: &str, question: &str) -> String {
        let passage = Passage { text: text.to_owned(), locator: Locator::Line(1), unit, context: String::new() };
        let question = Question::new(question);
        let weights = vec![1.0; question.terms.len()];
        let ranked = rank(&passage, 1.0, &question, &weights);
        let best = ranked.into_iter().max_by(|a, b| a.score.total_cmp(&b.score)).expect("a sentence");
        text[best.range].to_owned()
    }

    #[test]
    fn a_sentence_that_refers_back_inherits_what_it_refers_to() {
        let text = "The exchange was closed by the war. It came back in April 1991. Banks were private.";
        assert_eq!(best(text, "When did the exchange come back?"), "It came back in April 1991.");
    }

    #[test]
    fn the_kind_of_answer_decides_between_equals() {
        let text = "The bridge was built by many hands. The bridge was built in 1843.";
        assert_eq!(best(text, "When was the bridge built?"), "The bridge was built in 1843.");
    }

    #[test]
    fn what_something_is_is_said_by_its_definition() {
        let text = "Workers like the mailbox. A mailbox is a bounded queue of calls. The mailbox may be full.";
        assert_eq!(best(text, "What is a mailbox?"), "A mailbox is a bounded queue of calls.");
    }

    #[test]
    fn of_a_row_the_cell_answers_whose_column_is_asked_for() {
        let row = ["planet: Uranus", "diameter_km: 50724", "discovered_by: William Herschel"].join(CELL_END);
        assert_eq!(best_of(Unit::Cell, &row, "Who discovered the planet Uranus?"), "William Herschel");
        assert_eq!(best_of(Unit::Cell, &row, "What is the diameter of Uranus?"), "50724");
    }
}
