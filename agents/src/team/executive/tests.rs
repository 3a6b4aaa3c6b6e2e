//! The executive in a scripted world: its leads answer what the tests say.

use super::{Executive, MAX_REVISIONS, REVISED};
use crate::extract::Claim;
use crate::team::{
    Brief, CONTENT, Checked, Completeness, Draft, Findings, Inquiry, Notes, QA, RESEARCH, Replan, Sentence,
};
use crate::testing::World;
use crate::{Agent, Error, Failure, Result};

fn ask(question: &str) -> Inquiry {
    Inquiry { question: question.into(), sources: vec!["docs".into()] }
}

fn claim(text: &str) -> Claim {
    Claim { text: text.into(), source: "a.md".into(), locator: "line 1".into(), quote: text.into(), score: 1.0 }
}

fn found(inquiry: Inquiry) -> Findings {
    let text = format!("An answer to: {}", inquiry.question);
    Findings { question: inquiry.question, claims: vec![claim(&text)], coverage: 0.8, ..Findings::default() }
}

/// One sentence for each question.
fn written(notes: Notes) -> Draft {
    let found: Vec<Findings> = notes.notes.into();
    let claims: Vec<Claim> = found.into_iter().flat_map(|findings| findings.claims).collect();
    let sentence =
        |(at, claim): (usize, &Claim)| Sentence { text: claim.text.clone(), cites: vec![at + 1], answers: at };
    Draft { sentences: claims.iter().enumerate().map(sentence).collect(), claims, ..Draft::default() }
}

fn team() -> World {
    World::new()
        .answers(RESEARCH, |inquiry| Ok(found(inquiry)))
        .answers(CONTENT, |notes| Ok(written(notes)))
        .answers(QA, |review| Ok(Checked { draft: review.draft, ..Checked::default() }))
}

async fn run(world: &World, question: &str) -> Result<Brief> {
    Executive.handle(world.context(), ask(question)).await
}

#[tokio::test]
async fn two_questions_are_two_pieces_of_research_and_two_paragraphs() {
    let world = team();
    let brief = run(&world, "Who wrote it? When was it written?").await.unwrap();
    let asked: Vec<String> = world.asked(RESEARCH).into_iter().map(|inquiry| inquiry.question).collect();
    assert_eq!(asked, ["Who wrote it?", "When was it written?"]);
    assert_eq!(brief.brief, "An answer to: Who wrote it? [1]\n\nAn answer to: When was it written? [2]");
    assert_eq!((brief.plan.len(), brief.revisions, brief.status), (2, 0, Completeness::Completed));
}

#[tokio::test]
async fn a_result_that_asks_for_it_changes_the_plan() {
    let world = team().answers(RESEARCH, |inquiry| {
        let replan = match inquiry.question.as_str() {
            "Who wrote it?" => Replan::because("too short a question", vec!["Who wrote the book?".into()]),
            _ => Replan::default(),
        };
        Ok(Findings { replan, ..found(inquiry) })
    });
    let brief = run(&world, "Who wrote it?").await.unwrap();
    let revised = world.emitted(REVISED);
    assert_eq!((revised.len(), revised[0].reason.as_str()), (1, "too short a question"));
    assert_eq!(revised[0].tasks[0].question, "Who wrote the book?");
    assert_eq!((brief.revisions, brief.plan.len(), brief.claims.len()), (1, 2, 2));
}

#[tokio::test]
async fn a_worker_that_is_never_content_changes_the_plan_three_times() {
    let world = team().answers(RESEARCH, |inquiry| {
        let replan = Replan::because("not enough", vec![format!("{} Really?", inquiry.question)]);
        Ok(Findings { replan, ..found(inquiry) })
    });
    run(&world, "Why?").await.unwrap();
    assert_eq!(world.emitted(REVISED).len() as u32, MAX_REVISIONS);
    assert_eq!(world.asked(RESEARCH).len(), 4);
}

#[tokio::test]
async fn a_text_of_which_nothing_stands_is_researched_again_in_other_words() {
    let world = team().answers(QA, |_| {
        let replan = Replan::because("no sentence stands", vec![]);
        Ok(Checked { replan, ..Checked::default() })
    });
    run(&world, "When did Ada write the programme?").await.unwrap();
    assert_eq!(world.emitted(REVISED)[0].tasks[0].question, "Ada write programme");
    assert_eq!(world.asked(QA).len(), 2);
}

#[tokio::test]
async fn with_nothing_found_it_says_so_and_invents_nothing() {
    let world = team().answers(RESEARCH, |inquiry| {
        Ok(Findings { question: inquiry.question, not_found: vec!["zeppelin".into()], ..Findings::default() })
    });
    let brief = run(&world, "Where is the zeppelin?").await.unwrap();
    assert_eq!((brief.coverage, brief.claims.len()), (0.0, 0));
    assert_eq!(
        (brief.brief.as_str(), brief.not_found),
        ("The sources say nothing about this.", vec!["zeppelin".into()])
    );
    assert!(world.asked(CONTENT).is_empty());
}

#[tokio::test]
async fn a_question_whose_research_fails_leaves_the_others_and_the_brief_says_so() {
    let world = team().answers(RESEARCH, |inquiry| match inquiry.question.as_str() {
        "Who?" => Err(Error::Crashed { to: "research.lead".into(), reason: "out of paper".into() }),
        _ => Ok(found(inquiry)),
    });
    let brief = run(&world, "Who? When?").await.unwrap();
    assert_eq!((brief.status, brief.claims.len()), (Completeness::Degraded, 1));
    assert!(brief.problems[0].contains("out of paper"), "{:?}", brief.problems);
}

#[tokio::test]
async fn sources_that_cannot_be_read_fail_with_their_own_code() {
    let world = team().answers(RESEARCH, |_| {
        let failure = Failure::permanent("no such file or folder: docs").code("CB0301").into_remote();
        Err(Error::Failed { to: "research.database".into(), failure: Box::new(failure) })
    });
    let failure = run(&world, "Who?").await.unwrap_err().into_remote();
    assert_eq!((failure.class, failure.code.as_str()), (crate::Class::Permanent, "CB0301"));
}

#[tokio::test]
async fn what_failed_in_all_its_attempts_is_not_begun_again_from_above() {
    let world = team().answers(CONTENT, |_| {
        let failure = Box::new(Failure::transient("no paper").into_remote());
        Err(Error::Failed { to: "content.writer".into(), failure })
    });
    assert_eq!(run(&world, "Who?").await.unwrap_err().class(), crate::Class::Permanent);
}

#[tokio::test]
async fn a_second_attempt_asks_nobody_twice() {
    let failing = team().answers(QA, |_| Err(Error::Crashed { to: "qa.lead".into(), reason: "power cut".into() }));
    assert!(run(&failing, "Who? When?").await.is_err());
    let world = failing.answers(QA, |review| Ok(Checked { draft: review.draft, ..Checked::default() }));
    assert_eq!(run(&world, "Who? When?").await.unwrap().claims.len(), 2);
    assert_eq!((world.asked(RESEARCH).len(), world.asked(CONTENT).len()), (2, 1));
}

#[tokio::test]
async fn an_empty_question_is_refused() {
    let failure = run(&team(), "  ").await.unwrap_err().into_remote();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("CB0403", "the question is empty"));
}
