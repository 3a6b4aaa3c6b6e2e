//! The fact check against what a claim cites in the indexed documents.

use super::{Verdict, check};
use crate::extract::Index;
use crate::extract::token::tokens;
use crate::source::{Document, Passage};

/// Passages of a whole document that a sentence is compared with: those that share most words with it.
const PASSAGES: usize = 8;

impl Index {
    /// Checks `sentence` against the passage of `source` at `locator`; against the whole document where the locator is
    /// empty or points at no passage. A source that was not indexed covers nothing.
    pub fn check(&self, sentence: &str, source: &str, locator: &str) -> Verdict {
        let Some(document) = self.documents().iter().find(|document| document.source == source) else {
            return Verdict::Dropped { why: format!("there is no source {source}") };
        };
        check(sentence, &cited(document, sentence, locator))
    }
}

fn cited<'a>(document: &'a Document, sentence: &str, locator: &str) -> Vec<&'a str> {
    let at: Vec<&Passage> = document.passages.iter().filter(|passage| passage.is_at(locator)).collect();
    let chosen = if at.is_empty() { closest(document, sentence) } else { at };
    chosen.into_iter().map(|passage| passage.text.as_str()).collect()
}

fn closest<'a>(document: &'a Document, sentence: &str) -> Vec<&'a Passage> {
    if document.passages.len() <= PASSAGES {
        return document.passages.iter().collect();
    }
    let said = tokens(sentence);
    let shared = |passage: &Passage| {
        let words = tokens(&passage.text);
        said.iter().filter(|token| !token.function && words.iter().any(|word| word.term == token.term)).count()
    };
    let mut ranked: Vec<(usize, &Passage)> =
        document.passages.iter().map(|passage| (shared(passage), passage)).collect();
    ranked.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    ranked.into_iter().take(PASSAGES).map(|(_, passage)| passage).collect()
}
