//! The checkers of facts over a real file.

use super::{Fact, Lead, MAX_ROUNDS};
use crate::extract::Claim;
use crate::team::{Checked, Draft, EDITOR, FACT, Flaw, Library, Review, STYLE, Sentence, Styled, What};
use crate::testing::World;
use crate::{Agent, Error};

const MILL: &str = "The mill was built in 1843 by Ada Müller. It burnt in 1901.";

fn claim(quote: &str) -> Claim {
    Claim { text: quote.into(), source: "mill.txt".into(), locator: "line 1".into(), quote: quote.into(), score: 1.0 }
}

fn draft(sentences: &[(&str, usize)], quotes: &[&str]) -> Draft {
    let sentence = |(text, cites): &(&str, usize)| Sentence { text: (*text).into(), cites: vec![*cites], answers: 0 };
    Draft {
        sentences: sentences.iter().map(sentence).collect(),
        claims: quotes.iter().map(|quote| claim(quote)).collect(),
        ..Draft::default()
    }
}

async fn check(draft: Draft) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mill.txt"), MILL).unwrap();
    let sources = vec![folder.path().to_str().unwrap().to_owned()];
    Fact::new(&Library::default()).handle(World::new().context(), Review { draft, sources }).await.unwrap()
}

#[tokio::test]
async fn a_sentence_whose_number_is_not_in_its_source_is_dropped() {
    let sentences = [("The mill was built in 1844 by Ada Müller.", 1), ("It burnt in 1901.", 2)];
    let checked = check(draft(&sentences, &["The mill was built in 1843 by Ada Müller.", "It burnt in 1901."])).await;
    assert_eq!(checked.draft.sentences.len(), 1);
    assert_eq!((checked.dropped.len(), checked.dropped[0].claim.text.contains("1844")), (1, true));
    assert_eq!(checked.draft.claims.len(), 2, "the claim itself stands");
}

#[tokio::test]
async fn a_quotation_that_is_not_in_its_source_is_dropped_and_numbers_close_up() {
    let quotes = ["The mill was built in 1850.", "It burnt in 1901."];
    let checked = check(draft(&[("The mill was built in 1850.", 1), ("It burnt in 1901.", 2)], &quotes)).await;
    assert_eq!(checked.dropped[0].why, "its quotation is not at line 1 of its source");
    assert_eq!((checked.draft.claims.len(), &checked.draft.sentences[0].cites), (1, &vec![1]));
}

#[tokio::test]
async fn a_sentence_in_other_words_stands_and_one_with_another_name_does_not() {
    let quote = "The mill was built in 1843 by Ada Müller.";
    let sentences = [("In 1843 the mill was built by Ada Müller.", 1), ("The mill was built in 1843 by Tom Braun.", 1)];
    let checked = check(draft(&sentences, &[quote])).await;
    assert_eq!(checked.draft.sentences[0].text, sentences[0].0);
    assert_eq!((checked.draft.sentences.len(), checked.dropped.len()), (1, 1));
}

#[tokio::test]
async fn a_source_that_nobody_read_proves_nothing() {
    let mut draft = draft(&[("It burnt in 1901.", 1)], &["It burnt in 1901."]);
    draft.claims[0].source = "other.txt".into();
    let checked = check(draft).await;
    assert_eq!(checked.dropped[0].why, "its source was not read");
}

/// A style checker that is never content, and an editor that always changes something.
fn restless() -> World {
    World::new()
        .answers(FACT, |review| Ok(Checked { draft: review.draft, ..Checked::default() }))
        .answers(STYLE, |_| Ok(Styled { flaws: vec![Flaw { sentence: 1, what: What::Long }], ..Styled::default() }))
        .answers(EDITOR, |edit| {
            let mut draft = edit.draft;
            draft.sentences[0].text.push('!');
            Ok(draft)
        })
}

fn review() -> Review {
    Review { draft: draft(&[("It burnt in 1901.", 1)], &["It burnt in 1901."]), sources: vec!["docs".into()] }
}

#[tokio::test]
async fn a_draft_is_sent_back_at_most_twice_and_checked_after_each_edit() {
    let world = restless();
    let checked = Lead.handle(world.context(), review()).await.unwrap();
    assert_eq!(checked.draft.sentences[0].text, "It burnt in 1901.!!");
    assert_eq!((world.asked(EDITOR).len() as u32, world.asked(FACT).len()), (MAX_ROUNDS, 3));
}

#[tokio::test]
async fn an_editor_that_can_do_nothing_is_asked_once() {
    let world = restless().answers(EDITOR, |edit| Ok(edit.draft));
    Lead.handle(world.context(), review()).await.unwrap();
    assert_eq!((world.asked(EDITOR).len(), world.asked(FACT).len()), (1, 1));
}

#[tokio::test]
async fn when_no_claim_stands_another_plan_is_asked_for() {
    let world = restless().answers(FACT, |_| Ok(Checked::default()));
    let checked = Lead.handle(world.context(), review()).await.unwrap();
    assert!(checked.replan.requires_replanning);
    assert!(world.asked(STYLE).is_empty());
}

#[tokio::test]
async fn a_reader_that_fails_keeps_no_checked_text_back() {
    let world = restless().answers(STYLE, |_| Err(Error::Crashed { to: "qa.style".into(), reason: "asleep".into() }));
    let checked = Lead.handle(world.context(), review()).await.unwrap();
    assert_eq!((checked.draft.sentences.len(), checked.draft.problems.len()), (1, 1));
}
