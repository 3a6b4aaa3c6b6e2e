//! From claims to sentences: which of them, in which order, with which numbers.

use crate::extract::COVERED;
use crate::team::{Draft, Findings, Sentence};

/// Sentences for one question.
const SENTENCES: usize = 3;

/// The share of the best claim's score below which a claim is cited by no sentence.
const CLOSE: f32 = 0.6;

/// All claims, the questions taking turns so that each has its best ones first; and for each question the sentences
/// that its best claims make.
pub(super) fn compose(question: String, notes: Vec<Findings>) -> Draft {
    let question = if question.is_empty() { questions(&notes) } else { question };
    let mut draft = Draft { question, ..Draft::default() };
    let mut sentences: Vec<Vec<Sentence>> = vec![Vec::new(); notes.len()];
    let longest = notes.iter().map(|findings| findings.claims.len()).max().unwrap_or(0);
    for rank in 0..longest {
        for (answers, findings) in notes.iter().enumerate() {
            let Some(claim) = findings.claims.get(rank) else { continue };
            let number = match draft
                .claims
                .iter()
                .position(|known| known.quote == claim.quote && known.source == claim.source)
            {
                Some(at) => at + 1,
                None => {
                    draft.claims.push(claim.clone());
                    draft.claims.len()
                }
            };
            if rank < said(findings) {
                sentences[answers].push(Sentence { text: sentence(&claim.text), cites: vec![number], answers });
            }
        }
    }
    draft.sentences = sentences.concat();
    draft
}

/// Quotations for the questions to which nothing of a model's text stands: it may have invented all of it, and the
/// sources do say something. How many questions that were.
pub(in crate::team) fn quote_instead(draft: &mut Draft, notes: &[Findings]) -> usize {
    let mut restored = 0;
    for (answers, findings) in notes.iter().enumerate() {
        if draft.sentences.iter().any(|sentence| sentence.answers == answers) {
            continue;
        }
        let quoted = findings.claims.iter().take(said(findings)).filter_map(|claim| {
            let at = draft.claims.iter().position(|kept| kept.quote == claim.quote && kept.source == claim.source)?;
            Some(Sentence { text: sentence(&claim.text), cites: vec![at + 1], answers })
        });
        let quoted: Vec<Sentence> = quoted.collect();
        restored += usize::from(!quoted.is_empty());
        draft.sentences.extend(quoted);
    }
    restored
}

fn questions(notes: &[Findings]) -> String {
    notes.iter().map(|findings| findings.question.as_str()).collect::<Vec<_>>().join(" ")
}

/// How many of the claims make a sentence: one is enough where even the best covers hardly anything.
fn said(findings: &Findings) -> usize {
    if findings.coverage < COVERED / 2.0 {
        return 1;
    }
    let best = findings.claims.first().map_or(0.0, |claim| claim.score);
    findings.claims.iter().take(SENTENCES).take_while(|claim| claim.score >= CLOSE * best).count()
}

/// With a full stop where the quotation, a list item or a row, has none.
fn sentence(text: &str) -> String {
    let open = text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | '`' | '%'));
    if open { format!("{text}.") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Claim;

    fn findings(quotes: &[(&str, f32)], coverage: f32) -> Findings {
        let claim = |(text, score): &(&str, f32)| Claim {
            text: (*text).into(),
            source: "a.md".into(),
            locator: "line 1".into(),
            quote: (*text).into(),
            score: *score,
        };
        Findings { claims: quotes.iter().map(claim).collect(), coverage, ..Findings::default() }
    }

    fn texts(draft: &Draft) -> Vec<(&str, &[usize])> {
        draft.sentences.iter().map(|sentence| (sentence.text.as_str(), sentence.cites.as_slice())).collect()
    }

    #[test]
    fn questions_take_turns_in_the_claims_and_have_their_own_sentences() {
        let notes = vec![findings(&[("A.", 2.0), ("B", 1.5)], 1.0), findings(&[("C.", 9.0), ("D.", 1.0)], 1.0)];
        let draft = compose("?".into(), notes);
        assert_eq!(draft.claims.iter().map(|claim| &*claim.quote).collect::<Vec<_>>(), ["A.", "C.", "B", "D."]);
        assert_eq!(texts(&draft), [("A.", &[1][..]), ("B.", &[3]), ("C.", &[2])]);
    }

    #[test]
    fn what_is_hardly_covered_is_said_in_one_sentence() {
        let draft = compose(String::new(), vec![findings(&[("A.", 2.0), ("B.", 2.0)], 0.2)]);
        assert_eq!((texts(&draft).len(), draft.claims.len()), (1, 2));
    }

    #[test]
    fn one_claim_for_two_questions_has_one_number() {
        let draft = compose(String::new(), vec![findings(&[("A.", 1.0)], 1.0), findings(&[("A.", 1.0)], 1.0)]);
        assert_eq!((draft.claims.len(), texts(&draft)), (1, vec![("A.", &[1][..]), ("A.", &[1])]));
    }
}
