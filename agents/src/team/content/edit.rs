//! Edits that leave every word of a quotation as it is: order, cuts, and what stands around. Pure.

use crate::team::words::{shared, telling, words};
use crate::team::{Draft, Engine, Flaw, Sentence, What};

/// How much of a sentence's telling words may be in an earlier sentence before it is a repetition.
pub(in crate::team) const SAME: f32 = 0.85;

/// Words that tie a sentence to one that is not quoted.
const TIES: &[&str] = &[
    "However,",
    "Moreover,",
    "Furthermore,",
    "Therefore,",
    "Thus,",
    "Hence,",
    "Also,",
    "Additionally,",
    "Consequently,",
    "Nevertheless,",
    "Similarly,",
    "In addition,",
    "As a result,",
    "For example,",
    "For instance,",
];

/// The first edit: nothing is said twice, ties to what is not quoted are cut, and each question's best sentence is
/// followed by what stands around it in its source. Says how many sentences were cut.
///
/// Of a model's sentences only those with equal words become one. Nobody has looked at them yet, and two that are nearly
/// the same may be a truth and an invention; once the facts are checked, a reader has what is left of them cut.
pub(super) fn tidy(draft: &mut Draft) -> usize {
    let before = draft.sentences.len();
    // A model's sentences are tied to one another and stand in an order of their own.
    let is_quoted = draft.engine == Engine::Extractive;
    for sentence in draft.sentences.iter_mut().filter(|_| is_quoted) {
        sentence.text = untie(&sentence.text);
    }
    for sentence in united(std::mem::take(&mut draft.sentences)) {
        if !is_quoted || !draft.sentences.iter().any(|known| repeats(&sentence.text, &known.text)) {
            draft.sentences.push(sentence);
        }
    }
    if is_quoted {
        gather(draft);
    }
    before - draft.sentences.len()
}

/// Sentences with equal words as one, which cites what any of them cites.
pub(super) fn united(sentences: Vec<Sentence>) -> Vec<Sentence> {
    let mut united: Vec<Sentence> = Vec::new();
    for sentence in sentences {
        match united.iter_mut().find(|known| words(&known.text) == words(&sentence.text)) {
            Some(known) => {
                let fresh: Vec<usize> = sentence.cites.into_iter().filter(|n| !known.cites.contains(n)).collect();
                known.cites.extend(fresh);
            }
            None => united.push(sentence),
        }
    }
    united
}

/// The edit that a reader's remarks ask for, as far as words may be cut and none changed. The best sentence of a question
/// is never cut: if it dangles, it goes behind what stands before it in its source. Says how many sentences were cut.
pub(super) fn mend(draft: &mut Draft, flaws: &[Flaw]) -> usize {
    let before = draft.sentences.len();
    let flaw_of = |at: usize| flaws.iter().find(|flaw| flaw.sentence == at + 1).map(|flaw| flaw.what);
    let (mut kept, mut dangling) = (Vec::<Sentence>::new(), Vec::new());
    for (at, mut sentence) in std::mem::take(&mut draft.sentences).into_iter().enumerate() {
        let is_best = kept.iter().all(|known| known.answers != sentence.answers);
        match flaw_of(at) {
            Some(What::Long) => sentence.text = without_asides(&sentence.text),
            Some(What::Dangles) if is_best => dangling.push(sentence.answers),
            Some(What::Repeats | What::Dangles | What::Fragment) if !is_best => continue,
            _ => {}
        }
        kept.push(sentence);
    }
    draft.sentences = kept;
    dangling.into_iter().for_each(|question| in_order_of_source(draft, question));
    before - draft.sentences.len()
}

/// Puts the first sentence of a question, and what follows it out of the same source, in the order of that source.
fn in_order_of_source(draft: &mut Draft, question: usize) {
    let Some(start) = draft.sentences.iter().position(|sentence| sentence.answers == question) else { return };
    let home = place(draft, &draft.sentences[start]).map(|(source, _)| source);
    let near =
        |sentence: &&Sentence| sentence.answers == question && place(draft, sentence).map(|(source, _)| source) == home;
    let count = draft.sentences[start..].iter().take_while(near).count();
    let mut run: Vec<Sentence> = draft.sentences.splice(start..start + count, []).collect();
    run.sort_by_key(|sentence| place(draft, sentence).map(|(_, number)| number));
    draft.sentences.splice(start..start, run);
}

/// Whether a sentence says what an earlier one says.
pub(in crate::team) fn repeats(sentence: &str, earlier: &str) -> bool {
    let (a, b) = (telling(sentence), telling(earlier));
    !a.is_empty() && a.len() <= b.len() + 2 && shared(&a, &b) >= SAME || words(sentence) == words(earlier)
}

/// Without a first word that ties the sentence to one before it.
fn untie(text: &str) -> String {
    let Some(rest) = TIES.iter().find_map(|tie| text.strip_prefix(tie)) else { return text.to_owned() };
    let mut chars = rest.trim_start().chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Without what stands in round brackets outside of quotation marks.
fn without_asides(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut depth) = (false, 0u32);
    for c in text.chars() {
        match c {
            '"' | '\u{201c}' | '\u{201d}' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            out.push(c);
        }
    }
    // An open bracket without its end is no aside.
    if depth > 0 { text.to_owned() } else { out.replace(" ,", ",").replace(" .", ".").replace("  ", " ") }
}

