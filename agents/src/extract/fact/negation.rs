//! Whether a sentence denies what its source affirms, or the other way round.
//!
//! A negation is so small a word that no share of words covered tells whether it is there.

use super::Word;

/// Words before or after a negation that tell where it belongs.
const NEAR: usize = 3;

fn denies(word: &Word) -> bool {
    let word = word.token.word.as_str();
    matches!(word, "not" | "no" | "never" | "neither" | "nor" | "cannot" | "without" | "none") || word.ends_with("n't")
}

/// What speaks against a sentence, if a negation was put in or taken out of it.
pub(super) fn objection(said: &[Word], source: &[Word]) -> Option<String> {
    let added = (0..said.len()).filter(|at| denies(&said[*at])).find(|at| !source_denies(said, *at, source));
    if let Some(at) = added {
        return Some(format!("its source does not say {} there", said[at].token.word));
    }
    let taken = (2..source.len().saturating_sub(2)).filter(|at| denies(&source[*at]));
    let closed = |at: usize| {
        let around = [&source[at - 2], &source[at - 1], &source[at + 1], &source[at + 2]];
        has(said, &around) && !has(source, &around)
    };
    taken.into_iter().find(|at| closed(*at)).map(|at| format!("its source says {} there", source[at].token.word))
}

fn source_denies(said: &[Word], at: usize, source: &[Word]) -> bool {
    let content = |words: &[Word], at: usize| -> Vec<String> {
        let near = at.saturating_sub(NEAR)..(at + NEAR + 1).min(words.len());
        near.filter(|near| *near != at).map(|near| words[near].token.term.clone()).collect()
    };
    let here = content(said, at);
    let places = (0..source.len()).filter(|at| denies(&source[*at]));
    places
        .into_iter()
        .any(|place| content(source, place).iter().filter(|term| here.contains(term)).count() >= 2.min(here.len()))
}

fn has(words: &[Word], run: &[&Word; 4]) -> bool {
    words.windows(4).any(|window| window.iter().zip(run).all(|(a, b)| a.token.term == b.token.term))
}
