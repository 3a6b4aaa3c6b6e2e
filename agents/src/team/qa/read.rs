//! What a reader stumbles over. Pure.

use crate::team::content::repeats;
use crate::team::words::{is_pronoun, words};
use crate::team::{Draft, Flaw, Sentence, What};

/// Words of a sentence that can be read in one go.
const LONG: usize = 45;

/// The flaws of a draft, one for each sentence at most.
pub(super) fn flaws(draft: &Draft) -> Vec<Flaw> {
    let flaw = |at: usize| {
        let (before, sentence) = (&draft.sentences[..at], &draft.sentences[at]);
        let what = if before.iter().any(|earlier| repeats(&sentence.text, &earlier.text)) {
            What::Repeats
        } else if is_fragment(&sentence.text) {
            What::Fragment
        } else if dangles(sentence, before.last(), draft) {
            What::Dangles
        } else if words(&sentence.text).len() > LONG {
            What::Long
        } else {
            return None;
        };
        Some(Flaw { sentence: at + 1, what })
    };
    (0..draft.sentences.len()).filter_map(flaw).collect()
}

/// Too short to say anything, or more marks than letters, as in code.
fn is_fragment(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).count();
    words(text).len() < 4 || letters * 4 < text.chars().count() * 3
}

/// Whether it begins with a pronoun, and the sentence before it is not from the same document.
fn dangles(sentence: &Sentence, before: Option<&Sentence>, draft: &Draft) -> bool {
    let source = |sentence: &Sentence| {
        let number = *sentence.cites.first()?;
        draft.claims.get(number.checked_sub(1)?).map(|claim| claim.source.as_str())
    };
    let follows = before.is_some_and(|before| source(before).is_some() && source(before) == source(sentence));
    !follows && words(&sentence.text).first().is_some_and(|word| is_pronoun(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Claim;

    fn draft(sentences: &[(&str, &str)]) -> Draft {
        let claim = |(text, source): &(&str, &str)| Claim {
            text: (*text).into(),
            source: (*source).into(),
            locator: "line 1".into(),
            quote: (*text).into(),
            score: 1.0,
        };
        let sentence = |(at, (text, _)): (usize, &(&str, &str))| Sentence {
            text: (*text).into(),
            cites: vec![at + 1],
            answers: 0,
        };
        Draft {
            sentences: sentences.iter().enumerate().map(sentence).collect(),
            claims: sentences.iter().map(claim).collect(),
            ..Draft::default()
        }
    }

    fn seen(sentences: &[(&str, &str)]) -> Vec<(usize, What)> {
        flaws(&draft(sentences)).into_iter().map(|flaw| (flaw.sentence, flaw.what)).collect()
    }

    #[test]
    fn a_pronoun_dangles_unless_the_sentence_before_is_of_the_same_document() {
        let mill = ("The mill was built in 1843.", "a.md");
        assert_eq!(seen(&[mill, ("It burnt in 1901.", "a.md")]), []);
        assert_eq!(seen(&[mill, ("It burnt in 1901.", "b.md")]), [(2, What::Dangles)]);
        assert_eq!(seen(&[("It burnt in 1901.", "a.md")]), [(1, What::Dangles)]);
    }

    #[test]
    fn repetitions_fragments_and_long_sentences_are_seen() {
        let long = "word and ".repeat(30);
        let mill = ("The mill was built in 1843.", "a.md");
        assert_eq!(seen(&[mill, ("In 1843 the mill was built.", "b.md")]), [(2, What::Repeats)]);
        assert_eq!(
            seen(&[("See it below.", "a"), ("let x = f(&y)[0]; // {}", "b")]),
            [(1, What::Fragment), (2, What::Fragment)]
        );
        assert_eq!(seen(&[(&long, "a")]), [(1, What::Long)]);
    }
}
