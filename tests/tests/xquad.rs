//! How well the extractive engine answers the 1,190 questions of XQuAD and checks facts in its 240 paragraphs, in figures.
//!
//! The data are not part of the project. They are looked for in `$CALLBOARD_XQUAD` and in `../shared/data/xquad` beside
//! the workspace; without them the test says that it was skipped. Run with `--nocapture` to see the figures.

#[path = "xquad/data.rs"]
mod data;
#[path = "xquad/facts.rs"]
mod facts;

use std::collections::HashSet;

use callboard_agents::extract::fact::check;
use callboard_agents::extract::{Answer, COVERED, Index, Options};
use callboard_agents::source::{Document, Limits, Only, load};
use data::Paragraph;
use facts::{Random, Sample};

/// Share in percent.
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

fn holds_gold(answer: &Answer, gold: &[String], first: usize) -> bool {
    answer.claims.iter().take(first).any(|claim| gold.iter().any(|gold| claim.quote.contains(gold.as_str())))
}

/// The paragraphs as they are read from a folder.
fn documents(paragraphs: &[Paragraph]) -> Vec<Document> {
    let folder = data::as_files(paragraphs);
    let path = folder.path().to_str().expect("a Unicode path");
    let loaded = load(&[path], Only::All, &Limits::default()).expect("documents");
    assert!(loaded.skipped.is_empty(), "{:?}", loaded.skipped);
    assert_eq!(loaded.documents.len(), paragraphs.len());
    loaded.documents
}

/// Goal: the bars for answers. Method: every question against all paragraphs; then against all but the one that holds its answer.
#[test]
fn questions_are_answered_from_their_paragraph_and_not_without_it() {
    let Some(paragraphs) = data::paragraphs() else { return };
    let documents = documents(&paragraphs);
    let (first, third) = with_paragraph(&Index::new(documents.clone()), &paragraphs);
    let refused = without_paragraph(&documents, &paragraphs);
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

fn without_paragraph(documents: &[Document], paragraphs: &[Paragraph]) -> f64 {
    let refuses = |number: usize| {
        let name = data::file_name(number);
        let index = Index::new(documents.iter().filter(|document| document.source != name).cloned().collect());
        let answers =
            paragraphs[number].questions.iter().map(|question| index.answer(&question.text, &Options::default()));
        answers.filter(|answer| answer.coverage < COVERED && !answer.not_found.is_empty()).count()
    };
    // An index for each paragraph: the dear part, so every core takes a share.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let refused = std::thread::scope(|scope| {
        let share = |core| (core..paragraphs.len()).step_by(cores).map(refuses).sum::<usize>();
        let shares: Vec<_> = (0..cores).map(|core| scope.spawn(move || share(core))).collect();
        shares.into_iter().map(|share| share.join().expect("a share")).sum::<usize>()
    });
    let all = paragraphs.iter().map(|paragraph| paragraph.questions.len()).sum();
    println!(
        "without its paragraph, coverage under {COVERED} and terms named as not found: {:.1} % of {all}",
        percent(refused, all)
    );
    percent(refused, all)
}

/// Goal: the bars of the fact check. Method: true sentences, half of them verbatim and half merged, shortened or
/// reordered, each checked against its paragraph as it is and with one number or name swapped.
#[test]
fn true_sentences_are_kept_and_swapped_ones_dropped() {
    let Some(paragraphs) = data::paragraphs() else { return };
    let seed = 20_240_607;
    let mut random = Random(seed);
    let check = |sample: &Sample| check(&sample.text, &[&paragraphs[sample.paragraph].text]);
    let truths = facts::truths(&paragraphs, 2_000, &mut random);
    let swapped: Vec<Sample> =
        truths.iter().filter_map(|truth| facts::swapped(truth, &paragraphs, &mut random)).collect();
    println!("fact check, seed {seed}: {} true sentences, {} swapped", truths.len(), swapped.len());
    for how in ["verbatim", "merged", "shortened", "reordered"] {
        let kept = |samples: &[Sample]| -> (usize, usize) {
            let those: Vec<&Sample> = samples.iter().filter(|sample| sample.how == how).collect();
            (those.iter().filter(|sample| check(sample).is_kept()).count(), those.len())
        };
        let ((kept_true, all_true), (kept_swapped, all_swapped)) = (kept(&truths), kept(&swapped));
        println!(
            "  {how}: kept {:.1} % of {all_true}; swapped, dropped {:.1} % of {all_swapped}",
            percent(kept_true, all_true),
            100.0 - percent(kept_swapped, all_swapped),
        );
    }
    let kept = percent(truths.iter().filter(|sample| check(sample).is_kept()).count(), truths.len());
    let dropped = percent(swapped.iter().filter(|sample| !check(sample).is_kept()).count(), swapped.len());
    println!("  all: kept {kept:.1} %; swapped, dropped {dropped:.1} %");
    // The negative control: whoever only looks for the words must fail, or the swaps are too easy.
    let naive = percent(swapped.iter().filter(|sample| !words_are_there(sample, &paragraphs)).count(), swapped.len());
    println!("  control: a check for words alone drops {naive:.1} %");
    assert!(naive < 80.0, "a check for words alone drops {naive:.1} % of the swapped sentences");
    assert!(swapped.len() >= 800, "too few swapped sentences to tell");
    assert!(kept >= 98.0, "{kept:.1} % of the true sentences are kept");
    assert!(dropped >= 95.0, "{dropped:.1} % of the swapped sentences are dropped");
}

fn words_are_there(sample: &Sample, paragraphs: &[Paragraph]) -> bool {
    let words =
        |text: &str| -> HashSet<String> { text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect() };
    let there = words(&paragraphs[sample.paragraph].text);
    words(&sample.text).iter().all(|word| there.contains(word) || ["and", "while"].contains(&word.as_str()))
}
