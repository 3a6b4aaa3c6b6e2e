//! How well the extractive engine answers 1,190 questions over 240 paragraphs of XQuAD, in figures.
//!
//! The data are not part of the project. They are looked for in `$CALLBOARD_XQUAD` and in `../shared/data/xquad` beside
//! the workspace; without them the test says that it was skipped. Run with `--nocapture` to see the figures.

#[path = "xquad/data.rs"]
mod data;

use callboard_agents::extract::{Answer, COVERED, Index, Options};
use callboard_agents::source::{Limits, Only, load};
use data::Paragraph;

/// Share in percent.
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

fn holds_gold(answer: &Answer, gold: &[String], first: usize) -> bool {
    answer.claims.iter().take(first).any(|claim| gold.iter().any(|gold| claim.quote.contains(gold.as_str())))
}

/// Loads every paragraph as a file of one folder, but the left out one.
fn index(folder: &std::path::Path, without: Option<usize>) -> Index {
    let loaded = load(&[folder.to_str().expect("a Unicode path")], Only::All, &Limits::default()).expect("documents");
    assert!(loaded.skipped.is_empty(), "{:?}", loaded.skipped);
    let name = without.map(data::file_name);
    let documents = loaded.documents.into_iter().filter(|document| Some(&document.source) != name.as_ref());
    Index::new(documents.collect())
}

/// Goal: the bars for answers. Method: every question against all paragraphs; then against all but the one that holds its answer.
#[test]
fn questions_are_answered_from_their_paragraph_and_not_without_it() {
    let Some(paragraphs) = data::paragraphs() else { return };
    let folder = data::as_files(&paragraphs);
    let (first, third) = with_paragraph(&index(folder.path(), None), &paragraphs);
    let refused = without_paragraph(folder.path(), &paragraphs);
    assert!(first >= 75.0, "a gold answer is in the first quote of {first:.1} % only");
    assert!(third >= 90.0, "a gold answer is in the first three quotes of {third:.1} % only");
    assert!(refused >= 80.0, "{refused:.1} % only are seen to be not covered");
}

fn with_paragraph(index: &Index, paragraphs: &[Paragraph]) -> (f64, f64) {
    let (mut all, mut first, mut third, mut fifth, mut covered) = (0, 0, 0, 0, 0);
    for paragraph in paragraphs {
        for question in &paragraph.questions {
            let answer = index.answer(&question.text, &Options::default());
            all += 1;
            first += usize::from(holds_gold(&answer, &question.gold, 1));
            third += usize::from(holds_gold(&answer, &question.gold, 3));
            fifth += usize::from(holds_gold(&answer, &question.gold, 5));
            covered += usize::from(answer.coverage >= COVERED);
            if std::env::var_os("CALLBOARD_XQUAD_SHOW").is_some() && !holds_gold(&answer, &question.gold, 1) {
                println!("? {} => {:?}", question.text, question.gold);
                for claim in &answer.claims {
                    println!("   {:.2} {} {}", claim.score, claim.source, claim.quote);
                }
            }
        }
    }
    println!(
        "answers in the first quote {:.1} %, three {:.1} %, five {:.1} %; coverage at least {COVERED} for {:.1} % of {all} questions",
        percent(first, all),
        percent(third, all),
        percent(fifth, all),
        percent(covered, all),
    );
    (percent(first, all), percent(third, all))
}

fn without_paragraph(folder: &std::path::Path, paragraphs: &[Paragraph]) -> f64 {
    let (mut all, mut refused) = (0, 0);
    for (number, paragraph) in paragraphs.iter().enumerate() {
        let index = index(folder, Some(number));
        for question in &paragraph.questions {
            let answer = index.answer(&question.text, &Options::default());
            all += 1;
            refused += usize::from(answer.coverage < COVERED && !answer.not_found.is_empty());
        }
    }
    println!(
        "without its paragraph, coverage under {COVERED} and terms named as not found: {:.1} %",
        percent(refused, all)
    );
    percent(refused, all)
}