/// Behind the best sentence of each question, those of its own source in the order of that source; the others after
/// them in the order of their rank.
fn gather(draft: &mut Draft) {
    let mut rest = std::mem::take(&mut draft.sentences);
    let mut ordered: Vec<Sentence> = Vec::new();
    while !rest.is_empty() {
        let best = rest.remove(0);
        let home = place(draft, &best).map(|(source, _)| source);
        let is_near = |sentence: &Sentence| {
            sentence.answers == best.answers && place(draft, sentence).map(|(source, _)| source) == home
        };
        let (mut near, further): (Vec<Sentence>, Vec<Sentence>) = rest.into_iter().partition(is_near);
        near.sort_by_key(|sentence| place(draft, sentence).map(|(_, number)| number));
        rest = further;
        ordered.push(best);
        ordered.extend(near);
    }
    draft.sentences = ordered;
}

/// The source of a sentence, and where in it: the line, page or row.
fn place<'a>(draft: &'a Draft, sentence: &Sentence) -> Option<(&'a str, u64)> {
    let claim = draft.claims.get(sentence.cites.first()?.checked_sub(1)?)?;
    Some((&claim.source, number_in(&claim.locator)))
}

/// The last number of a locator: a line, a page, a row.
fn number_in(locator: &str) -> u64 {
    let digits = locator.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Claim;

    /// Sentences of one question; each cites a claim of its own at this line of `a.md`.
    fn draft(sentences: &[(&str, u32)]) -> Draft {
        let claim = |(text, line): &(&str, u32)| Claim {
            text: (*text).into(),
            source: "a.md".into(),
            locator: format!("line {line}"),
            quote: (*text).into(),
            score: 1.0,
        };
        let sentence =
            |(at, (text, _)): (usize, &(&str, u32))| Sentence { text: (*text).into(), cites: vec![at + 1], answers: 0 };
        Draft {
            sentences: sentences.iter().enumerate().map(sentence).collect(),
            claims: sentences.iter().map(claim).collect(),
            ..Draft::default()
        }
    }

    fn texts(draft: &Draft) -> Vec<&str> {
        draft.sentences.iter().map(|sentence| sentence.text.as_str()).collect()
    }

    #[test]
    fn the_best_stays_first_and_the_others_follow_their_source() {
        let mut draft =
            draft(&[("Best comes first.", 9), ("Later ones follow after.", 12), ("Earlier lines lead.", 3)]);
        assert_eq!(tidy(&mut draft), 0);
        assert_eq!(texts(&draft), ["Best comes first.", "Earlier lines lead.", "Later ones follow after."]);
    }

    #[test]
    fn what_two_sources_say_alike_is_said_once_with_both() {
        let mut draft =
            draft(&[("The mill was built in 1843.", 1), ("The mill was built in 1843", 5), ("It burnt.", 7)]);
        assert_eq!(tidy(&mut draft), 1);
        assert_eq!((texts(&draft)[0], &draft.sentences[0].cites), ("The mill was built in 1843.", &vec![1, 2]));
    }

    /// The invention next to the truth was cut as a repetition before anybody had checked it, or the truth next to the
    /// invention; then `dropped` said nothing of it, or the brief had neither.
    #[test]
    fn of_a_model_s_sentences_only_those_with_equal_words_become_one() {
        let truth = "The old mill of Gera, the first with five floors, was built of stone in 1843 by Tom Braun.";
        let (changed, denied) = (truth.replace("1843", "1844"), truth.replace("was built", "was not built"));
        for near in [&changed, &denied] {
            for pair in [[truth, near], [near, truth]] {
                let mut draft = Draft { engine: Engine::Model, ..draft(&[(pair[0], 1), (pair[1], 1), (pair[0], 2)]) };
                assert!(repeats(pair[1], pair[0]), "or it tells nothing");
                assert_eq!((tidy(&mut draft), texts(&draft)), (1, pair.to_vec()));
                assert_eq!(draft.sentences[0].cites, [1, 3]);
            }
        }
    }

    #[test]
    fn a_tie_to_what_is_not_there_is_cut() {
        let mut draft = draft(&[("However, the mill burnt in 1901.", 1)]);
        tidy(&mut draft);
        assert_eq!(texts(&draft), ["The mill burnt in 1901."]);
    }

    fn flaw(sentence: usize, what: What) -> Flaw {
        Flaw { sentence, what }
    }

    #[test]
    fn a_remark_is_followed_but_the_best_sentence_is_never_cut() {
        let mut two = draft(&[("The mill (see \u{201c}plan (b)\u{201d}) burnt, \"(twice)\".", 1), ("It burnt.", 2)]);
        assert_eq!(mend(&mut two, &[flaw(1, What::Long), flaw(2, What::Fragment)]), 1);
        assert_eq!(texts(&two), ["The mill burnt, \"(twice)\"."]);
        assert_eq!(mend(&mut two, &[flaw(1, What::Repeats)]), 0);
    }

    #[test]
    fn a_best_sentence_that_dangles_goes_behind_what_it_refers_to() {
        let mut draft = draft(&[("It burnt in 1901.", 7), ("The mill was built in 1843.", 3), ("It was rebuilt.", 9)]);
        assert_eq!(mend(&mut draft, &[flaw(1, What::Dangles)]), 0);
        assert_eq!(texts(&draft), ["The mill was built in 1843.", "It burnt in 1901.", "It was rebuilt."]);
    }
}
