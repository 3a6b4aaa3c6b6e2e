//! What a question asks for: its parts and its terms.

use std::collections::HashSet;

use super::expects::Expects;
use super::sentence::sentences;
use super::token::{Token, tokens};

/// The questions in a text, so that each can be researched on its own. A text without a question mark is one question;
/// statements before a question belong to it.
pub fn split(ask: &str) -> Vec<String> {
    let mut questions = Vec::new();
    let mut open = String::new();
    for range in sentences(ask) {
        let sentence = &ask[range];
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(sentence);
        if sentence.trim_end_matches(['"', '\'', ')', '*', '_', '\u{201d}']).ends_with(['?', '\u{ff1f}']) {
            questions.push(std::mem::take(&mut open));
        }
    }
    match questions.last_mut() {
        Some(last) if !open.is_empty() => {
            last.push(' ');
            last.push_str(&open);
        }
        None if !open.is_empty() => questions.push(open),
        _ => {}
    }
    questions
}

/// A question, analysed.
#[derive(Debug)]
pub(crate) struct Question {
    /// Words of content without repetition, in order.
    pub(crate) terms: Vec<Token>,
    pub(crate) expects: Expects,
    /// Whether it asks what something is.
    pub(crate) asks_meaning: bool,
}

impl Question {
    pub(crate) fn new(text: &str) -> Question {
        let all = tokens(text);
        let expects = Expects::of(&all);
        let mut seen = HashSet::new();
        let content = |at: &usize| !all[*at].function && !asks(&all, *at);
        let mut terms: Vec<Token> = (0..all.len())
            .filter(content)
            .map(|at| all[at].clone())
            .filter(|token| seen.insert(token.term.clone()))
            .collect();
        if terms.is_empty() {
            // Only function words: better to search for them than for nothing.
            terms = all.iter().filter(|token| seen.insert(token.term.clone())).cloned().collect();
        }
        let asks_meaning = terms.len() <= 3 && asks_meaning(&all);
        Question { terms, expects, asks_meaning }
    }
}

/// Whether a word says how the question is to be answered, which no document does: `explain`, or `large` after `how`.
fn asks(all: &[Token], at: usize) -> bool {
    let how = at > 0 && all[at - 1].word == "how";
    ASKS.contains(&all[at].word.as_str()) || how && MEASURES.contains(&all[at].word.as_str())
}

const ASKS: &[&str] = &[
    "happen",
    "happens",
    "happened",
    "tell",
    "explain",
    "describe",
    "please",
    "list",
    "give",
    "summarize",
    "summarise",
    "mean",
    "means",
];
const MEASURES: &[&str] = &[
    "many", "large", "big", "long", "old", "tall", "far", "high", "fast", "often", "deep", "wide", "heavy", "strong",
    "likely",
];

/// "What is ..." and the like; whether that is all of it is told by the number of terms.
fn asks_meaning(all: &[Token]) -> bool {
    let [first, second, ..] = all else { return false };
    let is = matches!(second.word.as_str(), "is" | "are" | "was" | "were" | "does");
    is && matches!(first.word.as_str(), "what" | "who")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_taken_alone_with_what_leads_to_it() {
        assert_eq!(split("Who wrote it? When was it written?"), ["Who wrote it?", "When was it written?"]);
        assert_eq!(split("It was late. Who wrote it? Be short."), ["It was late. Who wrote it? Be short."]);
        assert_eq!(split("supervisor restarts"), ["supervisor restarts"]);
        assert_eq!(split("  "), Vec::<String>::new());
    }

    #[test]
    fn terms_are_content_words_once() {
        let question = Question::new("What do supervisors restart when a supervisor dies?");
        let words: Vec<&str> = question.terms.iter().map(|token| token.word.as_str()).collect();
        assert_eq!(words, ["supervisors", "restart", "dies"]);
    }
}
