//! Whether a sentence is covered by the text that it cites.
//!
//! A sentence that somebody shortened, merged or reordered is still true; one with a number or a name changed is not, even
//! if the other number stands elsewhere in the same paragraph. So it is not enough that every word is in the source: each
//! name and number must stand among the same neighbours there, or at least no other one may fit its place better.

mod negation;
mod slots;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expects::is_number;
use super::token::{Token, tokens};
use slots::{Mention, better_fit, mentions};

/// The share of a sentence's words of content that its source must have.
const COVERED: f32 = 0.75;

/// What became of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The source covers it.
    Kept,
    /// The source does not.
    Dropped {
        /// A lowercase phrase that names the word, for instance `the number 1843 is not in its source`.
        why: String,
    },
}

impl Verdict {
    /// Whether the sentence was kept.
    pub fn is_kept(&self) -> bool {
        *self == Verdict::Kept
    }
}

/// Checks `sentence` against the paragraphs that it cites, taken together.
pub fn check<S: AsRef<str>>(sentence: &str, sources: &[S]) -> Verdict {
    let source = Source::new(sources);
    match objection(&words(sentence), &source) {
        None => Verdict::Kept,
        Some(why) => Verdict::Dropped { why },
    }
}

fn objection(said: &[Word], source: &Source) -> Option<String> {
    if said.is_empty() {
        return Some("it says nothing".to_owned());
    }
    if source.says(said) {
        return None;
    }
    let exact: Vec<bool> = said.iter().map(|word| source.is_exact(word)).collect();
    let has = |at: usize| source.has(&said[at], exact[at]);
    if let Some(at) = (0..said.len()).find(|at| exact[*at] && !has(*at)) {
        return Some(format!("the {} {} is not in its source", said[at].kind(), said[at].token.word));
    }
    let content: Vec<usize> = (0..said.len()).filter(|at| !said[*at].token.function).collect();
    let missing: Vec<usize> = content.iter().copied().filter(|at| !has(*at)).collect();
    if missing.len() as f32 > (1.0 - COVERED) * content.len() as f32 {
        return Some(format!("its source says too little of it, for instance not {}", said[missing[0]].token.word));
    }
    if let Some(why) = negation::objection(said, &source.words) {
        return Some(why);
    }
    mentions(said, &exact).into_iter().find_map(|mention| misplaced(said, &mention, source))
}

fn misplaced(said: &[Word], mention: &Mention, source: &Source) -> Option<String> {
    let other = better_fit(said, mention, source)?;
    let here = said[mention.clone()].iter().map(|word| word.token.word.as_str()).collect::<Vec<_>>().join(" ");
    Some(format!("its source has {other} where it has the {} {here}", said[mention.start].kind()))
}

/// A token with what stands before it.
#[derive(Clone, Debug)]
struct Word {
    token: Token,
    /// Whether a sentence begins with it.
    opens: bool,
    /// Whether its capital tells nothing: after a sentence end, a colon or an opening quotation mark.
    first: bool,
    /// Whether punctuation other than a hyphen or the point of an initial is between it and the word before.
    apart: bool,
}

impl Word {
    fn kind(&self) -> &'static str {
        if is_number(&self.token) { "number" } else { "name" }
    }
}

fn words(text: &str) -> Vec<Word> {
    let mut end = 0;
    let mut found: Vec<Word> = Vec::new();
    for token in tokens(text) {
        let between = &text[end..token.at.start];
        let initial = found.last().is_some_and(|word| word.token.capital && word.token.word.chars().count() <= 2);
        let stop = |c: char| matches!(c, '.' | '!' | '?') && !(c == '.' && initial);
        let joins =
            |c: char| c.is_whitespace() || matches!(c, '-' | '\u{2013}' | '\'' | '\u{2019}') || c == '.' && initial;
        let opens = found.is_empty() || between.contains(stop) && (token.capital || token.digit);
        let first = opens || between.contains([':', '"', '\u{201c}', '\n']);
        end = token.at.end;
        found.push(Word { token, opens, first, apart: opens || !between.chars().all(joins) });
    }
    found
}

/// The cited text.
struct Source {
    words: Vec<Word>,
    /// Which of them must be taken exactly.
    exact: Vec<bool>,
    terms: HashSet<String>,
    /// Every word as it is, and those that occur without a capital.
    all: HashSet<String>,
    small: HashSet<String>,
}

impl Source {
    fn new<S: AsRef<str>>(sources: &[S]) -> Source {
        let words: Vec<Word> = sources.iter().flat_map(|text| words(text.as_ref())).collect();
        let set = |of: &dyn Fn(&Token) -> Option<String>| words.iter().filter_map(|word| of(&word.token)).collect();
        let mut source = Source {
            terms: set(&|token| Some(token.term.clone())),
            all: set(&|token| Some(token.word.clone())),
            small: set(&|token| (!token.capital).then(|| token.word.clone())),
            exact: Vec::new(),
            words: Vec::new(),
        };
        source.exact = words.iter().map(|word| source.is_exact(word)).collect();
        source.words = words;
        source
    }

    /// Whether it has just these words in this order.
    fn says(&self, said: &[Word]) -> bool {
        let same = |at: &[Word]| at.iter().zip(said).all(|(a, b)| a.token.word == b.token.word);
        self.words.windows(said.len()).any(same)
    }

    fn has(&self, word: &Word, exact: bool) -> bool {
        if exact { self.all.contains(&word.token.word) } else { self.terms.contains(&word.token.term) }
    }

    /// Whether a word must be taken exactly: a number, or a name. A capital tells a name, but at the beginning of a sentence
    /// only if the source never has the word without it.
    fn is_exact(&self, word: &Word) -> bool {
        let token = &word.token;
        if is_number(token) {
            return true;
        }
        if token.function {
            return false;
        }
        let small = self.small.contains(&token.word);
        if token.capital { !(word.first && small) } else { !small && self.all.contains(&token.word) }
    }
}

#[cfg(test)]
mod tests;
